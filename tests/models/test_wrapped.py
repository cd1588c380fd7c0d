"""A frozen predictor with a trained head: what it computes, that nothing of it moves, its life."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_structvae as sv
from tf_structvae.models.component_loss import PosteriorComponents
from tf_structvae.models.wrapped import orthogonal_columns, principal_deviations

COUNT = 24
SHAPES = {"vector": ((5,), (4,)), "sequence": ((7, 2), (7, 3)), "image": ((9, 8, 1), (9, 8, 2))}


def predictor(kind):
    """With a named layer, and with one whose statistics and noise must rest."""
    given, made = SHAPES[kind]
    inputs = keras.Input(given)
    if kind == "vector":
        x = keras.layers.Dense(6, "relu", name="hidden")(inputs)
        last = keras.layers.Dense(made[-1])
    else:
        layer = keras.layers.Conv2D if kind == "image" else keras.layers.Conv1D
        x = layer(6, 3, padding="same", activation="relu", name="hidden")(inputs)
        last = layer(made[-1], 3, padding="same")
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    return keras.Model(inputs, last(x))


def data(kind, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(1, 2, [COUNT, *shape]).astype(np.float32) for shape in SHAPES[kind])


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize(
    ("kind", "objective"),
    [
        ("vector", "likelihood"),
        ("sequence", "likelihood"),
        ("image", "likelihood"),
        ("image", "components"),
    ],
)
def test_the_life_of_a_wrapped_predictor(kind, objective, tmp_path):
    x, y = data(kind)
    frozen = predictor(kind)
    before = [w.numpy() for w in frozen.weights]
    wanted = frozen.predict(x, verbose=0)
    model = sv.wrap(frozen, rank=2, width=8, features="hidden", objective=objective)
    model.compile(keras.optimizers.Adam(0.01), metrics=["mse"])
    history = model.fit(x, y, batch_size=8, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for old, new in zip(before, frozen.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    # the mean is the predictor's, to the bit, and no weight is trained that nothing reads
    np.testing.assert_array_equal(model.predict(x, verbose=0).reshape(wanted.shape), wanted)
    np.testing.assert_allclose(history["mse"], np.mean((wanted - y) ** 2), rtol=1e-4)
    names = [w.path for w in model.trainable_variables]
    assert not any("mean" in n for n in names)
    trained = {id(w) for w in model.trainable_variables}
    assert not trained & {id(w) for w in frozen.weights}

    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(x).log_prob(y), model(x).log_prob(y))
    np.testing.assert_allclose(
        loaded.evaluate(x, y, verbose=0)[0], model.evaluate(x, y, verbose=0)[0], rtol=1e-6
    )
    again = model.fit(x, y, batch_size=8, verbose=0, shuffle=False).history["loss"]
    resumed = loaded.fit(x, y, batch_size=8, verbose=0, shuffle=False).history["loss"]
    np.testing.assert_allclose(resumed, again, rtol=1e-4)


@pytest.mark.parametrize("mean", ["predictor", "corrected"])
def test_it_is_the_head_of_residuals_moved_by_the_prediction(mean):
    x, y = data("image")
    frozen = predictor("image")
    model = sv.wrap(frozen, rank=2, width=8, mean=mean)
    predicted = frozen(x)
    base = predicted.numpy().reshape(COUNT, -1)
    head = model.head(model.network([tf.constant(x), predicted]))
    p, flat = model(x), y.reshape(COUNT, -1)
    offset = 0.0 if mean == "corrected" else head.mean().numpy()
    np.testing.assert_allclose(p.log_prob(flat), head.log_prob(flat - base + offset), rtol=1e-5)
    np.testing.assert_allclose(p.mean() - base, head.mean().numpy() - offset, atol=1e-5)


def test_a_corrected_mean_learns_what_the_predictor_leaves():
    x, _ = data("vector")
    frozen = predictor("vector")
    y = frozen.predict(x, verbose=0) + np.float32([3.0, -1.0, 0.0, 2.0])
    model = sv.wrap(frozen, rank=1, width=8, mean="corrected")
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(x, y, epochs=30, verbose=0)
    assert np.abs(model.predict(x, verbose=0) - y).mean() < 0.3
    fixed = sv.wrap(frozen, rank=1, width=8)
    assert np.abs(fixed.predict(x, verbose=0) - y).mean() > 1.0


def test_the_first_residuals_set_the_units_and_not_the_first_targets():
    x, _ = data("vector")
    frozen = predictor("vector")
    y = 1000.0 + np.zeros([COUNT, 4], np.float32)
    frozen.layers[-1].bias.assign([1000.0] * 4)
    residual = y - frozen.predict(x, verbose=0)
    model = sv.wrap(frozen, rank=1, width=8)
    model.compile("adam")
    model.fit(x, y, batch_size=COUNT, verbose=0)
    np.testing.assert_allclose(model.head.units.scale, residual.std(0), rtol=1e-3)
    np.testing.assert_allclose(model.head.units.offset, residual.mean(0), rtol=1e-2, atol=1e-2)


def test_a_closed_form_scale_moves():
    x, y = data("image")
    head = sv.layers.LowRankNormalHead(2, 3, factor_scale="closed_form")
    model = sv.wrap(predictor("image"), head=head, width=8)
    model.compile("adam")
    model.fit(x, y, verbose=0)
    assert np.abs(head.mixing.numpy() - np.eye(3)).max() > 1e-4


@pytest.mark.parametrize(
    "head",
    [
        sv.layers.IndependentNormalHead(2, noise="per_pixel"),
        sv.layers.LocalLowRankHead(2, 2),
        sv.layers.LowRankNormalHead(2, 2, noise="learned"),
    ],
    ids=["independent", "local", "learned"],
)
def test_other_heads(head):
    x, y = data("image")
    model = sv.wrap(predictor("image"), head=head, width=8)
    model.compile("adam")
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
    assert model.sample(x[:3], 2, noise=True).shape == (2, 3, 9, 8, 2)


def test_samples_components_and_conditioning_have_the_form_of_the_output():
    x, y = data("image")
    model = sv.wrap(predictor("image"), rank=2, width=8)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, y, epochs=3, verbose=0)
    p = model(x)
    found = model.components(x)
    assert found.mean.shape == (COUNT, 9, 8, 2)
    assert found.directions.shape == (COUNT, 2, 9, 8, 2)
    flat = found.directions.reshape(COUNT, 2, -1).astype(np.float64)
    np.testing.assert_allclose(
        np.einsum("bin,bjn->bij", flat, flat), np.eye(2)[None] + np.zeros([COUNT, 1, 1]), atol=1e-4
    )
    # the variance along each direction, against the dense covariance
    variance = np.einsum("bin,bnm,bim->bi", flat, p.covariance().numpy().astype(np.float64), flat)
    np.testing.assert_allclose(found.stddev**2, variance, rtol=1e-3)

    drawn = model.sample(x[:1], 4000, seed=3).reshape(4000, -1).astype(np.float64)
    structure = (p.cov_factor[0] @ tf.transpose(p.cov_factor[0])).numpy()
    spread = np.abs(np.cov(drawn.T) - structure).max() / np.abs(structure).max()
    assert spread < 6 / np.sqrt(4000)
    noisy = model.sample(x[:1], 4000, seed=3, noise=True).reshape(4000, -1)
    np.testing.assert_allclose(noisy.var(0), p.variance()[0], rtol=6 * np.sqrt(2 / 4000))

    mask = np.arange(9)[:, None, None] < 4
    given = model.condition(x, mask, y)
    as_images = model.shaped(given.mean())
    np.testing.assert_array_equal(as_images[:, :4], y[:, :4])
    same = p.condition(np.broadcast_to(mask, y.shape).reshape(COUNT, -1), y.reshape(COUNT, -1))
    np.testing.assert_array_equal(given.mean(), same.mean())


def test_orthogonal_columns_are_those_of_gram_and_schmidt():
    factor = np.random.default_rng(0).normal(size=[3, 11, 4])
    found = orthogonal_columns(tf.constant(factor)).numpy()
    for b in range(3):
        q, r = np.linalg.qr(factor[b])
        np.testing.assert_allclose(found[b], q * np.diag(r), atol=1e-12)
    # a parallel column leaves nothing, and no NaN
    factor[:, :, 1] = 2 * factor[:, :, 0]
    assert np.abs(orthogonal_columns(tf.constant(factor))[..., 1]).max() < 1e-12


def component_loss(p, y, weight):
    """By the formula, in float64."""
    total = []
    errors = y - p.mean().numpy().astype(np.float64)
    unit = np.mean(np.sum(errors**2, -1))
    for e, w, d in zip(
        errors, p.cov_factor.numpy().astype(np.float64), p.cov_diag.numpy(), strict=True
    ):
        length = np.linalg.norm(w, axis=0)
        along = (w / length).T @ e
        left = e - (w / length) @ along
        n, r = w.shape
        noise = np.sum((1 - r / n) * np.log(d) + left**2 / d) / (2 * n)
        second = np.sum((length**2 - along**2) ** 2) / unit**2
        total.append(1 - np.sum(along**2) / np.sum(e**2) + weight * second + noise)
    return np.mean(total)


def test_the_loss_of_components_is_its_formula():
    rng = np.random.default_rng(0)
    columns = orthogonal_columns(tf.constant(rng.normal(size=[5, 9, 3]).astype(np.float32)))
    diag = rng.uniform(0.5, 2, size=[5, 9]).astype(np.float32)
    p = sv.distributions.LowRankMultivariateNormal(np.zeros([5, 9], np.float32), columns, diag)
    y = rng.normal(size=[5, 9]).astype(np.float32)
    loss = PosteriorComponents(weight=0.7)
    np.testing.assert_allclose(loss(y, p), component_loss(p, y, 0.7), rtol=1e-5)
    copy = PosteriorComponents.from_config(loss.get_config())
    assert copy.weight == 0.7


def posterior():
    """y ~ N(0, C) seen as x = A y + noise: the mean of y given x is linear, its covariance one."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=[12, 12]) * 0.8 ** np.arange(12)
    prior = mixing @ mixing.T + 0.05 * np.eye(12)
    seen = rng.normal(size=[5, 12])
    gain = prior @ seen.T @ np.linalg.inv(seen @ prior @ seen.T + 0.1 * np.eye(5))
    covariance = prior - gain @ seen @ prior
    y = rng.multivariate_normal(np.zeros(12), prior, 4000)
    x = y @ seen.T + np.sqrt(0.1) * rng.standard_normal([4000, 5])
    exact = keras.Sequential([keras.Input((5,)), keras.layers.Dense(12, use_bias=False)])
    exact.layers[0].kernel.assign(gain.T)
    return exact, x.astype(np.float32), y.astype(np.float32), covariance


