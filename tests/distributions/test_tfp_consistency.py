"""TFP's own consistency checks for vector distributions, run on ours."""

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from tensorflow_probability.python.internal import test_util

from tf_structvae.distributions import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
)

RNG = np.random.default_rng(0)
LOC = RNG.normal(size=2).astype(np.float32)
FACTOR = RNG.normal(size=(2, 1)).astype(np.float32)
CASES = {
    "dense": lambda: LowRankMultivariateNormal(LOC, 0.5 * FACTOR, np.float32(0.5)),
    "diagonal": lambda: LowRankMultivariateNormal(
        LOC, 0.5 * FACTOR, np.array([0.3, 0.9], np.float32)
    ),
    "features": lambda: FeatureLowRankMultivariateNormal(
        LOC, FACTOR, np.full((1, 1, 1), 0.5, np.float32), np.float32(0.5)
    ),
}


@pytest.fixture(autouse=True)
def _flags_of_tfps_helpers():
    """Their defaults; those of programs that other tests import may be required."""
    flags.FLAGS.mark_as_parsed()
    yield
    flags.FLAGS.unparse_flags()


class Helpers(test_util.TestCase, test_util.VectorDistributionTestHelpers):
    __test__ = False

    def runTest(self):
        """unittest wants one."""


@pytest.mark.parametrize("case", CASES)
def test_density_is_that_of_the_samples(case):
    """Importance weights of the samples integrate to the volume of a ball, within 4%."""
    helpers = Helpers()
    helpers.setUp()
    helpers.run_test_sample_consistent_log_prob(
        helpers.evaluate,
        CASES[case](),
        num_samples=int(1e5),
        radius=1.0,
        center=tf.constant(LOC),
        rtol=0.04,
        seed=42,
    )


@pytest.mark.parametrize("case", CASES)
def test_moments_are_those_of_the_samples(case):
    helpers = Helpers()
    helpers.setUp()
    helpers.run_test_sample_consistent_mean_covariance(
        helpers.evaluate,
        CASES[case](),
        num_samples=int(1e5),
        seed=43,
        rtol=0.02,
        cov_rtol=0.04,
    )
