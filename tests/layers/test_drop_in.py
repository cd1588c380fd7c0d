"""The heads at the end of other people's models: the life of a Keras model, and its errors."""

import json

import forked
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from own_model import BATCH, CHANNELS, COUNT, SHAPES, data, new_head, new_model

import tf_structvae as sv


def metrics():
    return [sv.metrics.LogProb(), sv.metrics.Entropy(), sv.metrics.RootMeanSquaredError()]


@pytest.mark.parametrize(
    ("kind", "ndim", "head"),
    [
        ("functional", 4, "low_rank"),
        ("functional", 2, "low_rank"),
        pytest.param("sequential", 3, "low_rank", marks=pytest.mark.long),
        pytest.param("subclassed", 5, "low_rank", marks=pytest.mark.long),
        ("subclassed", 4, "independent"),
    ],
)
def test_the_life_of_a_keras_model(kind, ndim, head, tmp_path):
    x, y = data(ndim)
    n = int(np.prod(y.shape[1:]))
    model = new_model(kind, ndim, new_head(head))
    loss = sv.losses.NegativeLogLikelihood()
    model.compile(keras.optimizers.Adam(0.03), loss, weighted_metrics=metrics())
    before = model.evaluate(x, y, batch_size=BATCH, verbose=0)[0]
    history = model.fit(
        x, y, batch_size=BATCH, epochs=2, verbose=0, validation_data=(x, y), shuffle=False
    ).history
    # flat targets and images are the same; every number is that of all examples at once
    found = model.evaluate(x, y.reshape(COUNT, n), batch_size=BATCH, verbose=0, return_dict=True)
    assert found["loss"] < before
    np.testing.assert_allclose(found["loss"], history["val_loss"][-1], rtol=1e-5)
    p = model(x)
    assert (p.batch_shape, p.event_shape) == ((COUNT,), (n,))
    log_prob = p.log_prob(y.reshape(COUNT, n)).numpy()
    np.testing.assert_allclose(found["loss"], -log_prob.mean(), rtol=1e-5)
    np.testing.assert_allclose(found["log_prob"], log_prob.mean(), rtol=1e-5)
    np.testing.assert_allclose(found["entropy"], p.entropy().numpy().mean(), rtol=1e-5)
    error = np.sqrt(np.mean((p.mean().numpy() - y.reshape(COUNT, n)) ** 2))
    np.testing.assert_allclose(found["rmse"], error, rtol=1e-5)

    # sample weights reach the loss and `weighted_metrics`
    w = np.random.default_rng(0).uniform(size=COUNT).astype(np.float32)
    weighted = model.evaluate(x, y, batch_size=COUNT, sample_weight=w, verbose=0, return_dict=True)
    np.testing.assert_allclose(weighted["loss"], -np.mean(w * log_prob), rtol=1e-5)
    np.testing.assert_allclose(weighted["log_prob"], np.sum(w * log_prob) / w.sum(), rtol=1e-5)

    mean = p.mean().numpy()
    for batch_size in (COUNT, BATCH):
        predicted = model.predict(x, batch_size=batch_size, verbose=0)
        assert type(predicted) is np.ndarray
        np.testing.assert_allclose(predicted, mean, rtol=1e-5, atol=1e-6)

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x).numpy(), mean)
    np.testing.assert_array_equal(again(x).log_prob(y.reshape(COUNT, n)), log_prob)
    resumed = again.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    assert resumed == pytest.approx(found, rel=1e-6)  # the compiled loss and metrics came along

    model.save_weights(tmp_path / "model.weights.h5")
    fresh = new_model(kind, ndim, type(model.layers[-1]).from_config(model.layers[-1].get_config()))
    fresh(x)
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(fresh(x).log_prob(y.reshape(COUNT, n)), log_prob)
    if kind != "subclassed":
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy(x).numpy(), mean)


@pytest.mark.parametrize("head", ["low_rank", "independent"])
@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 2}])
def test_predict_in_other_modes(head, options):
    x, y = data(3)
    model = new_model("functional", 3, new_head(head))
    model.compile(keras.optimizers.SGD(0.0), sv.losses.NegativeLogLikelihood(), **options)
    mean = model(x).mean().numpy()
    for batch_size in (COUNT, BATCH):
        predicted = model.predict(x, batch_size=batch_size, verbose=0)
        assert type(predicted) is np.ndarray
        np.testing.assert_allclose(predicted, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch(x[:3]), mean[:3], rtol=1e-5, atol=1e-6)
    loss = model.evaluate(x[:16], y[:16], batch_size=BATCH, verbose=0)
    log_prob = model(x[:16]).log_prob(y[:16].reshape(16, -1)).numpy()
    np.testing.assert_allclose(loss, -log_prob.mean(), rtol=1e-5)


