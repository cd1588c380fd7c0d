import json

import matplotlib
import notebooks
import numpy as np
import pytest

import tf_structvae as sv

LARGEST = 2_500_000  # bytes of all with their pictures
QUICK = {
    "fit_in_five_minutes": {"steps": 20, "importance_samples": 2},
    "your_own_decoder": {"regression_steps": 10, "face_steps": 12},
    "editing_and_conditioning": {"steps": 20, "variant": "16x16_tiny"},
    "segment": {"epochs": 1, "images": 32},
}
PREDICTORS = ("denoise", "inpaint", "super_resolve")


@pytest.fixture(autouse=True)
def _pictures_in_memory():
    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
    matplotlib.use(backend)


@pytest.fixture(scope="module")
def committed():
    return {name: json.loads(notebooks.path(name).read_text()) for name in notebooks.NAMES}


def outputs(notebook):
    return [o for c in notebooks.code_cells(notebook) for o in c["outputs"]]


def pictures(notebook):
    return [o for o in outputs(notebook) if "image/png" in o.get("data", {})]


def run(name, data_dir):
    return notebooks.run_here(name, {"data_dir": data_dir, **QUICK[name]})


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_fit_in_five_minutes(data_dir):
    names = run("fit_in_five_minutes", data_dir)
    structured, standard = names["structured"], names["standard"]
    assert int(structured.steps) == int(standard.steps) == 20
    # the same networks, but for P
    extra = structured.count_params() - standard.count_params()
    assert extra == 33 * names["rank"] + names["rank"] ** 2
    assert set(names["scores"]) == {"structured", "standard"}
    assert np.isfinite(list(names["scores"].values())).all()
    assert names["neighbours"]["structured"] > 0.5
    # 12 images of 1512 pairs of neighbours of independent noise: 5 standard errors
    assert abs(names["neighbours"]["standard"]) < 5 / np.sqrt(12 * 1512)
    assert names["found"].mean_square.shape == (names["rank"],)
    assert np.isfinite(names["found"].mean_square).all()
    assert names["found"].residual.shape == (784,)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_your_own_decoder(data_dir):
    names = run("your_own_decoder", data_dir)
    assert np.isfinite(list(names["losses"].values())).all()
    assert isinstance(names["p"], sv.distributions.LowRankMultivariateNormal)
    assert (names["p"].batch_shape, names["p"].event_shape) == ((12,), (14 * 28,))
    np.testing.assert_allclose(names["before"], names["after"], rtol=1e-6)
    assert names["multiplier"][0] == names["multiplier"][1]
    # what was exported is the model: its distribution of the same faces, by the package
    p = names["vae"](names["test_faces"])
    flat = np.reshape(names["test_faces"], [10, -1])
    means = names["reconstruct"](images=names["test_faces"])["means"]
    np.testing.assert_allclose(np.reshape(means, [10, -1]), p.mean(), atol=1e-5)
    given = names["vae"].decode(names["known_latents"])
    given = given.condition(names["left"].reshape(10, -1) > 0.5, flat, 0.001)
    answer = np.reshape(names["found"]["images"], [10, -1])
    np.testing.assert_allclose(answer, np.clip(given.mean(), 0, 1), atol=1e-4)


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_editing_and_conditioning(data_dir):
    names = run("editing_and_conditioning", data_dir)  # checks itself against the dense form
    assert 0 < names["mean_error"] < 1e-4
    # the patch as seen through noise, by eq. 6 as it stands
    patch, mu, sigma = names["patch"].ravel(), names["mu"], names["Sigma"]
    for variance, soft in zip(names["variances"], names["softly"], strict=True):
        seen = sigma[np.ix_(patch, patch)] + variance * np.eye(patch.sum())
        moved = sigma[:, patch] @ np.linalg.solve(seen, names["painted"].ravel()[patch] - mu[patch])
        np.testing.assert_allclose(soft.mean(), mu + moved, atol=1e-4)
    for step in names["sequence"]:  # what was painted, up to its noise
        row, column = step.edit.pixel
        colour = np.tile(step.edit.colour, [3, 1])
        np.testing.assert_allclose(step.mean[:, row, column], colour, atol=0.02)
    middle, a, b = names["middle"], names["a"], names["b"]
    assert np.linalg.norm(middle) > np.linalg.norm(0.5 * (a + b))
    grids = names["grids"]
    assert grids.shape == (2, 7, 7, 16, 16, 3)
    assert np.isfinite(grids).all()
    corner = names["two_faces"].sample_from_noise(names["corners"][:, 0])
    np.testing.assert_allclose(grids[:, 0, 0].reshape(2, -1), corner, atol=1e-5)
    scaled = names["scaled"]
    assert scaled.images.shape == (6, 9, 16, 16, 3)
    for images in scaled.images:  # a factor of one leaves the sample as it is
        np.testing.assert_allclose(images[5], scaled.images[0, 5], atol=1e-5)


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.long
@pytest.mark.parametrize("name", PREDICTORS)
def test_predictors(name, data_dir):
    parameters = {"data_dir": data_dir, "epochs": 1, "head_epochs": 1}
    names = notebooks.run_here(name, parameters)
    assert np.isfinite(names["card"].scores["log_prob"].value)
    covered = names["card"].coverage["conformal ellipsoid"][0.9]
    # of 500 held-out digits, with a threshold from 500 others
    assert abs(covered.value - 0.9) < 4 * np.sqrt(2 * 0.09 / 500)
    assert names["model"].calibration


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_segment():
    names = notebooks.run_here("segment", QUICK["segment"])
    assert set(names["distances"]) == {"low rank", "independent"}
    assert np.isfinite(list(names["distances"].values())).all()


@pytest.mark.parametrize("name", [*PREDICTORS, "segment"])
def test_short_programs(name, committed):
    """Under 40 lines beside imports and parameters."""
    cells = notebooks.code_cells(committed[name])[2:]
    lines = [line for c in cells for line in notebooks.source(c).splitlines() if line.strip()]
    assert 20 < len(lines) < 40


def test_committed_notebooks_are_executed_and_show_nothing_of_a_machine(committed):
    for name, notebook in committed.items():
        cells = notebooks.code_cells(notebook)
        assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1)), name
        kinds = {o.get("name", o["output_type"]) for o in outputs(notebook)}
        assert kinds <= {"stdout", "display_data", "execute_result"}, name
        assert pictures(notebook), name
        told = [o.get("text", o.get("data", {}).get("text/plain")) for o in outputs(notebook)]
        text = json.dumps([told, [c["source"] for c in notebook["cells"]]])
        for private in ("/home/", "/root/", "/tmp", "/work", "site-packages", "%|"):
            assert private not in text, f"{name} tells {private}"
    sizes = [notebooks.path(name).stat().st_size for name in committed]
    assert sum(sizes) < LARGEST


def test_committed_notebooks_have_one_cell_of_parameters(committed):
    for name, notebook in committed.items():
        tags = [notebooks.tags(c) for c in notebooks.code_cells(notebook)]
        assert sum(notebooks.PARAMETERS in t for t in tags) == 1, name


def test_a_parameter_that_a_notebook_does_not_have_is_named():
    with pytest.raises(KeyError, match="epochs"):
        notebooks.run_here("your_own_decoder", {"epochs": 1})


@pytest.mark.long
@pytest.mark.parametrize("name", notebooks.NAMES)
def test_in_a_fresh_kernel(name, tmp_path):
    notebook = notebooks.run_in_kernel(name, tmp_path)
    assert len(pictures(notebook)) == len(pictures(json.loads(notebooks.path(name).read_text())))
    assert not list(tmp_path.iterdir())  # nothing is left behind
