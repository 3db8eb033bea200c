"""The records of the factors, and what follows from them."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sensigap.factors import FACTORS, Factor, Side
from sensigap.report.claims import CLAIMS

REPOSITORY = Path(__file__).parents[2]

#: another factor, everywhere, from its record alone
ANOTHER = """
from sensigap.factors import FACTORS, Factor, Side

FACTORS["scale"] = Factor(
    name="scale",
    claim="C3",
    worse=Side(
        name="wide", hyperparameters={"gain": 4.0}, words="large weights", unused=("width",)
    ),
    better=Side(name="plain", hyperparameters={"gain": 1.0}, words="usual weights"),
    key="large against usual initial weights (C3)",
    title="scale of weights",
    note="told in every row",
    transitions_note="told of transitions",
    caption="Of the scale, this is said.",
)

import csv
import io

import synthetic
from sensigap import schema
from sensigap.analysis.claims import Settings, claims
from sensigap.config import ConfigError, documentation, load
from sensigap.design import design, table
from sensigap.figures import factors
from sensigap.report.content import network_rows

STUDY = {
    "study": "t",
    "datasets": {"digits": {}},
    "survey": [{"search": "grid", "axes": {"seed": [0]}}],
}

# configuration
assert "| `scale` | null, or a mapping |  | `null` | large against usual" in documentation.tables()
try:
    load(STUDY | {"factors": {"scale": {"axes": {"gain": [1.0], "width": [8, 16]}}}})
except ConfigError as error:
    assert len(error.faults) == 2
    assert "factors.scale.axes.gain: the factor's own hyper-parameter" in str(error)
    assert 'found 2 values; allowed: one value: the side "large weights" does not' in str(error)
else:
    raise AssertionError("a factor's own axis is allowed")

# design
members = design(load(STUDY | {"factors": {"scale": {"axes": {"depth": [1, 2]}}}}))
paired = [member for member in members.values() if member.pairs]
sides = sorted((m.spec.depth, m.pairs["scale"][1], m.spec.gain) for m in paired)
assert sides == [(1, "plain", 1.0), (1, "wide", 4.0), (2, "plain", 1.0), (2, "wide", 4.0)]
rows = list(csv.DictReader(io.StringIO(table(members))))
assert sum(row["side_scale"] == "wide" for row in rows) == 2

# survey
survey = synthetic.survey(
    networks=60, samples=60, transition_points=20, pairs={"scale": 40}, seed=3, unfitted=0
)
assert "pair_scale" in schema.SCHEMAS["survey"].coordinates

# table of claims
found = claims({"digits": survey}, {}, Settings(bootstrap=200, point_networks=2)).set_index("key")
for what in ("", ".gap", ".norm", ".transitions"):
    row = found.loc[f"C3.scale{what}"]
    assert row["claim"] == "C3"
    assert row["verdict"] == "supported"
    assert row["primary"] == (what == "")
    assert "told in every row" in row["remarks"]
    assert ("told of transitions" in row["remarks"]) == (what == ".transitions")
    assert "wide" in row["effect"] and "plain" in row["effect"]

# figure and report
drawn = factors.figure({"digits": survey})
assert set(drawn.numbers["factor"]) == {"scale"}
said = str(drawn.caption)
assert "this is said." in said and "digits, scale of weights: n = " in said
panels = [panel for panel in drawn.figure.axes if panel.axison]
assert panels[0].get_title(loc="left") == "scale of weights"
assert panels[0].get_xlabel() == "usual weights"
assert panels[-1].get_xlabel() == "usual weights\\n(worse: large weights)"
assert any(row["group"] == "pairs: scale" for row in network_rows({"digits": survey}))
print("everywhere")
"""


def test_a_factor_is_one_record():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ANOTHER],
        env={"PYTHONPATH": f"{REPOSITORY / 'src'}:{Path(__file__).parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "everywhere\n", done.stderr


def test_records_have_the_names_that_they_stand_under():
    # the rows that the claims stand or fall by, see STATISTICS
    primary = [name for name, record in FACTORS.items() if record.primary]
    assert primary == ["labels", "augmentation", "unit", "batch", "noise"]
    assert [name for name in FACTORS if name not in primary] == [
        *("augmentation_10", "augmentation_30", "augmentation_100"),
        *("batch_loss", "lbfgs", "noise_half"),
    ]
    assert [(name, record.name) for name, record in FACTORS.items()] == [
        (name, name) for name in FACTORS
    ]
    assert {(record.worse.name, record.better.name) for record in FACTORS.values()} == {
        ("random", "true"),
        ("none", "augmented"),
        ("hardsigmoid", "relu"),
        ("full", "minibatch"),
        ("none", "noise"),
    }
    assert {record.claim for record in FACTORS.values()} <= set(CLAIMS)


def test_the_full_batch_is_known():
    for name, record in FACTORS.items():
        full = name in ("batch", "batch_loss", "lbfgs")
        assert (record.full_batch, record.minibatch) == (record.sides if full else (None, None))


def test_a_side_takes_settings_of_the_data_set():
    settings = SimpleNamespace(train_size=300, input_noise=0.5)
    assert FACTORS["noise_half"].better.made(settings) == {"input_noise": 0.25}
    assert FACTORS["batch"].worse.made(settings) == {"optimizer": "momentum", "batch_size": 300}
    assert FACTORS["batch"].better.made(settings) == {"optimizer": "momentum"}


@pytest.mark.parametrize(
    ("name", "hyperparameters"), [("one", {"gain": 2.0}), ("two", {"width": 2}), ("two", {})]
)
def test_sides_that_are_no_pair_are_refused(name, hyperparameters):
    with pytest.raises(ValueError, match="'f': expected sides of two names"):
        Factor(
            name="f",
            claim="C3",
            worse=Side(name="one", hyperparameters={"gain": 1.0}, words="one"),
            better=Side(name=name, hyperparameters=hyperparameters, words="two"),
            key="k",
            title="t",
        )
