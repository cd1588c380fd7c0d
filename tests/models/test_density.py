import json

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from forked import run
from gaussian_images import SHAPE, VARIANCES, N, components, data, dense, reading

from tf_structvae.models import density
from tf_structvae.models.constraints import Constraint
from tf_structvae.studies import targets
from tf_structvae.studies.density import closed_form, figure, report
from tf_structvae.studies.density.report import Fit

# The model.


def batches(x, size, seed=0):
    d = tf.data.Dataset.from_tensor_slices(x.astype(np.float32))
    return d.shuffle(len(x), seed=seed).batch(size, drop_remainder=True).repeat()


def trained(steps=600, x=None, **options):
    x = data(seed=0) if x is None else x
    model = density.LowRankDensity(SHAPE, **{"rank": 3, "pretrain_steps": 20, **options})
    density.fit(model, batches(x, 100), steps)
    return model


def check_trained(model, best, x, tolerance):
    """Log-density, mean, covariance and leading subspace of the trained model."""
    p = model.distribution(tf.float64)
    flat = x.reshape(len(x), -1)
    gap = np.mean(p.log_prob(flat) - best.log_prob(flat))
    assert -tolerance < gap < 1e-6  # the optimum is the best on the images it is fitted to
    np.testing.assert_allclose(p.loc, best.loc, atol=0.02)
    np.testing.assert_allclose(p.covariance(), best.covariance(), atol=0.05)
    a, b = (q.principal_components().directions.numpy() for q in (p, best))
    assert closed_form.principal_angles(a, b)[0] < 2


@pytest.mark.parametrize(
    ("noise", "epsilon"), [("learned", 0.01), ("learned", 1.0), ("fixed", 1e-3)]
)
def test_training_reaches_the_closed_form(noise, epsilon):
    x = data()
    model = trained(noise=noise, epsilon=epsilon)
    best = closed_form.optimum(components(3), epsilon if noise == "fixed" else None)
    error = abs(float(np.mean(best.log_prob(x.reshape(400, -1)))))
    check_trained(model, best, x, 1e-3 * error)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    constraint = density.entropy_constraint(targets.entropy_floor(SHAPE, 1e-2) + 4.0, 2)
    model = density.LowRankDensity(SHAPE, 2, 1e-2, "fixed", [constraint], seed=5, natural=False)
    density.fit(model, batches(data(seed=0), 100), 20)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    for own, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    x = data(seed=1).reshape(400, -1).astype(np.float32)
    np.testing.assert_array_equal(
        loaded.distribution().log_prob(x), model.distribution().log_prob(x)
    )


def test_training_under_an_entropy_constraint_reaches_the_closed_form():
    """And the multiplier that of the closed form, 1 / kappa - 1."""
    epsilon, budget = 1e-2, 5.0
    floor = targets.entropy_floor(SHAPE, epsilon)
    constraint = density.entropy_constraint(floor + budget, 3)
    model = trained(steps=1500, noise="fixed", epsilon=epsilon, constraints=[constraint])
    p = model.distribution(tf.float64)
    assert float(p.entropy()) - floor == pytest.approx(budget, abs=0.02)
    kappa = closed_form.shrinkage(np.array(VARIANCES[:3]), epsilon, budget)
    assert constraint.multiplier.numpy() == pytest.approx(1 / kappa - 1, rel=0.05)
    best = closed_form.optimum(components(3), epsilon, budget)
    np.testing.assert_allclose(p.covariance(), best.covariance(), atol=0.05)


def test_plain_gradients_with_adam_come_close_on_a_small_problem():
    """Less so than natural gradients: within 0.2 nats of a likelihood that starts hundreds away."""
    x = data()
    model = density.LowRankDensity(SHAPE, 3, natural=False, pretrain_steps=20)
    density.fit(model, batches(x, 100), 1500, learning_rate=0.03)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    p, best = model.distribution(tf.float64), closed_form.optimum(components(3))
    flat = x.reshape(400, N)
    assert -0.2 < np.mean(p.log_prob(flat) - best.log_prob(flat)) < 1e-6
    a, b = (q.principal_components().directions.numpy() for q in (p, best))
    assert closed_form.principal_angles(a, b)[0] < 5