@pytest.mark.parametrize("head", ["low_rank", "independent", "stock"])
def test_what_is_emitted_is_a_distribution_and_as_a_tensor_its_mean(head):
    x, _ = data(3)
    layer = (
        sv.layers.StockLowRankNormalHead(CHANNELS, rank=2, epsilon=0.5, factor_initial=0.3)
        if head == "stock"
        else new_head(head)
    )
    p = layer(x)
    mean = p.mean().numpy()
    assert isinstance(p, tfp.distributions.Distribution)
    assert p.shape == mean.shape
    np.testing.assert_array_equal(tf.convert_to_tensor(p), mean)
    np.testing.assert_array_equal(tf.concat([p, p], 0)[COUNT:], mean)
    np.testing.assert_array_equal(np.asarray(p, np.float64), mean)
    assert tf.convert_to_tensor(p, tf.float64).dtype == tf.float64
    through = tf.function(lambda features: layer(features))(x)  # still a distribution
    np.testing.assert_allclose(through.stddev(), p.stddev(), rtol=1e-6)


def test_metrics_of_keras_see_the_mean():
    x, y = data(2)
    model = new_model("functional", 2, new_head("low_rank"))
    model.compile(loss=sv.losses.NegativeLogLikelihood(), metrics=["mse", "mae"])
    found = model.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    error = model(x).numpy() - y
    np.testing.assert_allclose(found["mse"], np.mean(error**2), rtol=1e-5)
    np.testing.assert_allclose(found["mae"], np.mean(np.abs(error)), rtol=1e-5)


def test_one_of_two_outputs():
    x, y = data(4)
    label = np.arange(COUNT, dtype=np.float32) % 2
    inputs = keras.Input(SHAPES[4])
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    outputs = {
        "image": new_head("low_rank", name="image")(inputs),
        "label": keras.layers.Dense(1, name="label")(pooled),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        "adam",
        {"image": sv.losses.NegativeLogLikelihood(), "label": "mse"},
        metrics={"image": [sv.metrics.LogProb()]},
    )
    targets = {"image": y, "label": label[:, None]}
    model.fit(x, targets, batch_size=BATCH, verbose=0)
    found = model.evaluate(x, targets, batch_size=BATCH, verbose=0, return_dict=True)
    p, predicted = model(x)["image"], model.predict(x, batch_size=BATCH, verbose=0)
    log_prob = p.log_prob(y.reshape(COUNT, -1)).numpy().mean()
    squares = np.mean((predicted["label"][:, 0] - label) ** 2)
    np.testing.assert_allclose(found["image_log_prob"], log_prob, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], squares - log_prob, rtol=1e-5)
    np.testing.assert_allclose(predicted["image"], p.mean(), rtol=1e-5, atol=1e-6)


def test_flat_features_have_one_pixel_and_a_dense_factor():
    """[B, F] -> event [channels]: P_c = [features, 1] W[:, c], the same as of an image of 1 x 1."""
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    head = sv.layers.LowRankNormalHead(9, rank=3, epsilon=0.2, factor_initial=0.5)
    p = head(x)
    assert not isinstance(p, sv.distributions.FeatureLowRankMultivariateNormal)
    assert (p.batch_shape, p.event_shape, p.rank) == ((4,), (9,), 3)
    factor = np.einsum("bf,fcr->bcr", np.c_[x, np.ones(4)], head.factor_kernel)
    np.testing.assert_allclose(p.cov_factor, factor, rtol=1e-4, atol=1e-5)
    image = head(x[:, None, None])
    np.testing.assert_array_equal(image.cov_factor, p.cov_factor)


def test_sequences_of_any_length():
    """Features [B, T, F] with T known only at run time; each batch has its own."""
    head = new_head("low_rank")
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, head(keras.layers.Conv1D(4, 3, padding="same")(inputs)))
    model.compile("adam", sv.losses.NegativeLogLikelihood(), metrics=[sv.metrics.LogProb()])
    assert model.output_shape == (None, None)
    rng = np.random.default_rng(0)

    def batches():
        for length in (5, 7):
            x = rng.normal(size=(4, length, 3)).astype(np.float32)
            yield x, x[..., :CHANNELS]

    shapes = tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None, CHANNELS])
    dataset = tf.data.Dataset.from_generator(batches, output_signature=shapes).cache()
    model.fit(dataset, verbose=0)
    found = model.evaluate(dataset, verbose=0)
    values = [model(x).log_prob(tf.reshape(y, [4, -1])).numpy() for x, y in dataset]
    np.testing.assert_allclose(found[1], np.mean(values), rtol=1e-5)
    wrong = dataset.map(lambda x, y: (x, y[:, 1:]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many numbers an example"):
        model.evaluate(wrong, verbose=0)


def test_mixed_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    x, y = data(4)
    model = new_model("functional", 4, new_head("low_rank"))
    model.compile("adam", sv.losses.NegativeLogLikelihood(), metrics=metrics())
    model.fit(x, y, batch_size=BATCH, verbose=0)
    assert model(x).dtype == tf.float32
    assert model.layers[1].compute_dtype == "bfloat16"
    predicted = model.predict(x, batch_size=BATCH, verbose=0)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, model(x).mean(), rtol=1e-2, atol=1e-2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x).mean(), model(x).mean())


