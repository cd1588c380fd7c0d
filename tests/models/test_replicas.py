"""What is the same on every replica."""

import json

import forked

OUTSIDE = """
import json, sys
sys.path[:0] = ["tests", "tests/helpers"]
import keras, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from small_vae import images, make
from tf_structvae import Constraint

def train(devices, inside):
    strategy = tf.distribute.MirroredStrategy(devices)
    constraint = None if inside else Constraint("kl", 0.1)
    try:
        with strategy.scope():
            model = make(constraints=[constraint or Constraint("kl", 0.1)])
            model.compile(keras.optimizers.SGD(0.01))
        model.fit(tf.data.Dataset.from_tensors(images(4)), verbose=0)
    except ValueError as error:
        return str(error)
    return ""

one, two = ["CPU:0"], ["CPU:0", "CPU:1"]
print(json.dumps([train(two, False), train(two, True), train(one, False)]))
"""


def test_a_constraint_that_replicas_would_update_apart_is_an_error():
    done = forked.run("-c", OUTSIDE, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    outside, inside, alone = json.loads(done.stdout.splitlines()[-1])
    assert "the variable kl/" in outside
    assert "was made outside strategy.scope()" in outside
    assert inside == alone == ""
