"""The profile of a training step."""

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from tf_structvae.benchmarks import profile, train_step


def test_operations_of_each_step_are_counted():
    weights = tf.random.normal([300, 300])

    @tf.function
    def run():
        return tf.linalg.cholesky(tf.matmul(weights, weights, transpose_b=True) + tf.eye(300))

    found = profile.measure(run, steps=4)
    assert found["kinds"]["Cholesky"]["calls"] == 1
    assert 0 < found["kinds"]["Cholesky"]["seconds"] < found["seconds"]


def event(plane, line, name, start, length):
    number = len(plane.event_metadata) + 1
    plane.event_metadata[number].name = name
    line.events.add(metadata_id=number, offset_ps=start * 10**12, duration_ps=length * 10**12)


def test_only_outermost_operations_count():
    space = xplane_pb2.XSpace()
    plane = space.planes.add()
    one, two = plane.lines.add(), plane.lines.add()
    event(plane, one, "ExecutorState::Process", 0, 50)
    event(plane, one, "model/conv:_MklNativeConv2D", 1, 10)
    event(plane, one, "model/inner:MatMul", 2, 3)  # within the convolution
    event(plane, one, "model/other:MatMul", 11, 2)
    event(plane, two, "again:MatMul", 3, 4)  # another thread
    assert profile._operations(space.SerializeToString()) == {
        "_MklNativeConv2D": (10.0, 1),
        "MatMul": (6.0, 2),
    }


def test_table_sums_what_it_leaves_out():
    found = {
        "seconds": 0.2,
        "kinds": {
            k: {"seconds": s, "calls": 2.0} for k, s in (("A", 0.1), ("B", 0.04), ("C", 0.02))
        },
    }
    lines = profile.table(found, most=1).splitlines()
    assert lines[2] == "| A | 2 | 100.0 | 50% |"
    assert lines[3] == "| all others | 4 | 60.0 | 30% |"


def test_the_profiled_step_is_one_of_the_benchmark():
    job = train_step.profile_job()
    assert job["profile"]
    assert job["problem"] in [j["problem"] for j in train_step.jobs(quick=True)]
