import importlib.util
import itertools
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from forked import run
from gaussian_images import SHAPE, images_with
from ml_collections import ConfigDict
from scipy import optimize

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.studies import plots, targets
from tf_structvae.studies.targets import Spectrum, covariance_spectrum, suggest
from tf_structvae.training import config as config_lib
from tf_structvae.training.from_config import build_constraints

N = 24
EPSILON = 1e-5


def of(values, shape=SHAPE):
    values = np.asarray(values, np.float64)
    return Spectrum(values, float(values.sum()), 100, shape)


def random_spectrum(seed, count=9):
    """Descending, over four orders of magnitude, with two zeros."""
    values = np.exp(np.random.default_rng(seed).uniform(-7, 2, size=count))
    return np.append(np.sort(values)[::-1], [0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [2, 7, N, N + 1, 90])
def test_spectrum_is_that_of_the_full_covariance(count, dtype, monkeypatch):
    monkeypatch.setattr(covariance_spectrum, "_COLUMNS", 5)  # several blocks, the last one smaller
    rng = np.random.default_rng(count)
    x = (rng.normal(size=(count, *SHAPE)) * rng.uniform(0.1, 3, size=SHAPE)).astype(dtype)
    got = targets.spectrum(np.array_split(x, range(3, count, 10)))
    sigma = np.cov(x.reshape(count, -1).astype(np.float64).T, bias=True)
    want = np.linalg.eigvalsh(sigma)[::-1][: min(count - 1, N)]
    np.testing.assert_allclose(got.eigenvalues, want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.total_variance, np.trace(sigma), rtol=1e-12)
    assert (got.images, got.image_shape, got.size) == (count, SHAPE, N)


@pytest.mark.parametrize("count", [10, 60])
def test_a_far_origin_costs_no_digits(count):
    """At 1e6 from zero, E[x x^T] - E[x] E[x]^T in float64 would be wrong by 1e-4."""
    x, _ = images_with([2.0, 1.0, 1e-3], count, np.random.default_rng(0))
    x = np.rint(x * 2**30) / 2**30  # so that adding 2^20 is exact
    near, far = (targets.spectrum([x + shift]).eigenvalues for shift in (0, 2.0**20))
    np.testing.assert_allclose(far[:3], near[:3], rtol=1e-9)
    np.testing.assert_allclose(near[:3], [2.0, 1.0, 1e-3], rtol=1e-6)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "at least 2 images, got 0"),
        ([np.ones((1, *SHAPE))], "at least 2 images, got 1"),
        ([np.full((5, *SHAPE), 0.1)], "the 5 images are all alike"),
        ([np.full((30, *SHAPE), 0.1)], "the 30 images are all alike"),
        ([np.ones((3, 4, 2))], r"\[B, H, W, C\], got float64 \(3, 4, 2\)"),
        ([np.ones((2, *SHAPE), np.uint8)], "floating-point images .* got uint8"),
        ([np.ones((2, *SHAPE)), np.ones((2, 4, 3, 2))], r"shape \(3, 4, 2\), got \(4, 3, 2\)"),
    ],
)
def test_images_without_a_spectrum_are_refused(batches, message):
    with pytest.raises(ValueError, match=message):
        targets.spectrum(batches)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_image_that_is_not_finite_is_named(value):
    x = np.random.default_rng(0).uniform(size=(9, *SHAPE))
    x[6, 1, 2, 0] = value
    with pytest.raises(ValueError, match=r"image 6 \(from 0\) holds values that are not finite"):
        targets.spectrum(np.array_split(x, 2))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.05, 0.5, 0.85, 0.999])
def test_water_level_is_where_bisection_finds_it(seed, share):
    values = random_spectrum(seed)

    def nats(level):
        return sum(0.5 * np.log(v / level) for v in values if v > level)

    def variance(level):
        return sum(v - level for v in values if v > level)

    level = targets.water_level_of_share(values, share)
    wanted = optimize.brentq(lambda t: variance(t) - share * values.sum(), 1e-9, values[0])
    np.testing.assert_allclose(level, wanted, rtol=1e-6)
    np.testing.assert_allclose(targets.told(values, level), (nats(wanted), variance(wanted)), 1e-6)
    np.testing.assert_allclose(targets.water_level_of_kl(values, nats(wanted)), wanted, rtol=1e-6)


