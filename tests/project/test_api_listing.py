"""The public API does not change by accident."""

import difflib

import api_listing
import forked


def test_public_api_is_the_listed_one():
    listed = api_listing.FILE.read_text().splitlines()
    lines = difflib.unified_diff(listed, api_listing.current(), "listed", "found", "", "", 0, "")
    changes = "\n".join(lines)
    assert not changes, (
        f"the public API differs from tests/{api_listing.FILE.name}:\n{changes}\nIf that is meant, "
        "run `make public-api` and commit the file; CONTRIBUTING.md tells what it means for the "
        "version."
    )


def test_listing_tells_names_parameters_and_defaults():
    found = api_listing.current()
    assert "tf_structvae.editing.slerp(a, b, t)" in found
    assert "tf_structvae.constraints.KINDS" in found
    start = "tf_structvae.Constraint(name, target, kind='clamped_equality', rate=1.0,"
    assert any(line.startswith(start) for line in found)
    assert "tf_structvae.Constraint.gap(self, value)" in found
    assert not [line for line in found if "._" in line or " at 0x" in line]


def test_listing_reports_a_changed_signature():
    code = """
import api_listing, tf_structvae.distributions.editing as editing
before = set(api_listing.current())
editing.slerp = lambda a, b: a
editing.slerp.__module__, editing.slerp.__name__ = editing.__name__, "slerp"
print(*sorted(before ^ set(api_listing.current())), sep="\\n")
"""
    done = forked.run("-c", code)
    assert done.stdout.split("\n")[:2] == [
        "tf_structvae.editing.slerp(a, b)",
        "tf_structvae.editing.slerp(a, b, t)",
    ]
