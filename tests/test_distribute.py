"""One device and two give the same weights, multipliers and logs. In a process of its own, since
logical devices must be made before anything else."""

import json
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import sys, json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, "tests")
import keras, numpy as np
from test_vae import images, make
from tf_structvae.constraints import Constraint
from tf_structvae.training import build_strategy

def run(distribute, batch):
    strategy = build_strategy(distribute)
    with strategy.scope():
        model = make(
            constraints=[Constraint("kl", 2.0, rate=0.5, damping=2.0)], samples=2, pretrain_steps=2
        )
        model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(images(5 * batch)).batch(batch)
    logs = model.fit(data, epochs=1, verbose=0).history
    return (
        strategy.num_replicas_in_sync,
        {k: float(np.mean(v[-1])) for k, v in logs.items()},
        {v.path: np.asarray(v).tolist() for v in model.variables if "seed" not in v.path},
    )

print(json.dumps([run("none", BATCH), run("mirrored", BATCH)]))
"""


@pytest.mark.parametrize("batch", [8, 7])
def test_two_devices_equal_one(batch):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("BATCH", str(batch))],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert (one[0], two[0]) == (1, 2)
    assert one[1].keys() == two[1].keys()
    for name in one[1]:
        np.testing.assert_allclose(two[1][name], one[1][name], rtol=1e-4, atol=1e-5, err_msg=name)
    for (path, a), b in zip(one[2].items(), two[2].values(), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5, err_msg=path)
