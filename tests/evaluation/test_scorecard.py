"""The card's scores against slow formulas, and its judgement of right and wrong forecasts."""

import json

import numpy as np
import pytest
import scipy.stats
import small_vae
from matplotlib.figure import Figure

import tf_structvae as sv
from tf_structvae import conformal
from tf_structvae.evaluation import card as cards
from tf_structvae.evaluation import proper_scores

N, R, COUNT = 8, 2, 600
_RNG = np.random.default_rng(0)
FACTOR = _RNG.normal(size=[N, R]) * [1.5, 0.8]
DIAG = _RNG.uniform(0.1, 0.3, N)


def forecast(factor=FACTOR, diag=DIAG):
    def model(x):
        x = np.asarray(x, np.float32)
        return sv.distributions.LowRankMultivariateNormal(
            x, np.broadcast_to(np.float32(factor), [len(x), *factor.shape]), np.float32(diag)
        )

    return model


def draw(count=COUNT, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=[count, N])
    y = x + rng.standard_normal([count, R]) @ FACTOR.T
    y += np.sqrt(DIAG) * rng.standard_normal([count, N])
    return x.astype(np.float32), y.astype(np.float32)


def test_scores_are_their_definitions():
    rng = np.random.default_rng(0)
    draws, x = rng.normal(size=(7, 3, 4)), rng.normal(size=(3, 4))
    for b in range(3):
        y = draws[:, b]
        first = np.mean([np.linalg.norm(d - x[b]) for d in y])
        second = np.mean(
            [np.linalg.norm(y[i] - y[j]) for i in range(7) for j in range(7) if i != j]
        )
        np.testing.assert_allclose(proper_scores.energy_score(draws, x)[b], first - second / 2)
        total = []
        for i in range(4):
            for j in range(i):
                expected = np.mean(np.abs(y[:, i] - y[:, j]) ** 0.5)
                total.append((np.abs(x[b, i] - x[b, j]) ** 0.5 - expected) ** 2)
        np.testing.assert_allclose(proper_scores.variogram_score(draws, x)[b], np.mean(total))


def test_scores_are_those_of_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(0)
    draws, x = rng.normal(size=(9, 3, 4)), rng.normal(size=(3, 4))
    members = np.moveaxis(draws, 0, 1)  # [B, D, N]
    theirs = scoringrules.vs_ensemble(x, members, p=0.5)  # a sum over i and j
    np.testing.assert_allclose(proper_scores.variogram_score(draws, x) * 12, theirs)
    # their mean over pairs takes a draw with itself in
    to_x = np.linalg.norm(draws - x, axis=-1).mean(0)
    biased = to_x - (to_x - proper_scores.energy_score(draws, x)) * 8 / 9
    np.testing.assert_allclose(biased, scoringrules.es_ensemble(x, members))


