import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_structvae.layers import LowRankNormalHead
from tf_structvae.models import blocks, networks
from tf_structvae.training import config
from tf_structvae.training.from_config import build_head, build_model

STAGES = ((4, 2), (6, 1), (8, 2))


@pytest.mark.parametrize("shape", [(8, 8, 1), (13, 10, 3), (5, 17, 3)])
@pytest.mark.parametrize("pool", ["flatten", "max", "mean"])
@pytest.mark.parametrize("upsample", ["nearest", "bilinear", "transposed"])
def test_any_image_size(shape, pool, upsample):
    encoder = networks.residual_encoder(shape, 3, 4, STAGES, 5, pool)
    x = np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32)
    parameters = encoder(x)
    assert parameters.shape == (2, 6)
    decoder = networks.residual_decoder(
        shape, 3, LowRankNormalHead(shape[-1], 2), STAGES, 8, 4, 6, upsample
    )
    d = decoder(parameters[:, :3])
    assert (d.batch_shape, d.event_shape) == ((2,), (int(np.prod(shape)),))


@pytest.mark.parametrize("norm", networks.NORMALIZATIONS)
def test_normalizations(norm):
    encoder = networks.residual_encoder((8, 8, 3), 2, 4, STAGES, norm=norm)
    kinds = {type(layer).__name__ for layer in encoder.layers}
    assert ("BatchNormalization" in kinds) == (norm in ("batch", "sync_batch"))
    assert ("GroupNormalization" in kinds) == (norm == "group")


def test_first_posteriors_are_near_the_prior():
    x = np.random.default_rng(0).uniform(size=(8, 16, 16, 3)).astype(np.float32)
    for pool in ("flatten", "max"):
        parameters = networks.residual_encoder((16, 16, 3), 8, 8, STAGES, pool=pool)(x).numpy()
        assert np.abs(parameters).max() < 1


def test_unknown_pool():
    with pytest.raises(ValueError, match="pool must be one of"):
        networks.residual_encoder((8, 8, 3), 2, 4, STAGES, pool="median")


def test_transposed_enlarges_within_its_stages():
    """No layer more than in the encoder: the first convolution of a stage has the stride."""
    decoder = networks.residual_decoder(
        (13, 10, 3), 3, LowRankNormalHead(3, 2), STAGES, 8, 4, upsample="transposed"
    )
    layers = {layer.name: layer for layer in decoder.layers}
    kinds = {name: type(layer).__name__ for name, layer in layers.items()}
    transposed = {name for name, kind in kinds.items() if kind == "Conv2DTranspose"}
    assert transposed == {"project", "stage2_conv1", "stage1_conv1", "stage0_conv1"}
    for i, (filters, stride) in enumerate(STAGES):
        assert layers[f"stage{i}_conv1"].strides == (stride, stride)
        assert layers[f"stage{i}_conv2"].strides == (1, 1)
        assert layers[f"stage{i}_conv2"].filters == filters
    assert layers["stage2"].output.shape[1:3] == (7, 5)
    assert layers["stage0"].output.shape[1:3] == (13, 10)


def test_papers_network_has_the_authors_size():
    """The authors' network has 31.0 M at the size of CelebA, with rank 25 and 128 latents."""
    c = config.paper(45.0, -504750.0)
    shape, m = (218, 178, 3), c.model
    encoder = networks.residual_encoder(
        shape, 128, m.encoder.stem, m.encoder.stages, m.encoder.hidden, m.encoder.pool
    )
    head = build_head(c, 3)
    d = m.decoder
    decoder = networks.residual_decoder(
        shape, 128, head, d.stages, d.hidden, d.project, None, d.upsample
    )
    # a 1x1 convolution from 64 features, with a bias, to mean (C) and factor (C x R)
    assert head.count_params() == 65 * (3 + 3 * 25)
    halves = [encoder.count_params(), decoder.count_params()]
    assert halves == [11_569_728, 19_471_374]
    assert abs(sum(halves) / 31.0e6 - 1) < 0.03
    filters = [decoder.get_layer(f"stage{i}").output.shape[1:] for i in reversed(range(8))]
    low, middle, high = (28, 23), (55, 45), (109, 89)
    assert filters == [
        (*low, 512), (*middle, 256), (*middle, 256), (*high, 128), (*high, 128),
        (218, 178, 64), (218, 178, 64), (218, 178, 64),
    ]  # fmt: skip


def test_default_network_keeps_its_size():
    """Checkpoints of earlier runs hold the variables of this network."""
    c = config.default()
    d = c.model.decoder
    decoder = networks.residual_decoder(
        (64, 64, 3), 64, build_head(c, 3), d.stages, d.hidden, None, None, d.upsample
    )
    names = [v.path for v in decoder.variables]
    assert names[0] == "project/kernel"
    assert [n for n in names if n.startswith("stage3")][:2] == [
        "stage3_conv1/kernel",
        "stage3_norm1/gamma",
    ]
    assert decoder.count_params() == 878_048


# --- The kernel gradient of a 1x1 convolution with a stride (docs/faq.md, "The process dies") ---

CONFIGS = sorted(p.stem for p in Path("configs").glob("*.py"))