@pytest.mark.parametrize("objective", ["likelihood", "components"])
def test_components_are_those_of_the_posterior(objective):
    exact, x, y, covariance = posterior()
    # with one noise variance for all, the components of P are those of the whole covariance
    head = sv.layers.LowRankNormalHead(12, 3, noise="learned")
    model = sv.wrap(exact, head=head, width=4, objective=objective)
    rate = keras.optimizers.schedules.CosineDecay(0.02, 800)
    model.compile(keras.optimizers.Adam(rate))
    model.fit(x, y, batch_size=128, epochs=25, verbose=0)
    values, vectors = np.linalg.eigh(covariance)
    found = model.components(x[:200])
    for k in range(3):
        cosine = np.abs(found.directions[:, k] @ vectors[:, -1 - k])
        assert np.median(cosine) > 0.95, (k, cosine)
    np.testing.assert_allclose(np.median(found.stddev, 0) ** 2, values[:-4:-1], rtol=0.2)


def test_wrong_input():
    frozen = predictor("image")
    for arguments, pattern in (
        ({"objective": "loss"}, r"objective must be one of .* got 'loss'"),
        ({"mean": 0}, r"mean must be one of .* got 0"),
        ({"features": "nothing"}, r"features must name layers .*hidden.* got 'nothing'"),
        ({"width": 0}, r"width must be a positive integer, got 0"),
        ({"rank": 0}, r"rank must be a positive integer, got 0"),
        ({"head": sv.layers.LowRankNormalHead(3, 2)}, r"head must have the 2 channels .* got 3"),
        ({"objective": "components", "mean": "corrected"}, r"needs mean='predictor'"),
    ):
        with pytest.raises(ValueError, match=pattern):
            sv.wrap(frozen, **arguments)
    with pytest.raises(ValueError, match=r"predictor must be a built Keras model .* got int"):
        sv.wrap(3)
    flat = keras.Sequential([keras.Input((9, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match=r"features must give \[B, 9, 8, F\]"):
        sv.wrap(frozen, features=keras.Model(flat.inputs, flat.outputs))
    volume = keras.Sequential([keras.Input((4, 4, 4, 1)), keras.layers.Conv3D(1, 1)])
    with pytest.raises(ValueError, match="features must be a network of your own"):
        sv.wrap(volume)
    model = sv.wrap(frozen, width=8)
    with pytest.raises(ValueError, match=r"mask must broadcast to the output's \(2, 9, 8, 2\)"):
        model.condition(np.zeros([2, 9, 8, 1], np.float32), np.ones([3, 3], bool), 0.0)
    with pytest.raises(ValueError, match="needs a low-rank normal"):
        PosteriorComponents()(np.zeros([2, 3]), sv.layers.IndependentNormalHead(3)(np.ones([2, 4])))
    with pytest.raises(ValueError, match="weight must be a finite positive number, got 0"):
        PosteriorComponents(weight=0)
    with pytest.raises(ValueError, match="need a distribution with a factor P"):
        principal_deviations(sv.layers.IndependentNormalHead(3)(np.ones([2, 4])))
