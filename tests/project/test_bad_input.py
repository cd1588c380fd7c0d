"""Bad input ends in one clear error: the table is in bad_input_cases.py and the files it names."""

import bad_input_data
import bad_input_models
import bad_input_tools
import pytest

CASES = [*bad_input_models.TABLE, *bad_input_data.TABLE, *bad_input_tools.TABLE]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_bad_input(case, tmp_path):
    with pytest.raises(case.error, match=case.pattern) as caught:
        case.call(tmp_path)
    assert len(str(caught.value)) < 1500  # no dump of tensors
    assert caught.value.__class__.__module__ != "tensorflow.python.framework.errors_impl" or (
        case.error is not ValueError
    )


def test_rows_have_names_of_their_own():
    names = [c.name for c in CASES]
    assert len(set(names)) == len(names)
