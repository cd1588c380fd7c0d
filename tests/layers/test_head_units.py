"""Heads with a noise variance of each channel, in units that the first targets set."""

import inspect
import json

import forked
import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tf_structvae as sv

SHAPES = {"flat": (4, 5), "sequence": (4, 3, 5), "image": (4, 2, 3, 5)}
C, R = 2, 3
OFFSET, SCALE = np.array([300.0, -20.0]), np.array([0.5, 40.0])


def new_head(kind="low_rank", channels=C, **options):
    options = {"epsilon": 0.3, **options}
    if kind == "independent":
        return sv.layers.IndependentNormalHead(channels, **options)
    cls = sv.layers.StockLowRankNormalHead if kind == "stock" else sv.layers.LowRankNormalHead
    return cls(channels, rank=R, **{"factor_initial": 0.4, **options})


def features(shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def targets(head, shape):
    """Values at about two standard deviations, [B, N]."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(shape[0], *shape[1:-1], head.channels))
    return (OFFSET + 2 * SCALE * rows).reshape(shape[0], -1)


def reference(weights, x, y):
    """-log p of each example by dense float64 covariances, from the definitions in the docs."""
    h = x.astype(np.float64).reshape(len(x), -1, x.shape[-1])
    with_one = np.concatenate([h, np.ones_like(h[..., :1])], -1)
    noise = 0.3 * np.exp(10 * weights["noise_log_scale"])
    found = []
    for b in range(len(x)):
        mean = OFFSET + SCALE * (h[b] @ weights["mean_kernel"] + weights["mean_bias"])
        variance = np.broadcast_to(SCALE**2 * noise, mean.shape)
        covariance = np.diag(variance.ravel())
        if "factor_kernel" in weights:
            p = np.einsum("sf,fcr->scr", with_one[b], weights["factor_kernel"])
            p = (SCALE[:, None] * p).reshape(mean.size, R)
            covariance = covariance + p @ p.T
        normal = scipy.stats.multivariate_normal(mean.ravel(), covariance)
        found.append(-normal.logpdf(y[b]))
    return np.array(found)


@pytest.mark.parametrize("kind", ["low_rank", "stock", "independent"])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_against_dense_float64_with_gradients(kind, shape):
    """The loss to float32's rounding; each gradient against central differences in float64."""
    shape = SHAPES[shape]
    options = {} if kind == "independent" else {"factor_scale": "kernel"}
    x, head = features(shape), new_head(kind, dtype="float64", **options)
    head.build(shape)
    head.noise_log_scale.assign([0.05, -0.1])
    head.units.offset.assign(OFFSET)
    head.units.scale.assign(SCALE)
    y = targets(head, shape)
    with tf.GradientTape() as tape:
        losses = -head(tf.constant(x, tf.float64)).log_prob(y)
        loss = tf.reduce_sum(losses)
    trained = head.trainable_variables
    weights = {v.name: v.numpy() for v in trained}
    np.testing.assert_allclose(losses, reference(weights, x, y), rtol=1e-9)
    for v, gradient in zip(trained, tape.gradient(loss, [v.value for v in trained]), strict=True):
        direction = np.random.default_rng(2).normal(size=v.shape)
        ends = [
            reference({**weights, v.name: weights[v.name] + h * direction}, x, y).sum()
            for h in (1e-5, -1e-5)
        ]
        slope = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5, err_msg=v.name)


@pytest.mark.parametrize("kind", ["low_rank", "stock", "independent"])
def test_float32_agrees_where_offsets_are_many_standard_deviations(kind):
    shape = SHAPES["image"]
    x, head = features(shape), new_head(kind)
    head.build(shape)
    head.units.offset.assign(OFFSET)
    head.units.scale.assign(SCALE)
    y = targets(head, shape)
    expected = reference({v.name: v.numpy().astype(float) for v in head.trainable_variables}, x, y)
    np.testing.assert_allclose(-head(x).log_prob(y.astype(np.float32)), expected, rtol=1e-4)


def test_a_variance_of_each_channel_is_the_same_everywhere():
    head = new_head("independent")
    head.build(SHAPES["image"])
    head.noise_log_scale.assign([0.1, 0.2])
    variance = head(features(SHAPES["image"])).variance().numpy().reshape(4, 6, C)
    expected = 0.3 * np.exp([1.0, 2.0])
    np.testing.assert_allclose(variance, np.broadcast_to(expected, variance.shape), rtol=1e-5)


def batches(y):
    return tf.data.Dataset.from_tensor_slices(y).batch(3)


