import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from small_vae import LATENT, SHAPE, N, images, make

import tf_structvae as sv
from tf_structvae import figures
from tf_structvae.evaluation import heldout
from tf_structvae.layers import IndependentNormalHead


def test_lag1_autocorrelation_of_known_fields():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(4, 64, 64, 1))
    # mean of 8064 products a direction
    assert np.abs(heldout.lag1_autocorrelation(white)).max() < 5 / 8064**0.5
    flat = np.ones((2, 8, 8, 3)) * rng.normal(size=(2, 1, 1, 3))
    np.testing.assert_allclose(heldout.lag1_autocorrelation(flat), 1)
    board = (-1.0) ** np.add.outer(np.arange(8), np.arange(8))
    np.testing.assert_allclose(heldout.lag1_autocorrelation(board[None, ..., None]), -1)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (18566.07, 95.0, "18566 +- 95"),
        (45.3947, 0.389, "45.39 +- 0.39"),
        (0.98225, 0.000277, "0.98225 +- 0.00028"),
        (2.5, 0.0, "2.5"),
    ],
)
def test_estimates_are_printed_to_their_error(value, error, text):
    assert str(heldout.Estimate(value, error)) == text


def test_held_out_scores():
    model = make()
    x = images(20)
    scores, _ = heldout.held_out(model, [x[:10], x[10:]])
    np.testing.assert_allclose(
        scores["elbo"].value, scores["log_prob"].value - scores["kl"].value, rtol=1e-6
    )
    assert scores["autocorrelation"].value > scores["autocorrelation_with_noise"].value
    independent, _ = heldout.held_out(
        make(IndependentNormalHead(2, epsilon=0.05, noise="fixed")), [x]
    )
    # 20 images of 50 neighbours a direction and channel
    assert abs(independent["autocorrelation"].value) < 5 / (20 * 98) ** 0.5


def test_observation_rows_are_the_distributions_statistics():
    p = make().decode(np.random.default_rng(0).normal(size=(3, LATENT)).astype(np.float32))
    rows = {r.label: r.images for r in figures.observation_rows(p, SHAPE, (2, 3), seed=1)}
    np.testing.assert_allclose(rows["mean"].reshape(3, N), p.mean())
    np.testing.assert_allclose(rows["sample - mean"], rows["sample"] - rows["mean"])
    sigma = p.covariance().numpy()
    first = (2 * SHAPE[1] + 3) * 2
    row = sigma[:, first : first + 2].mean(1).reshape(3, *SHAPE).mean(-1, keepdims=True)
    got = rows["covariance > 0"] - rows["covariance < 0"]
    np.testing.assert_allclose(got, row, atol=1e-6)
    variance = np.diagonal(sigma, axis1=1, axis2=2).reshape(3, *SHAPE).mean(-1, keepdims=True)
    np.testing.assert_allclose(rows["variance"], variance, rtol=1e-4)


def test_covariance_of_an_independent_normal_is_its_variance_at_the_pixel():
    p = make(IndependentNormalHead(2, epsilon=0.25, noise="fixed")).decode(
        np.zeros((1, LATENT), np.float32)
    )
    got = figures.covariance_to_pixel(p, SHAPE, (4, 1))
    assert got[0, 4, 1, 0] == pytest.approx(0.125)
    assert np.count_nonzero(got) == 1


def test_pictures_of_samples_have_pixel_noise_only_if_asked():
    p = make().decode(np.zeros((2, LATENT), np.float32))
    quiet, noisy = (figures.sample_picture(p, 1, pixel_noise=n) for n in (None, True))
    spread = np.std(noisy - quiet)
    # 120 draws of variance 0.05
    assert abs(spread - 0.05**0.5) < 5 * 0.05**0.5 / 240**0.5
    np.testing.assert_array_equal(quiet, figures.sample_picture(p, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_and_grid(channels):
    x = np.random.default_rng(0).uniform(-0.5, 1.5, size=(5, 4, 3, channels))
    for kind in ("image", "difference"):
        shown = figures.colorize(figures.Row("", x, kind))
        assert shown.shape == (5, 4, 3, 3)
        assert shown.min() >= 0
        assert shown.max() <= 1
    zero = figures.colorize(figures.Row("", 0 * x, "difference"))
    np.testing.assert_allclose(zero, 0.5)
    for kind in ("variance", "covariance"):
        assert figures.colorize(figures.Row("", x[..., :1] ** 2, kind)).shape == (5, 4, 3, 3)
    sheet = figures.grid(np.zeros((5, 4, 3, 3)), columns=2)
    assert sheet.shape == (3 * 5, 2 * 4, 3)
    assert sheet[10:14, 4:7].min() == 1  # the empty place


def test_sheets_are_figures():
    model = make()
    p = model(images(3))
    rows = [figures.Row("data", images(3)), *figures.observation_rows(p, SHAPE)]
    assert isinstance(figures.sheet(rows, "title", "note"), Figure)
    assert isinstance(figures.panels([("a", images(4)), ("b", images(4))], 2, "t"), Figure)
    picture = figures.reconstruction_sheet(model, images(3), seed=0)
    assert (picture.shape, picture.dtype) == ((4 * 7, 3 * 6, 3), np.uint8)


def test_a_wrapped_predictor_is_drawn_with_its_ways_to_be_wrong():
    rng = np.random.default_rng(0)
    small, large = keras.Input((4, 4, 1)), keras.layers.UpSampling2D(2)
    model = sv.wrap(keras.Model(small, large(small)), rank=2, width=4)
    x, y = rng.uniform(size=[3, 4, 4, 1]), rng.uniform(size=[3, 8, 8, 1])
    figure = figures.predictor_figure(model, x, y, components=1, samples=2, title="Enlarged")
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels == [
        "input",
        "truth",
        "prediction",
        "standard\ndeviation",
        "component 1,\n-2 deviations",
        "+2 deviations",
        "sample 1",
        "sample 2",
    ]
    vector = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"images \[B, H, W, C\] as output, got \(2,\)"):
        figures.predictor_figure(sv.wrap(vector, rank=1), np.ones([2, 3]))