def strided_pointwise(model):
    """Names of the convolutions in the graph that have a 1x1 kernel and a stride."""
    specs = [tf.TensorSpec([15, *x.shape[1:]], x.dtype) for x in model.inputs]
    call = tf.function(lambda *given: tf.nest.flatten(model(given if specs[1:] else given[0])))
    graph = call.get_concrete_function(*specs).graph
    kernels = {"Conv2D": 1, "Conv2DBackpropInput": 1}  # the place of the kernel in the inputs
    return [
        op.name
        for op in graph.get_operations()
        if op.type in kernels
        and op.inputs[kernels[op.type]].shape[:2] == [1, 1]
        and max(op.get_attr("strides")) > 1
    ]


def variants(name):
    """The experiments of a config file."""
    module = runpy.run_path(f"configs/{name}.py")
    chosen = [(v,) for v in module.get("VARIANTS", ())] or [()]
    return [module["get_config"](*v) for v in chosen]


@pytest.mark.parametrize("name", CONFIGS)
def test_no_config_has_a_strided_pointwise_convolution(name):
    networks_seen = {}
    for c in variants(name):
        m = c.model
        networks_seen.setdefault(json.dumps([m.encoder, m.decoder], default=dict), c)
    for c in networks_seen.values():
        c.objective.update({"constrain_kl": False, "constrain_entropy": False})
        model = build_model(c, (16, 16, 3), 3 if c.data.label else 0)
        assert strided_pointwise(model.encoder) == []
        assert strided_pointwise(model.decoder) == []


def test_a_strided_pointwise_convolution_is_found():
    """So that the test above can fail."""
    image = keras.Input((8, 8, 4))
    plain = keras.layers.Conv2D(4, 1, 2)(image)
    assert strided_pointwise(keras.Model(image, plain)) != []
    enlarged = keras.layers.Conv2DTranspose(4, 1, 2)(image)
    assert strided_pointwise(keras.Model(image, enlarged)) != []


@pytest.mark.parametrize("shape", [(8, 8), (7, 10)])
@pytest.mark.parametrize("stride", [2, 3])
def test_strided_pointwise_convolution_is_that_of_keras(shape, stride):
    x = np.random.default_rng(0).normal(size=(3, *shape, 5)).astype(np.float32)
    ours = blocks.Conv2D(4, 1, stride, padding="same")
    theirs = keras.layers.Conv2D(4, 1, stride, padding="same")
    found = ours(x)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(found, theirs(x), rtol=1e-5, atol=1e-6)
    assert ours.compute_output_shape(x.shape) == found.shape
    again = keras.layers.deserialize(keras.layers.serialize(ours))
    assert type(again) is blocks.Conv2D


def test_layout_of_checkpoints_is_that_of_plain_convolutions(monkeypatch, tmp_path):
    """Checkpoints number layers, files of weights name them by class: earlier ones must load."""
    arguments = ((13, 10, 3), 3, 4, STAGES)
    monkeypatch.setattr(blocks, "Conv2D", keras.layers.Conv2D)
    before = networks.residual_encoder(*arguments)
    tf.train.Checkpoint(model=before).write(str(tmp_path / "state"))
    before.save_weights(tmp_path / "of.weights.h5")
    monkeypatch.undo()
    for load in (
        lambda m: tf.train.Checkpoint(model=m).read(str(tmp_path / "state")).assert_consumed(),
        lambda m: m.load_weights(tmp_path / "of.weights.h5"),
    ):
        after = networks.residual_encoder(*arguments)
        load(after)
        for a, b in zip(after.get_weights(), before.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


GRADIENTS = """
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(2)  # an odd batch is split within an image
from tf_structvae import blocks
rng = np.random.default_rng(0)
for size, batch in ((16, 15), (64, 1)):
    for channels in (4, 6, 7, 12):  # of registers of 8 and of 16
        x = rng.normal(size=(batch, size, size, channels)).astype(np.float32)
        g = rng.normal(size=(batch, size // 2, size // 2, 4)).astype(np.float32)
        layer = blocks.Conv2D(4, 1, 2, padding="same")
        with tf.GradientTape() as tape:
            y = layer(x)
        found = tape.gradient(y, layer.kernel, g)[0, 0]
        wanted = np.einsum("bhwi,bhwo->io", x[:, ::2, ::2].astype(float), g)
        # sums of about 1000 products, in float32
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
print("whole")
"""

STEPS = """
import runpy
import numpy as np
from tf_structvae.build import build_model, build_optimizer
rng = np.random.default_rng(0)
c = runpy.run_path("configs/smoke.py")["get_config"]()
model = build_model(c, (16, 16, 3))
model.compile(optimizer=build_optimizer(c))
for batch in (15, 1, 7, 31):
    logs = model.train_on_batch(rng.uniform(size=(batch, 16, 16, 3)).astype(np.float32))
    assert np.all(np.isfinite(logs)), logs
print("whole")
"""


@pytest.mark.parametrize(
    "code",
    [pytest.param(GRADIENTS, id="layer"), pytest.param(STEPS, id="smoke", marks=pytest.mark.long)],
)
def test_odd_batches_with_onednn(code):
    """In a process of its own, since the fault ends it, or spoils its memory."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout.strip()) == (0, "whole"), run.stderr[-2000:]