def test_some_pairs_estimate_the_mean_over_all():
    rng = np.random.default_rng(0)
    draws, x = rng.normal(size=(20, 2, 60)), rng.normal(size=(2, 60))
    assert proper_scores.some_pairs(10, 45) is None
    pairs = proper_scores.some_pairs(60, 1000)
    assert pairs.shape == (1000, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert pairs.max() < 60
    every = proper_scores.variogram_score(draws, x)
    np.testing.assert_allclose(
        proper_scores.variogram_score(draws, x, pairs=pairs), every, rtol=0.15
    )


def test_a_right_forecast_is_found_right():
    found = sv.evaluation.scorecard(forecast(), draw(), draws=20)
    assert found.examples == COUNT
    covariance = FACTOR @ FACTOR.T + np.diag(DIAG)
    x, y = draw()
    residual = (y - x).astype(np.float64)
    log_prob = scipy.stats.multivariate_normal(np.zeros(N), covariance).logpdf(residual)
    np.testing.assert_allclose(found.scores["log_prob"].value, log_prob.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        found.scores["log_prob"].error, log_prob.std(ddof=1) / np.sqrt(COUNT), rtol=1e-4
    )
    np.testing.assert_allclose(
        found.scores["bits_per_entry"].value, -log_prob.mean() / N / np.log(2), rtol=1e-5
    )
    np.testing.assert_allclose(found.scores["rmse"].value, np.sqrt(np.mean(residual**2)), rtol=1e-5)
    square = np.einsum("bn,nm,bm->b", residual, np.linalg.inv(covariance), residual)
    np.testing.assert_allclose(found.scores["chi_square"].value, square.mean() / N, rtol=1e-4)
    distance = scipy.stats.kstest(square, scipy.stats.chi2(N).cdf).statistic
    np.testing.assert_allclose(found.scores["mahalanobis"].value, distance, atol=1e-4)
    pit = scipy.stats.norm.cdf(residual / np.sqrt(np.diag(covariance)))
    distance = scipy.stats.kstest(pit.ravel(), "uniform").statistic
    np.testing.assert_allclose(found.scores["pixels"].value, distance, atol=1e-4)
    units, scales, _ = np.linalg.svd(FACTOR, full_matrices=False)
    spread = np.sqrt(scales**2 + DIAG @ units**2)
    pit = scipy.stats.norm.cdf(residual @ units / spread)
    # the sign of a component is anyone's choice, so each side counts
    distances = [
        scipy.stats.kstest((pit * s + (1 - pit) * (1 - s)).ravel(), "uniform").statistic
        for s in np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    ]
    found_there = found.scores["components"].value
    assert min(abs(found_there - d) for d in distances) < 2e-3
    # of one value an example, uniform: sqrt(n) times the distance is below 1.63 in 99 of 100 runs
    assert found.scores["mahalanobis"].value < 1.63 / np.sqrt(COUNT)
    for name in ("projections", "components"):
        assert found.scores[name].value < 1.63 / np.sqrt(COUNT)
    for by_level in found.coverage.values():
        for level, covered in by_level.items():
            assert abs(covered.value - level) < 4 * covered.error
    for shares in found.histograms.values():
        np.testing.assert_allclose(shares.sum(), 1)


@pytest.mark.parametrize("kind", ["independent", "low_rank", "local"])
def test_projections_have_the_variance_of_the_whole_covariance(kind):
    if kind == "low_rank":
        p = forecast()(np.zeros([3, N]))
    elif kind == "independent":
        p = sv.layers.IndependentNormalHead(N, noise="per_pixel")(np.ones([3, 4], np.float32))
    else:
        head = sv.layers.LocalLowRankHead(2, 1)
        p = head(np.random.default_rng(0).normal(size=[3, 2, 2, 4]).astype(np.float32))
        for w in head.weights:
            w.assign(w + 0.3)
        p = head(np.random.default_rng(0).normal(size=[3, 2, 2, 4]).astype(np.float32))
    directions = cards._projections(N, 0)
    covariance = p.covariance().numpy().astype(np.float64)
    wanted = np.einsum("nm,bnk,km->bm", directions, covariance, directions)
    np.testing.assert_allclose(cards._variance_along(p, directions), wanted, rtol=1e-3)


def test_the_truth_beats_a_scaled_a_shrunken_and_a_decorrelated_forecast():
    """On the same examples, by more than four standard errors of the mean difference."""
    x, y = draw(3000, seed=2)
    variance = np.sum(FACTOR**2, -1) + DIAG
    wrong = {
        "scaled": forecast(1.6 * FACTOR, 1.6**2 * DIAG),
        "shrunken": forecast(0.6 * FACTOR, 0.6**2 * DIAG),
        "decorrelated": forecast(1e-3 * FACTOR, variance),
    }

    def scores(model):
        p = model(x)
        draws = p.sample(60, seed=(0, 1)).numpy()
        return {
            "log_prob": -p.log_prob(y).numpy(),
            "energy": proper_scores.energy_score(draws, y),
            "variogram": proper_scores.variogram_score(draws, y),
        }

    truth = scores(forecast())
    for name, model in wrong.items():
        for score, found in scores(model).items():
            worse = found - truth[score]
            assert worse.mean() > 4 * worse.std() / np.sqrt(len(worse)), (name, score)
    for name, model in wrong.items():
        card = sv.evaluation.scorecard(model, (x[:600], y[:600]), draws=2)
        judged = "projections" if name == "decorrelated" else "pixels"
        assert card.scores[judged].value > 0.04, name
    narrow = sv.evaluation.scorecard(wrong["shrunken"], (x[:600], y[:600]), draws=2)
    shares = narrow.histograms["pixels"]
    assert min(shares[0], shares[-1]) > 2 / len(shares)
    assert narrow.coverage["pixels one by one"][0.9].value < 0.8


def test_regions_are_on_the_card():
    x, y = draw()
    regions = [conformal.calibrate(forecast(), draw(seed=9), 0.9, k) for k in conformal.KINDS]
    found = sv.evaluation.scorecard(forecast(), (x, y), draws=2, regions=regions)
    for region in regions:
        key = f"conformal {region.kind}"
        assert found.coverage[key][0.9].value == region.contains(x, y).mean()
        np.testing.assert_allclose(found.volume[key][0.9].value, region.volume(x).mean())
    text = found.table()
    assert "coverage at 90%: conformal ellipsoid" in text
    assert f"of {COUNT} examples" in text


def test_a_card_of_a_vae_and_of_a_head_without_factor(tmp_path):
    vae = small_vae.make()
    images = np.random.default_rng(0).uniform(size=[10, *small_vae.SHAPE]).astype(np.float32)
    found = sv.evaluation.scorecard(vae, images, draws=3, batch_size=4)
    assert found.examples == 10
    assert np.isnan(found.scores["pixels"].error)  # too few for blocks
    found.save(tmp_path / "card.json")
    saved = json.loads((tmp_path / "card.json").read_text())
    assert saved["scores"]["log_prob"]["value"] == found.scores["log_prob"].value
    assert saved["scores"]["pixels"]["standard_error"] is None
    figure = sv.figures.scorecard_figure(found, "A small VAE")
    assert isinstance(figure, Figure)
    head = sv.layers.IndependentNormalHead(N)
    of_head = sv.evaluation.scorecard(lambda x: head(x), draw(50), draws=2)
    assert "components" not in of_head.scores
    sv.figures.scorecard_figure(of_head, "Independent").savefig(tmp_path / "card.png")


def test_wrong_input():
    x, y = draw(10)
    for arguments, pattern in (
        ({"draws": 1}, "draws must be an integer of at least 2, got 1"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"data": []}, "data must hold at least one example, got none"),
    ):
        with pytest.raises(ValueError, match=pattern):
            sv.evaluation.scorecard(forecast(), **{"data": (x, y), **arguments})
    with pytest.raises(ValueError, match=r"draws must be \[D, B, N\] with D >= 2"):
        proper_scores.energy_score(np.zeros([1, 2, 3]), np.zeros([2, 3]))
