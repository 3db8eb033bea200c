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
    file.write_text(text)
    checkout.snakemake("--config", asked)
    board = pd.read_csv(checkout.study / "leaderboard.csv").set_index("label")
    row = board.loc["mean confidence"]
    assert row["measure"] == "custom: mean confidence"
    assert row["n"] == board.loc["Jacobian norm", "n"]
    # another way to the same number
    assert row["raw"] == pytest.approx(-board.loc["1 - confidence", "raw"], abs=1e-6)
    assert "mean confidence" in (checkout.study / "report.html").read_text()

    # the function changes: measured again, and what follows, nothing else
    file.write_text(text.replace(".mean()", ".median()"))
    again = checkout.snakemake("--dry-run", "--config", asked)
    rules = set(re.findall(r"^(\w+) +\d+$", again.stdout + again.stderr, re.MULTILINE))
    assert {"custom", "survey", "leaderboard"} <= rules
    assert not {"train", "jacobian", "transitions", "complexity"} & rules