def step_of(model, x, rate=1.0):
    """The change of mean, P and log epsilon in one step of SGD."""
    variables = (model.loc, model.factor, model.log_variance)
    before = [v.numpy().astype(np.float64) for v in variables]
    model.compile(keras.optimizers.SGD(rate))
    logs = model.train_on_batch(x.astype(np.float32), return_dict=True)
    return before, [v.numpy() - b for v, b in zip(variables, before, strict=True)], logs


@pytest.mark.parametrize("noise", ["learned", "fixed"])
@pytest.mark.parametrize("natural", [False, True])
def test_a_step_is_the_gradient_of_the_dense_normal(natural, noise):
    keras.utils.set_random_seed(0)  # of the first factor
    x = data(30)
    model = density.LowRankDensity(
        SHAPE, 3, 0.3, noise, factor_initial=0.4, mean_initial=0.3, natural=natural
    )
    (loc, factor, log_variance), step, logs = step_of(model, x, 1e-2)
    epsilon = np.exp(log_variance[0])
    parts = [reference.log_prob_gradients(v.ravel(), loc, factor, epsilon) for v in x]
    by_x, by_factor, by_diag = (np.mean(g, axis=0) for g in zip(*parts, strict=True))
    gradients = [-by_x, by_factor, [by_diag.sum() * epsilon]]
    if natural:
        sigma = reference.covariance(factor, epsilon)
        gradients = [sigma @ gradients[0], sigma @ gradients[1], [gradients[2][0] * 2 / N]]
    if noise == "fixed":
        gradients[2] = [0.0]
    for got, want in zip(step, gradients, strict=True):
        np.testing.assert_allclose(got, 1e-2 * np.asarray(want), atol=2e-6)
    want = np.mean([reference.log_prob(v.ravel(), loc, factor, epsilon) for v in x])
    assert float(logs["log_prob"]) == pytest.approx(want, rel=1e-5)
    assert float(logs["entropy"]) == pytest.approx(reference.entropy(factor, epsilon), rel=1e-5)
    assert float(logs["loss"]) == -float(logs["log_prob"])


def test_a_step_computes_all_before_it_writes():
    """Each write waits for what was computed from all that was read: where the graph did not say
    so, some steps used a variance that they had already changed."""
    model = density.LowRankDensity(SHAPE, 3, 0.3, "learned", factor_initial=0.4, mean_initial=0.3)
    model.compile(keras.optimizers.SGD(1e-2))
    model.optimizer.build(model.trainable_variables)
    images = tf.TensorSpec([None, *SHAPE])
    graph = tf.function(model.train_step).get_concrete_function(images).graph
    known = {id(inner): outer for outer, inner in graph.captures}
    of_model = [v.value.handle for v in (model.loc, model.factor, model.log_variance)]
    variances = {op for op in graph.get_operations() if op.type == "Exp"}
    assert len(variances) == 2
    writes = [
        op
        for op in graph.get_operations()
        if op.type == "AssignSubVariableOp" and any(known[id(op.inputs[0])] is h for h in of_model)
    ]
    assert len(writes) == 3
    for write in writes:
        before, left = set(), [write]
        while left:
            op = left.pop()
            if op in before:
                continue
            before.add(op)
            left += op.control_inputs
            for tensor in op.inputs:
                while tensor.op.type == "IdentityN":  # the optimiser splits it
                    left += tensor.op.control_inputs
                    tensor = tensor.op.inputs[tensor.value_index]
                left.append(tensor.op)
        assert variances <= before


def test_a_constraint_adds_the_gradient_of_the_entropy():
    model = density.LowRankDensity(
        SHAPE,
        3,
        0.3,
        "fixed",
        [Constraint("entropy", 20.0, rate=0.5, damping=0.0, initial_multiplier=2.0)],
        factor_initial=0.4,
        natural=False,
    )
    x = data(30)
    (loc, factor, _), step, logs = step_of(model, x, 1e-2)
    want = np.mean(
        [reference.log_prob_gradients(v.ravel(), loc, factor, 0.3)[1] for v in x], axis=0
    )
    want = want - 2.0 * reference.entropy_gradients(factor, 0.3)[0]
    np.testing.assert_allclose(step[1], 1e-2 * want, atol=2e-6)
    gap = reference.entropy(factor, 0.3) - 20.0
    assert float(logs["loss"]) == pytest.approx(-float(logs["log_prob"]) + 2 * gap, rel=1e-5)
    assert model.constraints[0].multiplier.numpy() == pytest.approx(2 + 0.5 * gap, rel=1e-4)


