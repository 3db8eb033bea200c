"""A function of one's own to its row on the leaderboard, as the README says."""

import re

import pandas as pd
import pytest

from checkouts import REPOSITORY, copy_repository

pytestmark = pytest.mark.workflow


def readme_example():
    """The README's file, and how it is named on the command line."""
    section = (REPOSITORY / "README.md").read_text().partition("**On the leaderboard.**")[2]
    (text,) = re.findall(r"cat > my_measures.py <<'END'\n(.*?)END\n", section, re.DOTALL)
    (asked,) = re.findall(r"--config (\S+)='(.*)'\"\n", section)
    return text, "=".join(asked)


def test_a_function_is_a_row_of_the_leaderboard(tmp_path):
    checkout = copy_repository(tmp_path)
    checkout.configure(
        {
            "survey": [
                {"search": "grid", "axes": {"depth": [1, 2], "width": [16, 24, 32], "seed": [0, 1]}}
            ],
            "measures": {"transitions": {"points": 5}, "ellipses": {"share": 0}},
            "analysis": {"minimum_networks": 4},
        }
    )
    text, asked = readme_example()
    file = checkout.folder / "my_measures.py"
    # named, and not there
    told = checkout.snakemake("--config", asked, check=False)
    assert told.returncode != 0
    assert "there is no my_measures.py" in told.stderr
    # there, and imports what is not
    file.write_text(f"import nosuchmodule\n\n{text}")
    told = checkout.snakemake("--dry-run", "--config", asked, check=False)
    assert told.returncode != 0
    assert "my_measures.py:1 imports nosuchmodule, which is neither beside it nor installed" in (
        told.stderr
    )
    file.write_text(text)
    checkout.snakemake("--config", asked)
    board = pd.read_csv(checkout.study / "leaderboard.csv").set_index("label")
    row = board.loc["mean confidence"]
    assert row["measure"] == "custom: mean confidence"
    assert row["n"] == board.loc["Jacobian norm", "n"]
    # another way to the same number
    assert row["raw"] == pytest.approx(-board.loc["1 - confidence", "raw"], abs=1e-6)
    report = (checkout.study / "report.html").read_text()
    assert "mean confidence" in report
    # the numbers themselves are in the flat table
    networks = pd.read_csv(checkout.study / "networks.csv")
    confidence = networks.loc[networks["status"] == "fitted", "custom: mean confidence"]
    assert confidence.between(0.1, 1).all()
    columns = pd.read_csv(checkout.study / "networks.columns.csv", index_col="column")
    assert "custom: mean confidence" in columns.index
    # what the images are is told, and what the configuration does not ask for
    facts = "100 training images and 1,297 test images of 1 × 8 × 8 (channels × height × width), 10"
    assert f"<dd>{facts} classes; transitions at 5 of the test images.</dd>" in report
    assert "Not in this study: " in report

    # the function changes: measured again, and what follows, nothing else
    file.write_text(text.replace(".mean()", ".median()"))
    again = checkout.snakemake("--dry-run", "--config", asked)
    rules = set(re.findall(r"^(\w+) +\d+$", again.stdout + again.stderr, re.MULTILINE))
    assert {"custom", "survey", "leaderboard"} <= rules
    assert not {"train", "jacobian", "transitions", "complexity"} & rules
