"""The environment of the oldest releases is the one that setup.py allows."""

import oldest


def numbers(version):
    parts = [int(n) for n in version.split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def test_constraints_pin_the_lower_bounds_of_setup():
    bounds, pinned = oldest.lower_bounds(), oldest.pinned()
    assert len(bounds) > 25
    missing = sorted(set(bounds) - set(pinned))
    assert not missing, f"not in {oldest.FILE.name}: {missing}; run `make constraints-oldest`"
    different = {k: (v, pinned[k]) for k, v in bounds.items() if numbers(v) != numbers(pinned[k])}
    assert not different, f"setup.py and {oldest.FILE.name} differ: {different}"