@pytest.mark.parametrize("natural", [False, True])
def test_pre_training_moves_the_mean_alone(natural):
    constraint = Constraint("entropy", 5.0)
    model = density.LowRankDensity(
        SHAPE, 3, 0.3, constraints=[constraint], pretrain_steps=1, pretrain_variance=0.5,
        natural=natural,
    )  # fmt: skip
    x = data(30)
    (loc, factor, _), step, logs = step_of(model, x, 0.1)
    flat = x.reshape(30, -1)
    want = flat.mean(0) - loc
    np.testing.assert_allclose(step[0], 0.1 * want / (1 if natural else 0.5), atol=1e-6)
    assert not step[1].any()
    assert not step[2].any()
    assert constraint.multiplier.numpy() == 0
    density_of_mean = np.mean([reference.log_prob(v, loc, 0 * factor, 0.5) for v in flat])
    assert float(logs["loss"]) == pytest.approx(-density_of_mean, rel=1e-5)
    _, step, _ = step_of(model, x, 0.1)
    assert step[1].any()
    assert step[2].any()


def test_a_small_factor_does_not_overshoot():
    """Without a limit the first step along the strongest direction is lambda / epsilon |P|."""
    model = density.LowRankDensity(SHAPE, 3, 1e-6, "fixed", factor_initial=1e-3)
    (_, factor, _), step, _ = step_of(model, data(), 0.1)
    ratio = np.linalg.norm(step[1]) / np.linalg.norm(factor)
    assert ratio == pytest.approx(0.1 * density._LARGEST_CHANGE, rel=1e-4)


def test_evaluation_is_the_mean_log_density_whatever_the_batches():
    x = data(50).astype(np.float32)
    model = density.LowRankDensity(SHAPE, 3, 0.2, factor_initial=0.3)
    model.compile(keras.optimizers.SGD(0.1))
    logs = model.evaluate(
        tf.data.Dataset.from_tensor_slices(x).batch(32), return_dict=True, verbose=0
    )
    want = np.mean(model(x).log_prob(x.reshape(50, -1)))
    assert logs["log_prob"] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be an integer from 1 to 24, got 0"),
        ({"rank": 25}, "rank must be an integer from 1 to 24, got 25"),
        ({"rank": 2.5}, "got 2.5"),
        ({"epsilon": 0.0}, "epsilon must be a finite number > 0"),
        ({"epsilon": float("inf")}, "epsilon must be"),
        ({"noise": "per_pixel"}, "noise must be one of .*'per_pixel'"),
        ({"factor_initial": -1.0}, "factor_initial must be"),
        ({"pretrain_variance": 0.0}, "pretrain_variance must be"),
        ({"pretrain_steps": -1}, "pretrain_steps must be at least 0"),
        ({"constraints": [Constraint("kl", 3.0)]}, r"none or one on 'entropy', got \['kl'\]"),
        (
            {"noise": "fixed", "constraints": [Constraint("entropy", -99.0)]},
            "entropy_target = -99.00 nats per image cannot be met",
        ),
    ],
)
def test_the_model_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        density.LowRankDensity(SHAPE, **{"rank": 3, **options})


@pytest.mark.parametrize(
    ("steps", "rate", "message"),
    [(0, None, "steps must be"), (3, 0.0, "learning_rate must be"), (3, np.nan, "learning_rate")],
)
def test_fit_refuses(steps, rate, message):
    model = density.LowRankDensity(SHAPE, 3)
    with pytest.raises(ValueError, match=message):
        density.fit(model, batches(data(), 10), steps, rate)