def test_export_of_the_mean(tmp_path):
    """As docs/drop_in.md says; the archive holds plain tensors."""
    x, _ = data(3)
    model = new_model("functional", 3, new_head("low_rank"))
    archive = keras.export.ExportArchive()
    archive.track(model)
    shape = keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="float32")
    archive.add_endpoint("serve", lambda x: {"mean": model(x).mean()}, input_signature=[shape])
    archive.write_out(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.serve(x)["mean"], model(x).mean(), rtol=1e-5, atol=1e-6)
    assert list(loaded.signatures["serving_default"].structured_outputs) == ["mean"]


MIRRORED = """
import json, sys
sys.path[:0] = ["tests", "tests/helpers"]
import keras, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tf_structvae as sv
from own_model import BATCH, data, new_head, new_model

def run(strategy, kind):
    keras.utils.set_random_seed(0)
    x, y = data(3)
    with strategy.scope():
        model = new_model(kind, 3, new_head("low_rank"))
        measured = [sv.metrics.LogProb(), sv.metrics.NoiseSquare()]
        loss = sv.losses.NegativeLogLikelihood()
        model.compile(keras.optimizers.SGD(0.01), loss, metrics=measured)
    fitted = model.fit(x[:16], y[:16], batch_size=BATCH, shuffle=False, verbose=0).history
    found = model.evaluate(x[:16], y[:16], batch_size=BATCH, verbose=0)
    predicted = model.predict(x, batch_size=BATCH, verbose=0)
    return [[v[-1] for v in fitted.values()], found, predicted.tolist()]

one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print(json.dumps([[run(s, kind) for s in (one, two)] for kind in ("subclassed",)]))
"""


@pytest.mark.long
def test_two_devices_give_what_one_does():
    """In a process of its own, since devices must be made first."""
    done = forked.run("-c", MIRRORED, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    for one, two in json.loads(done.stdout.splitlines()[-1]):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((COUNT, 5, 3), r"it has 15, the output 10"),
        ((COUNT, 11), r"it has 11, the output 10"),
        ((COUNT,), r"it has 1, the output 10"),
    ],
)
def test_a_target_of_wrong_size(shape, message):
    x, _ = data(3)
    model = new_model("functional", 3, new_head("low_rank"))
    model.compile("adam", sv.losses.NegativeLogLikelihood())
    with pytest.raises(ValueError, match=message):
        model.fit(x, np.zeros(shape, np.float32), verbose=0)
    model.compile("adam", metrics=[sv.metrics.LogProb()])
    with pytest.raises(ValueError, match=message):
        model.evaluate(x, np.zeros(shape, np.float32), verbose=0)


@pytest.mark.parametrize("name", ["loss", "metric"])
def test_a_model_without_a_head(name):
    x, y = data(2)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(CHANNELS)])
    if name == "loss":
        model.compile("sgd", sv.losses.NegativeLogLikelihood())
    else:
        model.compile("sgd", "mse", metrics=[sv.metrics.Entropy()])
    with pytest.raises(ValueError, match="needs a model whose output is a distribution"):
        model.fit(x, y, verbose=0)


def test_weights_that_are_no_weights_of_examples():
    x, y = data(3)
    p = new_head("low_rank")(x)
    for call in (sv.losses.NegativeLogLikelihood(), sv.metrics.LogProb()):
        with pytest.raises(ValueError, match="one number an example"):
            call(y, p, sample_weight=np.ones((COUNT, 5)))
        with pytest.raises(ValueError, match="each of the 22 examples"):
            call(y, p, sample_weight=np.ones(3))
        column = call(y, p, sample_weight=np.ones((COUNT, 1)))
        np.testing.assert_allclose(column, call(y, p, sample_weight=np.ones(COUNT)))


def test_targets_that_do_not_fit_the_batch():
    x, y = data(3)
    loss = sv.losses.NegativeLogLikelihood()
    with pytest.raises(ValueError, match="has 21 examples"):
        loss(y[1:], new_head("low_rank")(x))
    with pytest.raises(ValueError, match="is a scalar"):
        loss(1.0, new_head("low_rank")(x))
    with pytest.raises(ValueError, match=r"batch \[B\] and event \[N\]"):
        loss(y, tfp.distributions.Normal(tf.zeros([COUNT, 10]), 1.0))


def test_reductions_of_the_loss():
    x, y = data(3)
    p = new_head("low_rank")(x)
    losses = -p.log_prob(y.reshape(COUNT, -1)).numpy()
    each = sv.losses.NegativeLogLikelihood(reduction="none")(y, p)
    np.testing.assert_allclose(each, losses, rtol=1e-6)
    total = sv.losses.NegativeLogLikelihood(reduction="sum")(y, p)
    np.testing.assert_allclose(total, losses.sum(), rtol=1e-5)
    config = sv.losses.NegativeLogLikelihood(reduction="sum").get_config()
    assert sv.losses.NegativeLogLikelihood.from_config(config).reduction == "sum"
