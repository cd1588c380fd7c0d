"""How far runs on one and on several devices may be apart."""

import binding
import numpy as np

LIMIT = 600  # seconds; a deadlock shall fail


def assert_same(one, two):
    assert (one[0], two[0]) == (1, 2)
    assert one[1].keys() == two[1].keys()
    for name in one[1]:
        np.testing.assert_allclose(two[1][name], one[1][name], rtol=1e-5, atol=1e-5, err_msg=name)
    binding.multipliers(one[2])
    for (path, a), b in zip(one[2].items(), two[2].values(), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5, err_msg=path)