def test_a_loss_that_is_not_finite_ends_training_with_what_to_do():
    model = density.LowRankDensity(SHAPE, 3)
    with pytest.raises(FloatingPointError, match=r"at step \d+: lower the learning_rate, 1e\+20"):
        density.fit(model, batches(data(), 100), 50, 1e20)


# What is reported.


def fits(x):
    """The optimum, one with a mean that is off by 0.1, and PCA."""
    c = components(4, x)
    best = closed_form.optimum(c)
    off = type(best)(best.loc + 0.1, best.cov_factor[:, ::-1] * [1.0, -1, 1, -1], best.cov_diag)
    return {"off": Fit.of(off, 3.0), "best": Fit.of(best, 2.0), "PCA": Fit.of_pca(c, best, 1.0)}


def test_held_out_log_density_is_that_of_the_dense_normal():
    x, test = data(), data(20, seed=1)
    found = report.log_probs(fits(x), reading(test.astype(np.float32), 7)())
    mean, values, vectors = dense(x)
    sigma2 = values[4:].mean()
    factor = vectors[:, :4] * np.sqrt(values[:4] - sigma2)
    flat = test.astype(np.float32).astype(np.float64).reshape(20, N)
    want = [reference.log_prob(v, mean, factor, sigma2) for v in flat]
    np.testing.assert_allclose(found["best"], want, rtol=1e-8)
    np.testing.assert_allclose(found["PCA"], want, rtol=1e-8)
    want = [reference.log_prob(v, mean + 0.1, factor, sigma2) for v in flat]
    np.testing.assert_allclose(found["off"], want, rtol=1e-8)


def test_numbers_are_paired_differences_and_angles():
    all_fits = fits(data())
    log_prob = report.log_probs(all_fits, [data(20, seed=1)])
    found = report.numbers(all_fits, log_prob)
    gap = log_prob["off"] - log_prob["best"]
    assert found["difference"]["best"]["value"] == pytest.approx(gap.mean())
    assert found["difference"]["best"]["standard_error"] == pytest.approx(gap.std(ddof=1) / 20**0.5)
    relative = gap.mean() / abs(log_prob["best"].mean())
    assert found["difference"]["best"]["relative"] == pytest.approx(relative)
    assert found["difference"].keys() == {"best", "PCA"}
    assert list(found["angles"]) == ["off - best", "off - PCA", "best - PCA"]
    for by_size in found["angles"].values():
        assert list(by_size) == [1, 2, 3, 4]
        assert max(by_size.values()) < 1e-4  # the order and the signs of P's columns are nothing
    text = report.table(json.loads(json.dumps(found)))
    assert text.count("\n") == 10
    assert f"{relative:+.4%}" in text


def test_angles_tell_a_wrong_component_from_the_others():
    best = fits(data())["best"]
    order = [0, 2, 1, 3]
    swapped = best._replace(directions=best.directions[:, order])
    found = report.angles(best, swapped)
    np.testing.assert_allclose([found[k] for k in (1, 2, 3, 4)], [0, 90, 0, 0], atol=1e-5)
    weak = best._replace(directions=best.directions * [1, 1, 0, 0])
    assert list(report.angles(best, weak)) == [1, 2]


def test_pictures_of_equal_fits_are_equal_and_have_the_covariance_of_p():
    all_fits = fits(data())
    best, rotated = all_fits["best"], all_fits["off"]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    rotated = rotated._replace(
        factor=rotated.factor @ turn, directions=rotated.directions * [1, -1, -1, 1]
    )
    a, b = (figure.sample_pictures(f, best, 20000) for f in (rotated, best))
    np.testing.assert_allclose(a - 0.1, b, atol=1e-6)
    want = best.factor @ best.factor.T
    # of 20,000 draws: an entry of the covariance is known to sqrt(2 / n) of the largest
    error = 5 * np.sqrt(2 / 20000) * want.max()
    np.testing.assert_allclose(np.cov(a.T), want, atol=error)
    a, b = (figure.component_pictures(f, best, 3) for f in (rotated, best))
    assert a.shape == (3, N)
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_pca_is_drawn_with_all_of_its_variance():
    found = fits(data())["PCA"]
    np.testing.assert_allclose(np.linalg.norm(found.factor, axis=0) ** 2, VARIANCES[:4], rtol=1e-6)


