"""One device, two devices and two workers give the same weights, multipliers and logs. In processes
of their own, since devices and workers must be made before anything else."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import forked
import numpy as np
import pytest
import tensorflow as tf
from replica_limits import LIMIT, assert_same

from tf_structvae.datasets import pipeline
from tf_structvae.programs.command import config_first
from tf_structvae.training import cluster, local_cluster, tf_config

SETUP = """
import sys, json
import tensorflow as tf
sys.path[:0] = ["tests", "tests/helpers"]
import binding, keras, numpy as np
from small_vae import LATENT, SHAPE, images, make
from tf_structvae import StructuredVAE, networks
from tf_structvae.training import cluster
from tf_structvae.datasets.pipeline import part
from tf_structvae.layers import LowRankNormalHead

def normalized(norm, **options):
    keras.utils.set_random_seed(0)
    head = LowRankNormalHead(2, rank=2, epsilon=0.05, noise="learned", factor_initial=0.1)
    return StructuredVAE(
        networks.residual_encoder(SHAPE, LATENT, 4, [(4, 2)], norm=norm),
        networks.residual_decoder(SHAPE, LATENT, head, [(4, 2)], 4, norm=norm),
        **options,
    )

def run(strategy, batch, normalize=False):
    with strategy.scope():
        options = {"constraints": binding.constraints(-20.0), "samples": 2, "pretrain_steps": 2}
        if normalize:
            # Adam takes whole steps along a bias before a batch norm, where the gradient is 0.
            model = normalized("sync_batch", **options)
            model.compile(keras.optimizers.SGD(1e-4))
        else:
            model = make(**options)
            model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(images(6 * batch + 1)).batch(batch)
    training, validation = data.take(5), data.skip(5)
    logs = model.fit(
        cluster.distribute(strategy, lambda shard: training.map(lambda b: part(b, shard))),
        validation_data=cluster.distribute(
            strategy, lambda shard: validation.map(lambda b: part(b, shard))
        ),
        epochs=1,
        verbose=0,
    ).history
    return (
        strategy.num_replicas_in_sync,
        {k: float(np.mean(v[-1])) for k, v in logs.items()},
        {v.path: np.asarray(v).tolist() for v in model.variables if "seed" not in v.path},
    )
"""

TWO_DEVICES = """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategies = [cluster.build_strategy(name) for name in ("none", "mirrored")]
print(json.dumps([[run(s, *case) for s in strategies] for case in json.loads(sys.argv[1])]))
"""

# The chief trains alone after the two workers have.
TWO_WORKERS = """
strategy = cluster.build_strategy("multi_worker")
cases = json.loads(sys.argv[1])
two = [run(strategy, *case) for case in cases]
assert cluster.gather(strategy, 3) == [3, 3]
with cluster.chief_first(strategy):
    if cluster.is_chief(strategy):
        alone = tf.distribute.get_strategy()
        print(json.dumps([(run(alone, *case), b) for case, b in zip(cases, two)]))
"""


def start(*words):
    program = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        output, errors = program.communicate(timeout=LIMIT)
    finally:
        program.terminate()  # local_workers ends its workers
    return subprocess.CompletedProcess(words, program.returncode, output, errors)


def on_workers(*words, options=()):
    return start("bin/local_workers", "--workers=2", *options, "--", *words)


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        ("devices", [7]),
        pytest.param("workers", [7, True], marks=pytest.mark.long),
        pytest.param("workers", [8], marks=pytest.mark.long),
    ],
)
def test_two_equal_one(kind, case):
    """Five steps, even and uneven, with batch norm, and a last validation batch of one image."""
    if kind == "devices":
        done = forked.run("-c", SETUP + TWO_DEVICES, json.dumps([case]), timeout=LIMIT)
    else:
        done = on_workers(sys.executable, "-c", SETUP + TWO_WORKERS, json.dumps([case]))
    assert done.returncode == 0, done.stderr[-3000:]
    for one, two in json.loads(done.stdout.splitlines()[-1]):
        assert_same(one, two)


TINY = """
from tf_structvae import config