def test_no_nats_leave_the_spectrum_as_it_is():
    values = random_spectrum(0)
    assert targets.water_level_of_kl(values, 0.0) == pytest.approx(values[0], rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_reverse_water_filling_leaves_the_least_variance(seed):
    """Against a general optimiser over all ways to spend K nats on the directions."""
    values = random_spectrum(seed, 5)[:5]
    kl = 4.0
    found = optimize.minimize(
        lambda nats: (values * np.exp(-2 * nats)).sum() / values.sum(),
        np.full(5, kl / 5),
        bounds=[(0, None)] * 5,
        constraints={"type": "eq", "fun": lambda nats: nats.sum() - kl},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert found.success
    s = suggest(of(values), rank=2, kl_target=kl)
    np.testing.assert_allclose(1 - s.latent_share, found.fun, rtol=1e-5)


def test_suggestion_for_a_spectrum_worked_out_by_hand():
    """z with 3 nats takes e^4 and e^2 down to 1: 1/2 (4 + 2). P has two directions of 1 left."""
    e = np.e
    x, _ = images_with([e**4, e**2, 0.5, 0.25], 30, np.random.default_rng(1))
    s = suggest(targets.spectrum([x]), rank=2, epsilon=0.01, kl_target=3.0)
    total = e**4 + e**2 + 0.75
    np.testing.assert_allclose(s.water_level, 1)
    np.testing.assert_allclose(s.rank_share, (e**4 + e**2) / total)
    np.testing.assert_allclose(s.latent_share, (e**4 + e**2 - 2) / total)
    np.testing.assert_allclose(s.entropy_budget, 2 * 0.5 * np.log(100))
    np.testing.assert_allclose(s.budget_limit, 0.5 * (4 + 2 + 2 * np.log(100)))
    np.testing.assert_allclose(s.entropy_floor, 12 * np.log(2 * np.pi * e * 0.01))
    np.testing.assert_allclose(s.entropy_target, s.entropy_floor + s.entropy_budget)
    # in the calibrated recipe z has 0.5 and 0.25 to tell: both down to the level 2^-1.5 e^-3
    np.testing.assert_allclose(s.noise_variance, 2 * 2**-1.5 * e**-3 / 22)


def test_shares_decide_rank_and_kl():
    spectrum = of([4.0, 3.0, 2.0, 1.0])
    assert [suggest(spectrum, rank_share=r).rank for r in (0.3, 0.41, 0.85, 0.95)] == [1, 2, 3, 4]
    s = suggest(spectrum, latent_share=0.6)  # 10 - 4 theta = 6
    assert s.water_level == pytest.approx(1.0)
    assert s.kl_target == pytest.approx(0.5 * np.log(24))
    assert s.latent_share == pytest.approx(0.6)


def test_rank_is_kept_in_range():
    flat = of(np.ones(300), (20, 5, 3))
    assert suggest(flat).rank == targets.MAX_RANK
    assert suggest(flat, rank=300).rank == 300
    assert suggest(of([1.0])).rank == 1


@pytest.mark.parametrize("seed", range(3))
def test_budget_is_the_entropy_of_the_closed_form_optimum(seed):
    """P of section 4.5 for what z leaves, and for the whole data at the limit."""
    rng = np.random.default_rng(seed)
    x, axes = images_with(random_spectrum(seed)[:9], 50, rng)
    s = suggest(targets.spectrum([x]), rank=6, epsilon=0.01, latent_share=0.7)
    for cap, budget in ((s.water_level, s.entropy_budget), (np.inf, s.budget_limit)):
        variances = np.minimum(random_spectrum(seed)[:6], cap)
        factor = axes[:, :6] * np.sqrt(np.maximum(variances - 0.01, 0))
        p = LowRankMultivariateNormal(tf.zeros([N], tf.float64), tf.constant(factor), 0.01)
        np.testing.assert_allclose(p.entropy() - s.entropy_floor, budget, rtol=1e-8)
        np.testing.assert_allclose(p.entropy_floor(), s.entropy_floor, rtol=1e-12)


def test_sample_width_undoes_the_entropy_of_a_wider_factor():
    s = suggest(of([9.0, 4.0, 1.0, 0.5]), rank=3, epsilon=1e-9)
    axes = np.eye(N)[:, :3]
    factor = 1.7 * axes * np.sqrt(np.minimum([9.0, 4.0, 1.0], s.water_level))
    p = LowRankMultivariateNormal(tf.zeros([N], tf.float64), tf.constant(factor), 1e-9)
    assert s.sample_width(float(p.entropy()) - s.entropy_floor) == pytest.approx(1.7, rel=1e-6)
    assert s.sample_width(s.entropy_budget) == 1


def test_noise_variance_is_the_best_elbo_of_a_linear_model():
    """Every choice of P's directions, and of nats for z, by a general optimiser."""
    values, size, rank, kl = np.array([9.0, 5.0, 3.0, 1.5, 0.8, 0.1]), 12, 2, 2.0
    best = (np.inf, 0.0)
    for chosen in itertools.combinations(range(6), rank):
        in_p = np.isin(np.arange(6), chosen)

        def noise(nats, in_p=in_p):
            return (values * np.exp(-2 * nats))[~in_p].sum() / (size - rank)

        def loss(nats, in_p=in_p, noise=noise):  # - E log p at the best P and noise, but constants
            left = np.log(values) - 2 * nats
            return 0.5 * left[in_p].sum() + 0.5 * (size - rank) * np.log(noise(nats))

        found = optimize.minimize(
            loss,
            np.full(6, kl / 6),
            bounds=[(0, None)] * 6,
            constraints={"type": "eq", "fun": lambda nats: nats.sum() - kl},
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        best = min(best, (found.fun, noise(found.x)))
    s = suggest(of(values, (2, 3, 2)), rank=rank, kl_target=kl)
    np.testing.assert_allclose(s.noise_variance, best[1], rtol=1e-4)


def test_noise_is_no_less_than_that_of_8_bits():
    s = suggest(of([1.0, 1e-9]), rank=1)
    assert s.noise_variance == 1 / (12 * 255**2)


def test_what_is_below_epsilon_is_not_for_p():
    s = suggest(of([0.3, 0.2, 0.1]), rank=2, epsilon=0.5)
    assert (s.entropy_budget, s.budget_limit) == (0, 0)
    assert s.entropy_target == s.entropy_floor


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank = 0: must be an integer from 1 to 3, the components of 100 images"),
        ({"rank": 4}, "rank = 4: must be an integer from 1 to 3"),
        ({"rank": 1.5}, "rank = 1.5"),
        ({"epsilon": 0.0}, "epsilon = 0.0: must be a finite number > 0"),
        ({"epsilon": float("nan")}, "epsilon = nan"),
        ({"rank_share": 1.0}, "rank_share = 1.0: must be above 0 and below 1"),
        ({"latent_share": 0.0}, "latent_share = 0.0: must be above 0"),
        ({"kl_target": -2.0}, "kl_target = -2 nats per image cannot be met"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        suggest(of([3.0, 2.0, 1.0]), **options)


def test_targets_nobody_can_meet_are_refused_with_the_numbers():
    celeba = (218, 178, 3)
    targets.check(45.0, -504750.0, celeba, EPSILON)
    targets.check(None, None, celeba, EPSILON)
    targets.check(0.0, targets.entropy_floor(celeba, EPSILON), celeba, EPSILON)
    with pytest.raises(ValueError, match="cannot be met") as caught:
        targets.check(-3.0, -504950.0, celeba, EPSILON)
    for text in (
        "kl_target = -3 ", "entropy_target = -504950.00 ", "(218, 178, 3)", "epsilon 1e-05",
        "at least -504939.87", "give -504939.86 or more",
    ):  # fmt: skip
        assert text in str(caught.value)
    targets.check(None, -504939.86, celeba, EPSILON)  # as printed
    for kl, entropy in ((np.nan, None), (np.inf, None), (None, np.nan), (None, np.inf)):
        with pytest.raises(ValueError, match="cannot be met"):
            targets.check(kl, entropy, celeba, EPSILON)
    with pytest.raises(ValueError, match="epsilon = -1"):
        targets.entropy_floor(celeba, -1.0)


def test_a_config_without_targets_has_no_constraints():
    c = config_lib.default()
    c.objective.constrain_kl = False
    assert build_constraints(c, (64, 64, 3)) == []
    c.objective.constrain_kl = True
    c.objective.entropy_budget = 3.0
    assert [k.name for k in build_constraints(c, (64, 64, 3))] == ["kl", "entropy"]
    c.objective.constrain_entropy = False
    assert [k.name for k in build_constraints(c, (64, 64, 3))] == ["kl"]
    for value in (float("nan"), -1.0):
        c.objective.kl_target = value
        with pytest.raises(ValueError, match=r"kl_target = (nan|-1) nats"):
            build_constraints(c, (64, 64, 3))


def test_plot_shows_the_numbers():
    spectrum = of(random_spectrum(0))
    s = suggest(spectrum, rank=4, kl_target=3.0)
    figure = plots.spectrum(spectrum, s)
    shares, cumulative, latent = figure.axes
    heights = {line.get_ydata()[0] for line in shares.lines}
    assert {s.epsilon, s.water_level, s.noise_variance} <= heights
    assert 4.5 in {line.get_xdata()[0] for line in shares.lines}
    names = [text.get_text() for text in shares.get_legend().get_texts()]
    assert names[0] == "z: 3 nats of KL"
    assert names[1] == f"P: rank 4, {s.entropy_budget:.4g} nats of entropy"
    curve = cumulative.lines[0].get_ydata()
    np.testing.assert_allclose(curve[[3, -1]], [s.rank_share, 1])
    nats, share = latent.lines[0].get_data()
    np.testing.assert_allclose(np.interp(3.0, nats, share), s.latent_share, atol=0.01)
    figure.canvas.draw()  # zeros and log axes


def test_targets_do_not_load_tensorflow():
    code = "from tf_structvae import targets; import sys; print('tensorflow' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "False\n"


def smoke() -> ConfigDict:
    spec = importlib.util.spec_from_file_location("smoke", "configs/smoke.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def pasted(line) -> ConfigDict:
    """The smoke config under the printed overrides."""
    c = smoke()
    for word in shlex.split(line):
        path, value = word.removeprefix("--config.").split("=")
        number = int if path == "model.rank" else str if path == "model.noise" else float
        c.update_from_flattened_dict({path: number(value)})
    config_lib.validate(c)
    return c


def suggest_targets(data_dir, tmp_path, *arguments):
    return run(
        "bin/suggest_targets", "--config", "configs/smoke.py", f"--config.data.dir={data_dir}",
        "--output", str(tmp_path / "out"), *arguments,
    )  # fmt: skip


def test_program_suggests_what_can_be_pasted(data_dir, tmp_path):
    result = suggest_targets(data_dir, tmp_path)
    assert result.returncode == 0, result.stderr
    numbers = json.loads((tmp_path / "out/targets.json").read_text())
    assert numbers["data"] == {"name": "avatars", "variant": "16x16_tiny", "images": 256}
    assert (tmp_path / "out/spectrum.png").read_bytes().startswith(b"\x89PNG")
    s = numbers["suggestion"]
    for text in (
        "256/256", f"KL        {s['kl_target']:.1f}", "a budget of", "smoke as it is",
        "rank      3 ", f"KL        {smoke().objective.kl_target:.1f} explains",
        "calibrated recipe",
        "paper's recipe",
    ):  # fmt: skip
        assert text in result.stdout + result.stderr
    assert "budget    " not in result.stdout  # the smoke config has none
    calibrated, paper = (
        pasted(line) for line in result.stdout.splitlines() if line.startswith("  --config.")
    )
    for c in (calibrated, paper):
        assert c.model.rank == s["rank"]
        assert c.objective.kl_target == pytest.approx(s["kl_target"], abs=0.06)
    assert calibrated.model.noise == "learned"
    assert calibrated.model.epsilon == pytest.approx(s["noise_variance"], rel=0.05)
    _, entropy = build_constraints(paper, (16, 16, 3))
    assert entropy.target == pytest.approx(s["entropy_target"], abs=0.06)


def test_program_takes_and_compares_targets(data_dir, tmp_path):
    floor = targets.entropy_floor((16, 16, 3), 1e-4)
    fixed = ("--config.model.noise=fixed", "--config.model.epsilon=1e-4")
    result = suggest_targets(
        data_dir, tmp_path, *fixed, f"--config.objective.entropy_target={floor + 12}",
        "--config.objective.kl_target=20", "--rank=5", "--kl_target=9", "--images=40",
        "--config.data.flip",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    numbers = json.loads((tmp_path / "out/targets.json").read_text())
    s = numbers["suggestion"]
    assert numbers["data"]["images"] == 80  # with the mirror images
    assert (s["rank"], s["kl_target"], s["epsilon"]) == (5, 9.0, 1e-4)
    assert "budget    12.0 is " in result.stdout
    assert "KL        20.0 explains" in result.stdout
    assert f"--config.objective.entropy_target={s['entropy_target']:.2f}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kl_target=-2"], "kl_target = -2 nats per image cannot be met"),
        (["--images=1"], "images"),
        (["--rank=500"], "rank = 500: must be an integer from 1 to 255"),
        (["--epsilon=0"], "epsilon = 0.0: must be a finite number > 0"),
        (["--latent_share=1.5"], "latent_share"),
        (
            [
                "--config.model.noise=fixed", "--config.model.epsilon=1e-5",
                "--config.objective.entropy_target=-4000",
            ],
            "entropy_target = -4000.00 nats per image cannot be met: images (16, 16, 3)",
        ),
        (["--config.data.variant=9x9"], "variant of avatars"),
        (["now"], "unexpected argument 'now'"),
    ],
)  # fmt: skip
def test_program_errors_are_one_message(arguments, message, data_dir, tmp_path):
    result = suggest_targets(data_dir, tmp_path, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert ("reading" in result.stderr) == (arguments == ["--rank=500"])  # else before any work
    assert not (tmp_path / "out").exists()