@pytest.mark.parametrize("rank", [1, 4])
def test_files(tmp_path, rank):
    c = components(rank)
    best = closed_form.optimum(c)
    all_fits = {"trained": Fit.of(best, 1.0), "PCA": Fit.of_pca(c, best, 1.0)}
    found = report.numbers(all_fits, report.log_probs(all_fits, [data()[:9]]))
    paths = report.write(tmp_path / "out", all_fits, found, SHAPE, "a title")
    assert [p.name for p in paths] == [f"density.{k}" for k in ("json", "md", "png", "npz")]
    assert json.loads(paths[0].read_text())["fits"]["trained"]["seconds"] == 1.0
    assert "a title" in paths[1].read_text()
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    saved = np.load(paths[3])
    np.testing.assert_allclose(saved["cov_factor"], best.cov_factor, rtol=1e-6)
    assert {k: v.shape for k, v in saved.items()} == {
        "loc": (N,), "cov_factor": (N, rank), "cov_diag": (1,),
    }  # fmt: skip


# The program.


def fit_distribution(data_dir, tmp_path, *arguments):
    return run(
        "bin/fit_distribution", "--config", "configs/smoke.py", f"--config.data.dir={data_dir}",
        "--output", str(tmp_path / "out"), *arguments,
    )  # fmt: skip


def test_program_lays_the_three_side_by_side(data_dir, tmp_path):
    result = fit_distribution(data_dir, tmp_path, "--batch_size=64", "--steps=300")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out/density.json").read_text())
    assert found["data"] == {"name": "avatars", "variant": "16x16_tiny", "fit": 256}
    assert found["images"] == 64
    assert list(found["fits"]) == ["trained", "closed form", "PCA"]
    assert abs(found["difference"]["closed form"]["relative"]) < 0.01
    assert found["angles"]["trained - closed form"]["3"] < 5
    for name in ("density.md", "density.png", "density.npz", "held-out log p", "largest angle"):
        assert name in result.stdout


@pytest.mark.long
def test_program_fits_under_a_budget(data_dir, tmp_path):
    result = fit_distribution(
        data_dir, tmp_path, "--noise=fixed", "--epsilon=1e-3", "--entropy_budget=8",
        "--images=100", "--batch_size=50", "--steps=300",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out/density.json").read_text())
    assert found["data"]["fit"] == 100
    for fit in found["fits"].values():
        assert fit["noise_variance"] == pytest.approx(1e-3, rel=1e-6)
        assert fit["entropy_above_floor"] == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize(
    ("arguments", "message", "early"),
    [
        (
            ["--batch_size=9", "--images=9", "--config.model.rank=9"],
            "config.model.rank = 9: must be at most 8",
            True,
        ),
        (["--batch_size=9", "--noise=fixed", "--entropy_budget=800"], "budget = 800 nats", False),
        *(
            pytest.param(*case, marks=pytest.mark.long)  # starting the program takes the time
            for case in [
                (["--images=1"], "images", True),
                (["--batch_size=300"], "batch_size = 300: must be at most 256", True),
                (["--images=20"], "batch_size = 250: must be at most 20", True),
                (["--batch_size=9", "--epsilon=0"], "epsilon = 0: must be a finite", True),
                (
                    ["--batch_size=9", "--entropy_budget=8"],
                    "entropy_budget needs noise = fixed",
                    True,
                ),
                (
                    ["--batch_size=9", "--noise=fixed", "--entropy_budget=-8"],
                    "entropy_budget = -8: must be above 0",
                    True,
                ),
                (["--batch_size=9", "--learning_rate=-1"], "learning_rate = -1", True),
                (["--noise=per_pixel"], "noise", True),
                (["--config.data.variant=9x9"], "variant of avatars", True),
            ]
        ),
    ],
)
def test_program_errors_are_one_message(arguments, message, early, data_dir, tmp_path):
    result = fit_distribution(data_dir, tmp_path, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert ("reading" not in result.stderr) == early
    assert "training" not in result.stderr
    assert not (tmp_path / "out").exists()
