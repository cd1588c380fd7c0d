"""Components and regions of a wrapped predictor where the posterior is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tf_structvae.utilities import markdown

OBJECTIVES = ("likelihood", "components")
_SIDE, _RANK = 8, 5
_TRAIN, _CALIBRATION, _TEST = 8000, 500, 2000
_NOISE = 0.1  # standard deviation of what is measured


class Problem(NamedTuple):
    """x = A y + noise with y ~ N(0, C): the posterior of y is N(G x, S), S the same for all x."""

    measurement: np.ndarray  # A, [M, N]
    prior: np.ndarray  # C, [N, N]
    gain: np.ndarray  # G, [N, M]
    covariance: np.ndarray  # S, [N, N]

    def draw(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """x [count, M] and y [count, N].

        Args:
          count: how many.
          seed: of them.
        """
        rng = np.random.default_rng([seed, 7])
        root = np.linalg.cholesky(self.prior)
        y = rng.standard_normal([count, len(root)]) @ root.T
        x = y @ self.measurement.T
        x = x + _NOISE * rng.standard_normal(x.shape)
        return x.astype(np.float32), y.astype(np.float32)


def super_resolution() -> Problem:
    """Random fields of 8 x 8 pixels, smoother along rows, seen as means over 4 x 4 of them.

    The first three eigenvalues of the posterior covariance are 7.0, 2.1 and 1.3, the next is 0.4.
    """
    at = np.moveaxis(np.indices((_SIDE, _SIDE)), 0, -1).reshape(-1, 2)
    apart = (at[:, None] - at) / [2.0, 5.0]
    prior = np.exp(-0.5 * np.sum(apart**2, -1)) + 0.01 * np.eye(len(at))
    coarse = (at // 4) @ [_SIDE // 4, 1]
    measurement = (coarse == np.arange(4)[:, None]) / 16.0
    seen = measurement @ prior @ measurement.T + _NOISE**2 * np.eye(4)
    gain = prior @ measurement.T @ np.linalg.inv(seen)
    return Problem(measurement, prior, gain, prior - gain @ measurement @ prior)


def measure(problem: dict) -> dict:
    """Trains a head around the exact posterior mean, and compares it with the posterior.

    Args:
      problem: "objective", one of `OBJECTIVES`; "seed"; "epochs".

    Returns:
      log p of test targets and the truth's; the angle in degrees between each component and the
      posterior's; the largest angle between the spans of three; variance along each component over
      the posterior's; coverage and log-volume of conformal regions.
    """
    import keras

    from tf_structvae.models import conformal, wrapped

    keras.utils.set_random_seed(problem["seed"])
    truth = super_resolution()
    x, y = truth.draw(_TRAIN, 3 * problem["seed"])
    size = _SIDE**2
    predictor = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(size, use_bias=False, name="exact")]
    )
    predictor.layers[0].kernel.assign(truth.gain.T)
    model = wrapped.wrap(predictor, _RANK, objective=problem["objective"], width=8)
    steps = problem["epochs"] * (_TRAIN // 100)
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(keras.optimizers.Adam(rate))
    model.fit(x, y, batch_size=100, epochs=problem["epochs"], verbose=0)

    x, y = truth.draw(_TEST, 3 * problem["seed"] + 1)
    calibration = truth.draw(_CALIBRATION, 3 * problem["seed"] + 2)
    values, vectors = np.linalg.eigh(truth.covariance)
    values, vectors = values[::-1][:_RANK], vectors[:, ::-1][:, :_RANK]
    found = model.components(x[:200])
    cosines = np.abs(np.einsum("bkn,nk->bk", found.directions, vectors))
    singular = np.linalg.svd(found.directions[:, :3] @ vectors[:, :3], compute_uv=False)
    result: dict[str, Any] = {
        "log_prob": float(np.mean(model(x).log_prob(y))),
        "log_prob_of_the_truth": float(np.mean(_log_prob(truth, x, y))),
        "angles": _degrees(cosines.mean(0)),
        "subspace": _degrees(singular.min(-1).mean()),
        "variances": [float(v) for v in np.mean(found.stddev**2, 0) / values],
    }
    for kind in conformal.KINDS:
        regions = conformal.calibrate(model, calibration, 0.9, kind)
        result[f"coverage {kind}"] = float(np.mean(regions.contains(x, y)))
        result[f"volume {kind}"] = float(np.mean(regions.volume(x[:200])))
    return result


def _degrees(cosine) -> Any:
    return np.degrees(np.arccos(np.clip(cosine, 0, 1))).tolist()


def _log_prob(truth: Problem, x, y) -> np.ndarray:
    residual = y - x @ truth.gain.T
    root = np.linalg.cholesky(truth.covariance)
    white = np.linalg.solve(root, residual.T)
    constant = len(root) * np.log(2 * np.pi) + 2 * np.sum(np.log(np.diag(root)))
    return -0.5 * (constant + np.sum(white**2, 0))


def jobs(quick: bool) -> list[dict]:
    """Both objectives, three seeds."""
    return [
        {
            "suite": "posterior",
            "problem": {"objective": objective, "seed": seed, "epochs": 5 if quick else 40},
        }
        for seed in range(1 if quick else 3)
        for objective in OBJECTIVES
    ]


def table(results: list[dict]) -> str:
    """A Markdown table, a row a run."""
    titles = (
        "trained by|seed|log p / nats|truth's|angle to the posterior's components 1, 2, 3|"
        "largest angle between their spans|variance along 1, 2, 3 / posterior's|"
        "coverage at 90%: ellipsoid, components, pixels|"
        "log-volume over the pixel box's: ellipsoid, components"
    )
    rows = []
    for r in results:
        head = [r["problem"]["objective"], r["problem"]["seed"]]
        if "error" in r:
            rows.append([*head, r["error"]])
            continue
        box = r["volume pixels"]
        rows.append(
            [
                *head,
                f"{r['log_prob']:.2f}",
                f"{r['log_prob_of_the_truth']:.2f}",
                ", ".join(f"{a:.0f}°" for a in r["angles"][:3]),
                f"{r['subspace']:.0f}°",
                ", ".join(f"{v:.2f}" for v in r["variances"][:3]),
                ", ".join(
                    f"{r[f'coverage {k}']:.3f}" for k in ("ellipsoid", "components", "pixels")
                ),
                ", ".join(f"{r[f'volume {k}'] - box:.1f}" for k in ("ellipsoid", "components")),
            ]
        )
    return markdown.table(titles.split("|"), rows)
