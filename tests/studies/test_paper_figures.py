"""The paper's figures: the numbers behind them, and the program that draws them."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest
from edited_normal import SHAPE, B, N, R, problem
from forked import run
from matplotlib.patches import Circle
from study_config import CONFIG

from tf_structvae import figures
from tf_structvae.distributions import editing
from tf_structvae.figures import default_edits
from tf_structvae.figures.page import gap, tile, tiled_height
from tf_structvae.studies import paper

KINDS = pytest.mark.parametrize("kind", ["dense", "features"])


# Figure 3.


@KINDS
def test_interpolations_are_samples_at_the_noise_of_the_grid(kind):
    p, loc, factor = problem(kind)
    corners = np.random.default_rng(3).normal(size=(B, 4, R))
    found = figures.interpolations(p, corners, SHAPE, size=5)
    assert found.shape == (B, 5, 5, *SHAPE)
    for k, (i, j) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        sample = p.sample_from_noise(corners[:, k]).numpy()
        np.testing.assert_allclose(found[:, i, j].reshape(B, N), sample, rtol=1e-12)
    noise = editing.slerp_grid(corners, 5, 5).numpy()
    expected = loc[:, None, None] + np.einsum("bnr,bijr->bijn", factor, noise)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-12)


# Figures 4, 8, 9.


@KINDS
def test_scaled_components_against_a_dense_svd(kind):
    p, loc, factor = problem(kind)
    p, loc, factor = p[:1], loc[0], factor[0]
    noise = np.random.default_rng(4).normal(size=R)
    found = figures.scaled_components(p, noise, SHAPE)
    assert found.images.shape == (R, 21, *SHAPE)
    np.testing.assert_array_equal(found.factors, np.linspace(-5, 5, 21))
    u, s, vt = np.linalg.svd(factor, full_matrices=False)
    flat = found.images.reshape(R, 21, N)
    sample = p.sample_from_noise(noise).numpy()[0]
    for k in range(R):
        own = u[:, k] * s[k] * (vt[k] @ noise)
        assert np.abs(own).max() > 1e-2
        np.testing.assert_allclose(flat[k, 12], sample, atol=1e-9)  # factor 1
        np.testing.assert_allclose(flat[k, 10], sample - own, atol=1e-9)  # factor 0
        np.testing.assert_allclose(flat[k, 0], sample - 6 * own, atol=1e-9)  # factor -5
        scaled = u * np.where(np.arange(R) == k, 3.5, 1) * s @ vt
        np.testing.assert_allclose(flat[k, 17], loc + scaled @ noise, atol=1e-9)
    np.testing.assert_allclose(found.shares, s**2 / np.sum(s**2), rtol=1e-9)
    np.testing.assert_allclose(np.abs(found.noise), np.abs(vt @ noise), rtol=1e-8)


def test_a_model_of_low_rank_has_fewer_rows():
    p, _, _ = problem("dense")
    assert len(figures.scaled_components(p[:1], np.ones(R), SHAPE, count=10).images) == R
    two = figures.scaled_components(p[:1], np.ones(R), SHAPE, count=2, factors=(0, 1))
    assert two.images.shape == (2, 2, *SHAPE)
    assert two.shares.sum() < 1
    axes = figures.scaling_figure(two, "t", "n").axes
    assert len(axes) == 2
    # the sample, in the second column, is framed
    assert [a.patches[0].get_x() for a in axes] == [SHAPE[1] + gap(*SHAPE[:2]) - 0.5] * 2


# Figures 1, 2, 7: common scales.


def observation(scale):
    rng = np.random.default_rng(5)
    images = rng.uniform(size=(2, 4, 4, 3))
    variance = scale * np.linspace(0.1, 1, 32).reshape(2, 4, 4, 1)
    return [figures.Row("mean", images), figures.Row("variance", variance, "variance")]


def test_groups_share_their_scales():
    groups = [("a", observation(1.0)), ("b", observation(0.1))]
    figure = figures.aligned(groups, "t", "n")
    pictures = [a.images[0].get_array() for a in figure.axes[:4]]
    np.testing.assert_array_equal(pictures[0], pictures[2])
    limit = figures.scale_limit(groups[0][1][1].images, groups[1][1][1].images)
    for picture, (_, rows) in zip(pictures[1::2], groups, strict=True):
        shown = tile(figures.colorize(rows[1], limit), 2)
        np.testing.assert_array_equal(picture, shown)
    assert pictures[3].mean() < pictures[1].mean()
    assert [t.get_text() for t in figure.axes[4].get_yticklabels()] == ["0", f"{limit:.2g}"]


def test_groups_with_other_rows_are_refused():
    with pytest.raises(ValueError, match="groups must have the same rows"):
        figures.aligned([("a", observation(1.0)), ("b", observation(1.0)[:1])], "t")


def test_a_scale_sees_a_single_pixel_and_survives_zero():
    x = np.zeros([1, 32, 32, 1])
    assert figures.scale_limit(x) > 0
    x[0, 3, 4] = 0.5
    assert figures.scale_limit(x) == 0.5
    assert figures.scale_limit(np.full([1000], 2.0), np.ones([2000])) == 2.0


@pytest.mark.parametrize("shape", [(8, 8), (64, 48), (218, 178)])
def test_tiles_keep_the_shape_of_their_pictures(shape):
    images = np.zeros([6, *shape, 3])
    sheet = tile(images, 3)
    pad = gap(*shape)
    assert sheet.shape == (2 * shape[0] + pad, 3 * shape[1] + 2 * pad, 3)
    assert sheet[shape[0]].min() == 255
    assert sheet[: shape[0], : shape[1]].max() == 0
    assert tiled_height(1.0, *shape, 3, 2) == sheet.shape[0] / sheet.shape[1]


# Figures 5, 10 to 13.


@KINDS
def test_a_circle_marks_each_edit_and_nothing_else(kind):
    p, loc, _ = problem(kind)
    edits = [editing.Edit((1, 2), (1.0, 0, 0), 1.0, "hair"), editing.Edit((3, 0), (0, 0, 1.0))]
    steps = editing.edit_sequence(p, edits, SHAPE)
    figure = figures.edits_figure(loc.reshape(B, *SHAPE), steps, "t", "n")
    assert len(figure.axes) == B
    step = SHAPE[1] + gap(*SHAPE[:2])
    for axes in figure.axes:
        circles = [c for c in axes.patches if isinstance(c, Circle)]
        assert {c.center for c in circles} == {(2 + step, 1), (0 + 3 * step, 3)}
        assert min(c.radius for c in circles) > 1
    words = [t.get_text() for t in figure.texts]
    for text in ("prediction", "edit 1\nhair", "mean given\nedit 1", "edit 2"):
        assert text in words


@pytest.mark.parametrize("figure", default_edits.FIGURES)
@pytest.mark.parametrize("shape", [(218, 178, 3), (64, 64, 3), (48, 48, 1), (7, 1, 3), (1, 1, 2)])
def test_default_edits_suit_any_image(figure, shape):
    edits = default_edits.default_edits(figure, "avatars", shape)
    assert len(edits) >= 1
    for edit in edits:
        inside = editing.disc(edit, shape)
        assert inside.any()
        assert inside.mean() < 0.03 or inside.sum() == 1
        assert len(edit.colour) == shape[-1]
        assert bool(edit.name) == (shape[-1] == 3)
    assert figure != 11 or inside.sum() == 1


# Which figures there are.


def experiment(likelihood, shape=(8, 8, 3), workdir="run"):
    return types.SimpleNamespace(
        config=types.SimpleNamespace(model=types.SimpleNamespace(likelihood=likelihood, rank=25)),
        source=types.SimpleNamespace(image_shape=shape),
        workdir=workdir,
    )


def test_all_is_what_the_runs_can_give():
    structured, standard = experiment("low_rank"), experiment("independent")
    assert paper.possible([standard]) == [1, 2, 6, 7]
    assert paper.possible([standard, structured]) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    assert 9 in paper.possible([experiment("stock_low_rank", (8, 8, 1))])
    paper.check([3, 9], [standard, structured])


@pytest.mark.parametrize(
    ("numbers", "experiments", "message"),
    [
        ([14], [experiment("low_rank")], "figure must be one of 1, 2, 3, .* got 14"),
        (
            [1, 3, 5],
            [experiment("independent")],
            r"figures 3, 5 need the factor P.* rank in run\); it has figures 1, 2, 6, 7",
        ),
        (
            [1],
            [experiment("low_rank"), experiment("low_rank", (9, 8, 3), "other")],
            r"same shape, got .*'other': \(9, 8, 3\)",
        ),
    ],
)
def test_figures_that_cannot_be_drawn_are_refused(numbers, experiments, message):
    with pytest.raises(ValueError, match=message):
        paper.check(numbers, experiments)


def test_figure_6_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    assert paper.possible([experiment("low_rank")]) == [1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13]
    with pytest.raises(ImportError, match=r"pip install 'tf_structvae\[data\]'"):
        paper.check([6], [experiment("low_rank")])


# The program.


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    """Work directories of a structured and a standard VAE that were never trained."""
    from tf_structvae.training.experiment import Experiment

    folder = tmp_path_factory.mktemp("runs")
    source = CONFIG.format(data_dir=data_dir)
    namespace: dict = {}
    exec(source.replace("def get_config", "def get"), namespace)
    namespace["VARIANTS"] = {
        "structured": {},
        "standard": {"model.likelihood": "independent"},
        "grey": {"data.channels": 1},
    }
    found = {}
    for name in namespace["VARIANTS"]:
        config = namespace["get"](name)
        config.name = name
        made = Experiment(config, folder / name)
        made.start()
        made.checkpoints.save(0)
        found[name] = made
    return found


def test_the_program_writes_every_figure(runs, tmp_path):
    script = tmp_path / "edits.json"
    script.write_text(json.dumps({"11": [{"pixel": [3, 5], "colour": "#10c020"}]}))
    done = run(
        "bin/figures", f"--workdir={runs['standard'].workdir}",
        f"--workdir={runs['structured'].workdir}", f"--output={tmp_path / 'out'}",
        f"--edits={script}", "--images=2", "--columns=2", "--fit_steps=20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = sorted(p.name for p in (tmp_path / "out").iterdir())
    entries = [paper.FIGURES[n].name for n in paper.possible([runs["structured"]])]
    assert len(written) == 2 * len(entries) == 24
    for name in entries:
        (pdf,) = (tmp_path / "out").glob(f"figure_??_{name}.pdf")
        assert pdf.read_bytes().startswith(b"%PDF")
        assert pdf.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert f"figure    {pdf}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--figure=6"], "--workdir is missing"),
        (["--figure=3,x", "--workdir=none"], "--figure must be 'all', 'list' or numbers"),
        (["--edits={}", "--workdir=none"], "is not JSON"),
    ],
)
def test_the_program_refuses_in_one_message(arguments, message, tmp_path):
    broken = tmp_path / "edits.json"
    broken.write_text("[{")
    done = run("bin/figures", *(a.format(broken) for a in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_figures_are_the_same_for_the_same_seed(runs):
    options = paper.Options(seed=3, images=2, columns=3)
    for n in (1, 3, 5):
        first, again, other = (
            paper.draw(n, [runs["structured"]], o).axes[-1].images[0].get_array()
            for o in (options, options, dataclasses.replace(options, seed=4))
        )
        np.testing.assert_array_equal(first, again)
        assert np.any(first != other)


def test_files_are_the_same_bytes_for_the_same_figure(runs, tmp_path):
    written = [
        paper.save(
            paper.draw(11, [runs["grey"]], paper.Options(images=1)), tmp_path / name / "f", "t"
        )
        for name in "ab"
    ]
    for first, again in zip(*written, strict=True):
        assert first.read_bytes() == again.read_bytes()


def test_grey_images_have_all_figures(runs):
    numbers = paper.possible([runs["grey"]])
    assert (8 in numbers, 9 in numbers) == (False, True)
    options = paper.Options(images=2, columns=2, fit_steps=20)
    for n in numbers:
        assert paper.draw(n, [runs["grey"]], options).axes


def test_more_test_images_than_there_are_is_refused(runs):
    count = runs["structured"].config.evaluation.images
    with pytest.raises(ValueError, match=r"images must be at most \d+, the test images; got"):
        paper.draw(2, [runs["structured"]], paper.Options(images=count + 1))


def test_pixel_noise_is_drawn_only_if_asked(runs):
    quiet, noisy = (
        paper.draw(1, [runs["structured"]], paper.Options(pixel_noise=noise, images=2, columns=2))
        for noise in (False, True)
    )
    pictures = [f.axes[0].images[0].get_array().astype(float) for f in (quiet, noisy)]
    # the learned noise starts at a variance of 0.01, 25 of 255 grey levels
    assert 10 < np.std(pictures[1] - pictures[0]) < 40
    assert "omega_d = 0" in quiet.texts[1].get_text().replace("\n", " ")
    assert "omega_d" not in noisy.texts[1].get_text()
