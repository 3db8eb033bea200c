"""Functions of one's own: found, refused, called, and on the leaderboard."""

import importlib.util
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import synthetic
from measure_helpers import spec
from sensigap import config, custom
from sensigap import survey as stores
from sensigap.analysis.leaderboard import write_leaderboard
from sensigap.analysis.verdicts import Settings
from sensigap.custom import CustomMeasureError
from sensigap.datasets.images import standardise, training_subset
from sensigap.datasets.sources import read_digits
from sensigap.measures.cohort.custom import Data, measure
from sensigap.networks import initial
from sensigap.workplan import WorkPlan

FILE = '''"""Some measures."""

import math
from math import gcd as common

import torch
import helper_beside

LARGEST = max


def norm(network, data):
    return sum(p.square().sum().item() for p in network.parameters()) ** 0.5


def drawn(network, data):
    return torch.rand(())


def seen(network, data):
    assert network(data.train_images).shape == (len(data.train_labels), data.classes)
    with torch.no_grad():
        network[0].weight.zero_()
    return helper_beside.ONE


def nothing(network, data):
    return math.nan if data.spec.width == 8 else math.inf


def fails(network, data):
    data.spec.depth
    raise KeyError("no such thing")


def asserts(network, data):
    assert len(data.test_images) == 0


def deeper(network, data):
    return fails(network, data)


def layers(network, data):
    return network(data.test_images[:, 1:])


def text(network, data):
    return "many"
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "helper_beside.py").write_text("ONE = 1\n")
    return tmp_path


@pytest.fixture(scope="module")
def images():
    return read_digits()[0]


def measured(images, *names):
    specs = [spec(width=8), spec(width=16, labels="random"), spec(width=16)]
    members = [(one, initial([one], 64, 10)) for one in specs]
    functions = {name: {"function": f"mine.py:{name}", "code": ""} for name in names}
    return members, measure(members, images, functions=functions)


def test_functions_are_called_on_every_network(folder, images):
    members, found = measured(images, "norm", "seen", "drawn")
    assert found["function"].to_numpy().tolist() == ["norm", "seen", "drawn"]
    assert found["network"].to_numpy().tolist() == [one.id for one, _ in members]
    for one, stack in members:
        squares = sum(float((w**2).sum()) for w in (*stack.weights, *stack.biases))
        value = float(found["value"].sel(network=one.id, function="norm"))
        # `seen` zeroes a network that is its own
        assert value == pytest.approx(math.sqrt(squares), rel=1e-6)
    assert (found["value"].sel(function="seen") == 1).all()


def test_a_function_that_draws_gives_the_same_again_and_leaves_the_generator(folder, images):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = measured(images, "drawn")[1]["value"]
    torch.testing.assert_close(torch.rand(2), expected)
    assert len(np.unique(first)) == 3
    xr.testing.assert_equal(first, measured(images, "norm", "drawn")[1]["value"][:, 1:])


def test_what_is_no_number_is_missing(folder, images):
    assert np.isnan(measured(images, "nothing")[1]["value"]).all()


#: function -> the line in which it fails, '' where all of it ran; and what it says
FAILING = {
    "fails": ('    raise KeyError("no such thing")', "KeyError: 'no such thing'"),
    "deeper": ('    raise KeyError("no such thing")', "KeyError: 'no such thing'"),
    "asserts": ("    assert len(data.test_images) == 0", "AssertionError"),
    # in torch, and asked for here
    "layers": ("    return network(data.test_images[:, 1:])", "RuntimeError: "),
    "text": ("", "ValueError: could not convert string to float: 'many'"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_function_that_fails_names_its_line_and_the_network(folder, images, name):
    with pytest.raises(CustomMeasureError) as raised:
        measured(images, name)
    text, why = str(raised.value), FAILING[name][1]
    line = FAILING[name][0] and f"at mine.py:{FILE.splitlines().index(FAILING[name][0]) + 1} "
    assert text.startswith(
        f"mine.py:{name}, of measure {name!r}, failed {line}on network {spec(width=8).id}: {why}"
    )
    assert "\n" not in text
    assert text.endswith(". Expected a number; try it with sensigap.open(...).network(id)")


def test_a_function_that_is_only_imported_is_told_by_its_own_file(folder, images):
    (folder / "other.py").write_text("def theirs(network, data):\n    return 1 / 0\n")
    (folder / "mine.py").write_text("from other import theirs\n")
    where = re.escape(f"failed at {folder / 'other.py'}:2 on network")
    with pytest.raises(CustomMeasureError, match=rf"{where} .*ZeroDivisionError: division by zero"):
        measured(images, "theirs")


def test_the_data_are_those_of_the_network(folder, images, monkeypatch):
    got = []

    def keep(reference):
        return lambda network, data: got.append(data) or 0.0

    monkeypatch.setattr("sensigap.measures.cohort.custom.custom.load", keep)
    members, _ = measured(images, "norm")
    chosen = training_subset(images, 500, 0)
    for data, (one, _) in zip(got, members, strict=True):
        assert isinstance(data, Data)
        assert data.spec == one
        inputs = standardise(images.train_images[chosen])
        np.testing.assert_array_equal(data.train_images, inputs)
        same = (data.train_labels.numpy() == images.train_labels[chosen]).mean()
        assert same < 0.3 if one.labels == "random" else same == 1
        assert len(data.test_images) == images.test_size


def assert_refused(reference, text):
    """By the library, and by the configuration in the fault of that key."""
    with pytest.raises(CustomMeasureError, match=text):
        custom.source(reference)
    with pytest.raises(config.ConfigError, match=f"measures.custom.functions.*{text}"):
        config.load(mapping({"a measure": reference}))


REFUSED = {
    "mine": "not of the form",
    "mine.py:": "not of the form",
    "mine.py:a b": "not of the form",
    ":norm": "not of the form",
    "theirs.py:norm": "there is no theirs.py",
    "theirs:norm": "there is no module theirs",
    "mine.py:norms": "defines no norms; it defines LARGEST, asserts, common, deeper",
    "broken.py:norm": "broken.py is not Python",
}


@pytest.mark.parametrize("reference", REFUSED)
def test_what_is_not_there_is_told_before_anything_runs(folder, reference):
    (folder / "broken.py").write_text("def norm(:\n")
    assert_refused(reference, REFUSED[reference])


#: lines of a file -> what is told of them
NOT_THERE = {
    "import nosuchmodule": r"bad.py:3 imports nosuchmodule, which is neither beside it nor install",
    "import math, nosuchmodule.sub as sub": "bad.py:3 imports nosuchmodule,",
    "from nosuchmodule import this": "bad.py:3 imports nosuchmodule,",
    "from nosuchmodule.sub import this": "bad.py:3 imports nosuchmodule,",
    "from . import helper_beside": "bad.py:3 imports relatively",
    "import beside_fails": "beside_fails.py:1 imports nosuchmodule,",
    "import beside_broken": "beside_broken.py is not Python",
}


@pytest.mark.parametrize("line", NOT_THERE)
def test_an_import_of_what_is_not_there_is_told_before_anything_runs(folder, line):
    (folder / "bad.py").write_text(f'"""Mine."""\n\n{line}\n\n\ndef norm(network, data): ...\n')
    (folder / "beside_fails.py").write_text("import nosuchmodule, bad\n")
    (folder / "beside_broken.py").write_text("def (:\n")
    assert_refused("bad.py:norm", NOT_THERE[line])


def test_imports_are_looked_for_without_importing(folder, monkeypatch):
    text = """
from __future__ import annotations
import builtins, os.path, helper_beside, mine
import torch.nn, torchvision.nosuch, safetensors
from helper_beside import TWO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nosuchmodule
try:
    import nosuchmodule
except ImportError:
    nosuchmodule = None

def norm(network, data):
    import nosuchmodule
"""
    (folder / "good.py").write_text(text)
    (folder / "helper_beside.py").write_text("import good, torch\nraise ValueError\n")
    (folder / "packages").mkdir()
    find = importlib.util.find_spec
    # the process that plans a run may have no torch
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name[:5] != "torch" and find(name)
    )
    assert custom.source("good.py:norm").name == "good.py"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("from math import nosuch", "ImportError: cannot import name 'nosuch' from 'math'"),
        ("import torch.nosuch", "ModuleNotFoundError: No module named 'torch.nosuch'"),
        ("x = torch", "NameError: name 'torch' is not defined"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("import beside", "NameError: name 'torch' is not defined"),
    ],
)
def test_a_file_that_fails_as_it_is_imported_is_told_in_a_line(folder, lines, why):
    (folder / "bad.py").write_text(f"def norm(network, data): ...\n\n{lines}\n")
    (folder / "beside.py").write_text("torch\n")
    with pytest.raises(CustomMeasureError) as raised:
        custom.load("bad.py:norm")
    text = str(raised.value)
    assert text.startswith(f"bad.py:3 fails when it is imported: {why}")
    assert text.endswith(". Expected a file that Python imports; try python bad.py")
    assert "\n" not in text


@pytest.mark.parametrize(
    "reference", ["mine.py:norm", "mine:norm", "mine.py:common", "mine:LARGEST"]
)
def test_what_is_there_is_found(folder, reference):
    assert custom.source(reference).resolve() == folder / "mine.py"
    assert callable(custom.load(reference))
    assert config.load(mapping({"a": reference})).measures.custom.functions == {"a": reference}


def test_a_name_that_is_no_function_is_refused_when_it_is_loaded(folder):
    (folder / "values.py").write_text("value = 3\n")
    with pytest.raises(CustomMeasureError, match="is 3: expected a function"):
        custom.load("values.py:value")


def mapping(functions):
    return {
        "study": "small",
        "datasets": {"digits": {}},
        "survey": [{"search": "grid", "axes": {"depth": [1, 2], "seed": [0, 1]}}],
        "measures": {"custom": {"functions": functions}},
    }


def test_a_change_of_the_file_is_measured_again_and_nothing_else(folder):
    def made_by():
        plan = WorkPlan(mapping({"a": "mine.py:norm"}), folder / "results")
        (cohort,) = plan.measured("custom")
        names = ("custom", "jacobian")
        return {name: plan.made_by(name, plan.settings(name, cohort)) for name in names}

    before = made_by()
    (folder / "mine.py").write_text(FILE + "# changed\n")
    after = made_by()
    assert after["custom"] != before["custom"]
    assert after["jacobian"] == before["jacobian"]


def test_without_functions_nothing_is_measured(folder):
    plan = WorkPlan(mapping({}), folder / "results")
    assert plan.measured("custom") == []
    assert len(plan.measured("jacobian")) == 1


def test_functions_stand_on_the_leaderboard(tmp_path):
    drawn = synthetic.survey(networks=80, samples=40)
    names = drawn["network"].to_numpy()
    gap, rng = drawn["gap"].to_numpy(), np.random.default_rng(0)
    group = xr.Dataset(
        {
            "value": (
                ("network", "function"),
                np.column_stack([gap, rng.random(len(gap)), np.full(len(gap), np.nan)])[::-1],
            )
        },
        {"network": names[::-1], "function": ["the gap", "a coin", "none"]},
    )
    store = tmp_path / "digits.zarr"
    stores.write(drawn, store, "survey", groups={"custom": group})
    write_leaderboard({"digits": store}, tmp_path / "board.csv", Settings(bootstrap=200))
    board = pd.read_csv(tmp_path / "board.csv").set_index("label")
    assert board.loc["the gap", "measure"] == "custom: the gap"
    assert board.loc["the gap", "raw"] == pytest.approx(1)
    assert board.loc["the gap", "within"] == pytest.approx(1)
    assert board.loc["the gap", "sees"] == "test inputs"
    assert not board.loc["the gap", "own"]
    assert abs(board.loc["a coin", "raw"]) < 0.5
    assert board.loc["none", "n"] == 0
    # the others are as they are without it
    stores.write(drawn, store, "survey")
    write_leaderboard({"digits": store}, tmp_path / "without.csv", Settings(bootstrap=200))
    without = pd.read_csv(tmp_path / "without.csv").set_index("label")
    pd.testing.assert_frame_equal(board.loc[without.index], without)
