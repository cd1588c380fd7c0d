"""Functions of an exported graph under short names: what is kept, what is left out."""

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import function_pb2
from tensorflow.core.protobuf import saved_object_graph_pb2

from tf_structvae.export import canonical
from tf_structvae.export.shorten import shorten

FUNCTION = """
signature {
  name: "f"
  input_arg { name: "x" type: DT_FLOAT }
  input_arg { name: "while_placeholder_81___redundant_placeholder0" type: DT_FLOAT }
  output_arg { name: "y" type: DT_FLOAT }
}
arg_attr { key: 0 value { attr { key: "_user_specified_name" value { s: "x" } } } }
arg_attr { key: 1 value { attr { key: "_user_specified_name" value { s: "123" } } } }
node_def { name: "dist/scale" op: "Const" }
node_def { name: "dist/unused" op: "Const" }
node_def { name: "dist/after_unused" op: "Neg" input: "dist/unused:output:0" }
node_def {
  name: "dist/sample/mul_3" op: "Mul" input: "x" input: "dist/scale:output:0" input: "^other/check"
  attr { key: "_class" value { list { s: "loc:@dist/scale" s: "loc:@elsewhere" s: "no place" } } }
}
node_def {
  name: "other/mul" op: "Mul" input: "dist/sample/mul_3:z:0" input: "dist/sample/mul_3:z:0"
  experimental_debug_info { original_node_names: "other/mul" }
}
node_def { name: "other/x" op: "Identity" input: "other/mul:z:0" }
node_def { name: "other/check" op: "Assert" input: "x" }
node_def { name: "other/effect" op: "Print" }
ret { key: "y" value: "other/x:output:0" }
control_ret { key: "effect" value: "other/effect" }
"""


def test_names_are_short_and_what_nothing_needs_is_gone():
    function = text_format.Parse(FUNCTION, function_pb2.FunctionDef())
    shorten(function)
    nodes = {n.name: n for n in function.node_def}
    assert list(nodes) == ["scale", "mul", "mul_1", "x_1", "check", "effect"]
    assert list(nodes["mul"].input) == ["x", "scale:output:0", "^check"]
    assert list(nodes["mul_1"].input) == ["mul:z:0", "mul:z:0"]
    assert not nodes["mul_1"].HasField("experimental_debug_info")
    assert list(nodes["x_1"].input) == ["mul_1:z:0"]
    assert dict(function.ret) == {"y": "x_1:output:0"}
    assert dict(function.control_ret) == {"effect": "effect"}
    # operations are put beside others by name, too
    assert list(nodes["mul"].attr["_class"].list.s) == [
        b"loc:@scale",
        b"loc:@elsewhere",
        b"no place",
    ]
    # what is named after a number of its process has no such name
    assert [a.name for a in function.signature.input_arg] == [
        "x",
        "while_placeholder___redundant_placeholder0",
    ]
    assert function.arg_attr[0].attr["_user_specified_name"].s == b"x"
    assert "_user_specified_name" not in function.arg_attr[1].attr
    again = function.SerializeToString(deterministic=True)
    shorten(function)
    assert function.SerializeToString(deterministic=True) == again


def test_short_functions_compute_the_same(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None])])
    def f(x):
        with tf.name_scope("a"), tf.name_scope("very/long"):
            tf.add(x, 1.0, "unused")
            doubled = tf.multiply(x, 2.0, "product")
        with tf.name_scope("b"):
            return {"y": tf.multiply(doubled, doubled, "product")}

    module = tf.Module()
    tf.saved_model.save(module, str(tmp_path), signatures={"f": f})
    before = (tmp_path / "saved_model.pb").read_bytes()
    canonical.rewrite(tmp_path)
    after = (tmp_path / "saved_model.pb").read_bytes()
    assert len(after) < len(before)
    for word in (b"very/long", b"unused"):
        assert word in before
        assert word not in after
    loaded = tf.saved_model.load(str(tmp_path)).signatures["f"]
    assert loaded(tf.constant([1.0, 3.0]))["y"].numpy().tolist() == [4.0, 36.0]


def test_objects_name_the_functions_anew():
    objects = saved_object_graph_pb2.SavedObjectGraph()
    objects.nodes.add().function.concrete_functions.extend(["g_12", "f_7"])
    objects.nodes.add().bare_concrete_function.concrete_function_name = "f_7"
    objects.nodes.add()
    for name, index in (("f_7", 1), ("g_12", 2)):
        objects.concrete_functions[name].bound_inputs.append(index)
    canonical._renumber_objects(objects, {"f_7": "f_0", "g_12": "g_1"})
    assert list(objects.nodes[0].function.concrete_functions) == ["g_1", "f_0"]
    assert objects.nodes[1].bare_concrete_function.concrete_function_name == "f_0"
    bound = {k: list(v.bound_inputs) for k, v in objects.concrete_functions.items()}
    assert bound == {"f_0": [1], "g_1": [2]}
    with pytest.raises(KeyError):
        canonical._renumber_objects(objects, {})