@pytest.mark.parametrize("given", ["array", "flat", "dataset"])
def test_adapt_takes_mean_and_deviation_of_each_channel(given):
    rng = np.random.default_rng(3)
    y = (rng.normal(size=(10, 2, 3, C)) * [0.01, 100] + [300, -5]).astype(np.float32)
    head = new_head()
    head.adapt({"array": y, "flat": y.reshape(10, -1), "dataset": batches(y)}[given])
    rows = y.reshape(-1, C).astype(np.float64)
    np.testing.assert_allclose(head.units.offset, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(head.units.scale, rows.std(0), rtol=1e-5)


def test_a_constant_channel_has_scale_one():
    y = np.stack([np.full(8, 300.1), np.arange(8)], -1).astype(np.float32)
    head = new_head()
    head.adapt(y)
    assert head.units.scale[0] == 1
    once = new_head()
    once.units.build()
    once.units.adapt_once(tf.constant(y), lambda x: x)
    np.testing.assert_allclose(once.units.scale, head.units.scale, rtol=1e-6)


def regression(count=40):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    return x, (rng.normal(size=(count, C)) * SCALE + OFFSET).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("low_rank", {"jit_compile": True}),
        ("low_rank", {"run_eagerly": True}),
        ("independent", {}),
    ],
)
def test_the_first_batch_of_a_fit_sets_the_units_and_later_ones_do_not(kind, options):
    x, y = regression()
    head = new_head(kind, epsilon=1.0)
    model = keras.Sequential([keras.Input((3,)), head])
    metrics = ["mse", sv.metrics.LogProb()]
    model.compile(
        keras.optimizers.SGD(0.0), sv.losses.NegativeLogLikelihood(), metrics=metrics, **options
    )
    model.evaluate(x, y, verbose=0)
    assert head.units.adapted == 0  # only training does
    logs = model.fit(x, y, batch_size=20, shuffle=False, verbose=0).history
    np.testing.assert_allclose(head.units.offset, y[:20].mean(0), rtol=1e-5)
    np.testing.assert_allclose(head.units.scale, y[:20].std(0), rtol=1e-4)
    # nothing else has moved, so the first step's loss and metrics are those of all later ones
    log_prob = model(x).log_prob(y).numpy().mean()
    np.testing.assert_allclose(logs["loss"], -log_prob, rtol=1e-4)
    np.testing.assert_allclose(logs["log_prob"], log_prob, rtol=1e-4)
    np.testing.assert_allclose(logs["mse"], np.mean((model(x).numpy() - y) ** 2), rtol=1e-4)


def test_units_taken_by_adapt_stay_in_fit_and_in_a_file(tmp_path):
    x, y = regression()
    head = new_head()
    head.adapt(y)
    model = keras.Sequential([keras.Input((3,)), head])
    model.compile("adam", sv.losses.NegativeLogLikelihood())
    model.fit(x[:10], y[:10], verbose=0)
    np.testing.assert_allclose(head.units.offset, y.mean(0), rtol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(x).log_prob(y), model(x).log_prob(y))
    again.fit(x[:10], y[:10] + 1e3, verbose=0)
    np.testing.assert_array_equal(again.layers[-1].units.offset, head.units.offset)


FORMER = {"name": "head", "dtype": "float32", "channels": C}


@pytest.mark.parametrize("cls", ["LowRankNormalHead", "IndependentNormalHead"])
def test_a_config_of_an_earlier_release_keeps_what_it_had(cls):
    """Without `standardize`, with the values that its `get_config` wrote, or with none."""
    cls = getattr(sv.layers, cls)
    written = {**FORMER, "epsilon": 0.2, "noise": "per_pixel", "mean_initial": 0.1}
    head = cls.from_config(written)
    assert (head.epsilon, head.noise, head.mean_initial) == (0.2, "per_pixel", 0.1)
    assert head.units is None
    head = cls.from_config(FORMER)
    assert (head.epsilon, head.noise, head.mean_initial, head.units) == (1e-5, "fixed", 0.5, None)
    assert getattr(head, "factor_initial", 1e-5) == 1e-5
    assert getattr(head, "factor_scale", "kernel") == "kernel"


@pytest.mark.parametrize("kind", ["low_rank", "stock", "independent"])
def test_a_config_holds_every_argument(kind):
    head = new_head(kind)
    names = set(inspect.signature(type(head).__init__).parameters) - {"self", "kwargs"}
    config = head.get_config()
    assert names <= set(config)
    again = type(head).from_config(config)
    assert again.get_config() == config
    assert type(head).from_config(new_head(kind, noise="fixed").get_config()).units is None


def test_a_vae_takes_the_units_from_its_first_images():
    images = np.random.default_rng(5).uniform(0.2, 0.6, size=(8, 4, 4, 1)).astype(np.float32)
    encoder = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    head = sv.layers.LowRankNormalHead(1, rank=2)
    layers = [keras.layers.Dense(16 * 3), keras.layers.Reshape((4, 4, 3)), head]
    vae = sv.StructuredVAE(encoder, keras.Sequential([keras.Input((2,)), *layers]))
    vae.compile("adam")
    vae.fit(images, batch_size=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(head.units.offset, [images[:4].mean()], rtol=1e-5)
    np.testing.assert_allclose(head.units.scale, [images[:4].std()], rtol=1e-4)


MIRRORED = """
import json, sys
sys.path[:0] = ["tests", "tests/helpers", "tests/layers"]
import keras, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tf_structvae as sv
from test_head_units import new_head, regression

def run(strategy):
    keras.utils.set_random_seed(0)
    x, y = regression()
    with strategy.scope():
        head = new_head(epsilon=1.0)
        model = keras.Sequential([keras.Input((3,)), head])
        loss = sv.losses.NegativeLogLikelihood()
        model.compile(keras.optimizers.SGD(0.01), loss, metrics=["mse"])
    logs = model.fit(x, y, batch_size=10, shuffle=False, verbose=0).history
    units = [head.units.offset.numpy().tolist(), head.units.scale.numpy().tolist()]
    return [*logs["loss"], *logs["mse"], *sum(units, [])]

one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print(json.dumps([run(one), run(two)]))
"""


def test_two_devices_take_the_units_of_the_global_batch():
    done = forked.run("-c", MIRRORED, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(two, one, rtol=1e-4)