def get_config():
    c = config.default()
    c.name = "tiny"
    c.data.variant = "16x16_tiny"
    c.model.latent_dim = 2
    c.model.rank = 2
    c.model.norm = "none"
    c.model.encoder.stem = 2
    c.model.encoder.stages = c.model.decoder.stages = ((2, 4),)
    c.model.decoder.hidden = 2
    c.objective.pretrain_steps = 1
    c.objective.kl_target, c.objective.entropy_budget = 0.004, 1.0
    c.objective.kl_start, c.objective.entropy_budget_start = 0.002, 0.5
    c.objective.ramp_steps = 20
    c.train.steps, c.train.epoch_steps, c.train.batch_size = 4, 2, 5
    c.train.warmup_steps = 0
    c.evaluation.batch_size, c.evaluation.images = 8, 17
    return c
"""


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """A run of two workers, its folder, and how to train another."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "tiny.py").write_text(TINY)

    def train(workdir, *options):
        done = on_workers(
            "bin/train", f"--config={folder / 'tiny.py'}", f"--config.data.dir={data_dir}",
            f"--config.export_dir={folder / 'models'}", "--distribute=multi_worker",
            f"--workdir={workdir}", *options, options=[f"--logs={folder / 'logs'}"],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    return train(folder / "whole"), folder, train


@pytest.mark.long
def test_only_the_chief_writes(whole):
    done, folder, _ = whole
    assert "Last epoch" in done.stdout
    assert "StartAbort" not in done.stderr
    quiet = (folder / "logs/worker1.log").read_text()
    for word in ("picture", "training:", "step 2", "Last epoch", "tiny:"):
        assert word not in quiet
    assert [p.name for p in (folder / "models/tiny").iterdir()] == ["1"]
    assert len(list((folder / "whole/tensorboard").iterdir())) == 1
    assert len((folder / "whole/log.csv").read_text().splitlines()) == 3
    loaded = tf.saved_model.load(str(folder / "models/tiny/1"))
    images = loaded.signatures["sample"](seeds=tf.constant([[1, 2]]))["images"]
    assert images.shape == (1, 16, 16, 3)


@pytest.mark.long
def test_resuming_changes_nothing(whole, tmp_path):
    """As if it had been killed between the two checkpoints."""
    _, folder, train = whole
    parts = tmp_path / "parts"
    shutil.copytree(folder / "whole", parts)
    for path in (parts / "checkpoints").glob("ckpt-4.*"):
        path.unlink()
    (parts / "checkpoints/checkpoint").write_text('model_checkpoint_path: "ckpt-2"\n')
    done = train(parts, "--resume")
    assert "starting at step 2" in done.stdout
    a, b = (
        tf.train.load_checkpoint(str(d / "checkpoints/ckpt-4")) for d in (folder / "whole", parts)
    )
    names = [n for n in a.get_variable_to_dtype_map() if n.endswith("VARIABLE_VALUE")]
    bound = [n for n in names if "multiplier" in n]
    assert len(bound) == 2
    assert all(a.get_tensor(n) > 0 for n in bound)
    for name in names:
        np.testing.assert_allclose(
            b.get_tensor(name), a.get_tensor(name), rtol=1e-5, atol=1e-5, err_msg=name
        )


def index_of(code):
    """A program for a worker that knows its index."""
    index = "json.loads(os.environ['TF_CONFIG'])['task']['index']"
    return f"import json, os, signal, sys; i = {index}; {code}"


def test_a_failing_worker_ends_the_others():
    code = index_of("print('because', 6 * 7) if i else signal.pause(); sys.exit(5)")
    done = on_workers(sys.executable, "-c", code)
    assert done.returncode == 1
    assert "worker 1 failed with status 5" in done.stderr
    assert "because 42" in done.stderr
    assert "worker 0" not in done.stderr


def _read(pipe, size):
    """So many bytes, or less at the end."""
    found = b""
    while len(found) < size:
        assert select.select([pipe], [], [], LIMIT)[0], found
        part = os.read(pipe, size - len(found))
        if not part:
            break
        found += part
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_all_workers(number, tmp_path):
    """They say that they are there through a pipe, which has an end when the last has ended."""
    name = tmp_path / "pipe"
    os.mkfifo(name)
    pipe = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    own = os.open(name, os.O_WRONLY)  # so that it has no end before
    code = index_of(f"f = os.open(r'{name}', os.O_WRONLY); os.write(f, b'.'); signal.pause()")
    program = subprocess.Popen(
        [sys.executable, "bin/local_workers", "--", sys.executable, "-c", code],
        stderr=subprocess.PIPE,
    )
    try:
        assert _read(pipe, 2) == b".."
        os.close(own)
        program.send_signal(number)
        assert program.wait(LIMIT) == 130
        assert _read(pipe, 1) == b""
    finally:
        os.close(pipe)
        program.kill()


def test_local_workers_needs_a_program():
    done = start("bin/local_workers")
    assert done.returncode == 2
    assert "which program?" in done.stderr


def test_flags_after_dashes_are_the_programs():
    words = ["local_workers", "--workers=2", "--", "bin/train", "--config", "a.py"]
    assert config_first(words) == words


def test_environments_name_one_cluster():
    first, second = local_cluster.environments(2)
    a, b = json.loads(first["TF_CONFIG"]), json.loads(second["TF_CONFIG"])
    assert a["cluster"] == b["cluster"]
    assert (a["task"]["index"], b["task"]["index"]) == (0, 1)
    for environment in (first, second):
        tf_config.check(environment["TF_CONFIG"])
        assert environment["PATH"].startswith(str(Path(sys.executable).parent))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "not set"),
        ("", "not set"),
        ("{", "not JSON"),
        ("[1]", "field is missing"),
        ('{"cluster": {"worker": ["a:1"]}}', "field is missing"),
        (tf_config.of_worker([], 0), "list of"),
        (tf_config.of_worker(["a"], 0), "list of"),
        (tf_config.of_worker(["a:port"], 0), "list of"),
        (tf_config.of_worker(["a:99999"], 0), "list of"),
        (tf_config.of_worker(["a:1", "a:1"], 0), "same address"),
        (tf_config.of_worker(["a:1", "b:1"], 2), "not one of 0 to 1"),
        (tf_config.of_worker(["a:1"], "0"), "not one of 0 to 0"),
        (tf_config.of_worker(["a:1"], 0).replace('"type": "worker"', '"type": "ps"'), "type"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
         "type"),
    ],
)  # fmt: skip
def test_tf_config_errors_say_what_it_must_look_like(text, reason, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=reason) as error:
        cluster.build_strategy("multi_worker")
    assert '{"cluster": {"worker": ["host0:2222", "host1:2222"]}' in str(error.value)


def test_unknown_strategy():
    with pytest.raises(ValueError, match="distribute must be one of"):
        cluster.build_strategy("magic")


@pytest.mark.parametrize("size", [8, 7, 3, 1])
def test_split_deals_out_each_batch_in_order(size):
    batches = tf.data.Dataset.range(2 * size).batch(size)

    def of_worker(i):
        own = batches.map(lambda b: pipeline.part(b, (i, 2)))
        return list(cluster.split(own, 2).as_numpy_iterator())

    first, second = of_worker(0), of_worker(1)
    assert len(first) == len(second) == 4
    for i, whole in enumerate(batches.as_numpy_iterator()):
        parts = [*first[2 * i : 2 * i + 2], *second[2 * i : 2 * i + 2]]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert int(cluster.split(batches, 1).cardinality()) == 2
