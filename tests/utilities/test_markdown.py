from tf_structvae.utilities import markdown


def test_table():
    rows = [("a", 1, 2.5), ["", "failed"]]
    assert markdown.table(["", "x", "y"], rows) == (
        "| | x | y |\n|---|---|---|\n| a | 1 | 2.5 |\n| | failed | |"
    )
