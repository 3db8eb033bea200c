"""A measure is added by the steps of CONTRIBUTING.md, and is everywhere that a measure is."""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from checkouts import REPOSITORY, copy_repository

pytestmark = pytest.mark.workflow

DECLARATION = '''"""Norm of the last layer."""

from sensigap.declarations.base import NETWORK, Measure, Predictor, Schema, Setting, by_network

LAST_LAYER = Measure(
    name="last_layer",
    title="Norms of the last layer",
    section="Norm of the last layer's weights.",
    settings=(
        Setting(name="order", kind=int, text="order of the norm", default=2, bounds={"ge": 1}),
    ),
    schema=Schema(NETWORK, by_network({"last_layer_norm": "norm of the last layer's weights"})),
    module="sensigap.measures.cohort.last_layer",
    predictors=(
        Predictor(
            name="last_layer",
            label="last layer's norm",
            variable="last_layer_norm",
            sees="weights",
        ),
    ),
    flops=lambda spec, facts, settings: 2.0 * spec.width * facts.classes,
)
'''
MODULE = '''"""Norm of the last layer of each network."""

import numpy as np
import xarray as xr

from sensigap.measures.cohort.members import network_coordinate, silent


def measure(members, images, *, order, device="cpu", advance=silent):
    """The norm of some order of the last layer's weights."""
    norms = [float((stack.weights[-1].abs() ** order).sum() ** (1 / order)) for _, stack in members]
    advance(1.0)
    return xr.Dataset(
        {"last_layer_norm": ("network", np.array(norms, float))}, network_coordinate(members)
    )
'''


def test_a_measure_is_added_by_the_steps_of_contributing(tmp_path):
    steps = (REPOSITORY / "CONTRIBUTING.md").read_text().partition("### A measure")[2]
    named = re.findall(r"`(src/[^`]*)`", steps.partition("\n###")[0])
    files = {
        "src/sensigap/declarations/<name>.py": DECLARATION,
        "src/sensigap/measures/cohort/<name>.py": MODULE,
    }
    assert set(named) == {*files, "src/sensigap/declarations/__init__.py"}
    checkout = copy_repository(tmp_path)
    for name, text in files.items():
        (checkout.folder / name.replace("<name>", "last_layer")).write_text(text)
    init = checkout.folder / "src/sensigap/declarations/__init__.py"
    text = init.read_text()
    text = text.replace(
        "from sensigap.declarations.slices import SLICES\n",
        "from sensigap.declarations.last_layer import LAST_LAYER\n"
        "from sensigap.declarations.slices import SLICES\n",
    ).replace("SLICES, CUSTOM)", "SLICES, CUSTOM, LAST_LAYER)")
    init.write_text(text)
    checkout.configure(
        {
            "measures": {
                "last_layer": {"order": 3},
                "transitions": {"points": 5},
                "ellipses": {"share": 0},
            },
            "analysis": {"minimum_networks": 4},
        }
    )
    assert checkout.jobs()["last_layer"] >= 1
    checkout.snakemake()
    survey = xr.open_zarr(checkout.study / "survey" / "digits.zarr").load()
    fitted = survey["status"] == "fitted"
    assert fitted.sum() >= 4
    norm = survey["last_layer_norm"].to_numpy()
    assert (norm[fitted.to_numpy()] > 0).all()
    assert np.isnan(norm[~fitted.to_numpy()]).all()
    assert survey["last_layer_norm"].attrs["long_name"] == "norm of the last layer's weights"
    board = pd.read_csv(checkout.study / "leaderboard.csv").set_index("measure")
    assert board.loc["last_layer", "label"] == "last layer's norm"
    assert board.loc["last_layer", "n"] == int(fitted.sum())
    report = (checkout.study / "report.html").read_text()
    assert "last layer’s norm" in report or "last layer&#39;s norm" in report
    assert list(checkout.study.glob("timings/last_layer/*.tsv"))
    # its own key reruns it alone
    checkout.configure(
        {
            "measures": {
                "last_layer": {"order": 2},
                "transitions": {"points": 5},
                "ellipses": {"share": 0},
            },
            "analysis": {"minimum_networks": 4},
        }
    )
    after = {"survey", "claims", "leaderboard", "figures", "report"}
    assert checkout.jobs().keys() == {"last_layer", *after}
