"""A study that asks to stop where its pilot foretells too few networks."""

import pandas as pd
import pytest

from checkouts import copy_repository

pytestmark = pytest.mark.workflow
#: two steps fit nothing; two architectures would not do if they did
HOPELESS = {
    "defaults": {"steps": 2, "batch_size": 20, "width": 8},
    "survey": [
        {"search": "random", "draws": 90, "axes": {"depth": [1, 2], "gain": [1.0, 2.0]}},
    ],
    "factors": {},
    "measures": {"ellipses": {"share": 0}},
}


def test_it_ends_there_and_keeps_what_it_says(tmp_path):
    checkout = copy_repository(tmp_path)
    checkout.configure(HOPELESS | {"execution": {"pilot": "stop"}})
    done = checkout.snakemake(command=("workflow/run.py",), check=False)
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert "The pilot foretells too few networks" in text
    assert "results/tiny/pilot.txt says what to change" in text
    assert "Traceback" not in text
    table = pd.read_csv(checkout.study / "pilot.csv")
    assert set(table["outlook"].dropna()) == {"too few"}
    assert "0 of" in (checkout.study / "pilot.txt").read_text()
    trained = len(checkout.weights())
    assert not list(checkout.study.glob("measures/*/*")), "nothing was measured"
    # again: it says so at once, and trains nothing
    again = checkout.snakemake(command=("workflow/run.py",), check=False)
    assert again.returncode == 1
    assert "The pilot foretells too few networks" in again.stdout + again.stderr
    assert len(checkout.weights()) == trained
    # the pilot by itself is no failure
    checkout.snakemake(command=("workflow/run.py", "pilot", "--forcerun", "pilot"))
    # and with it off the others follow
    checkout.configure(HOPELESS | {"execution": {"pilot": "warn"}})
    checkout.snakemake("--until", "train", command=("workflow/run.py",))
    assert len(checkout.weights()) > trained
