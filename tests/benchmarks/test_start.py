"""Times from an empty process to the first step and the first answer."""

import subprocess
import sys

import pytest

from tf_structvae.benchmarks import start

EMPTY = """
import sys
import tf_structvae.benchmarks.start
import tf_structvae.benchmarks.worker
print(sorted({"tensorflow", "keras", "tensorflow_probability", "torch"} & set(sys.modules)))
"""


def test_nothing_is_imported_before_it_is_measured():
    done = subprocess.run([sys.executable, "-c", EMPTY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_table_has_the_median_and_the_longest():
    lines = start.table([{"stage": "second step", "seconds": [0.5, 0.1, 0.3]}]).splitlines()
    assert lines[2] == "| second step | 0.30 | 0.50 |"


@pytest.mark.long
def test_suite():
    stages = {r["stage"]: r["seconds"] for r in start.run(quick=True)}
    assert len(stages) == 10
    assert all(len(times) == 1 and times[0] > 0 for times in stages.values())
    assert stages["second step"] < stages["first step: tracing"]
