"""What bin/benchmark --suite=priors measures, and its table."""

import numpy as np
import pytest

from tf_structvae.benchmarks import prior


@pytest.mark.parametrize("operation", ["step", "latents", "pictures", "fit"])
def test_operations_do_what_they_are_called(operation):
    run = prior.build(operation, {"kind": "normal", "images": 100})
    found = np.asarray(run())
    shapes = {"step": (9,), "latents": (32, 64), "pictures": (32, 64 * 64 * 3), "fit": (1, 64)}
    assert found.shape == shapes[operation]
    assert np.all(np.isfinite(found))


def test_jobs_are_all_that_a_prior_can_do():
    found = {(j["operation"], j["problem"]["kind"]) for j in prior.jobs(False)}
    assert found == {
        *(("step", k) for k in prior.LEARNED),
        *((o, k) for o in ("latents", "pictures", "fit") for k in prior.FITTED),
    }
    assert ("fit", "flow") not in {(j["operation"], j["problem"]["kind"]) for j in prior.jobs(True)}


def test_the_table_has_times_over_those_of_n_0_i():
    results = [
        {**job, "seconds": 0.25 if job["problem"]["kind"] == "normal" else 0.1}
        for job in prior.jobs(True)
    ]
    rows = prior.table(results).splitlines()
    assert rows[0].endswith("fit / s, 1,000 images |")
    assert rows[3] == "| normal | 250.0 (2.50) | 250.0 (2.50) | 250.0 (2.50) | 0.25 |"
    assert rows[4].startswith("| mixture | - | 100.0 (1.00)")
    assert rows[6].endswith("| - |")
