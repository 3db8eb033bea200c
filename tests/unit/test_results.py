"""A study's results opened by name."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import sensigap
import synthetic
from made_up_results import SPECS, write_study
from sensigap import survey as stores
from sensigap.analysis.survey_table import with_custom
from sensigap.datasets.sources import read_digits
from sensigap.integrity import DamagedFileError
from sensigap.measures import jacobian_norm
from sensigap.networks import initial
from sensigap.report.tables import write_tables
from sensigap.results import ResultsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("results"))


def test_opens_by_folder(folder):
    results = sensigap.open(folder)
    assert results.datasets == ["digits"]
    assert results.survey().sizes["network"] == 20
    assert results.survey("digits", group="ellipses").sizes["network"] < 20
    table = results.table()
    assert len(table) == 20
    assert (table["dataset"] == "digits").all()
    assert table.loc[SPECS[0].id, "gap"] == pytest.approx(float(results.survey()["gap"][0]))
    assert list(results.units().index) == list(table.columns)


def test_functions_of_ones_own_are_columns_of_the_table(tmp_path):
    said = {}
    for name, seed in (("digits", 0), ("mnist", 1)):
        drawn = synthetic.survey(networks=20, samples=30, pairs=0, seed=seed)
        names = drawn["network"].to_numpy()[1::2][::-1]
        groups = {}
        if name == "mnist":  # of digits no network was measured
            said = dict(zip(names.tolist(), np.arange(len(names)) / 3, strict=True))
            groups["custom"] = xr.Dataset(
                {"value": (("network", "function"), [[value, np.nan] for value in said.values()])},
                {"network": names, "function": ["a mean", "nothing"]},
            )
        stores.write(drawn, tmp_path / "survey" / f"{name}.zarr", "survey", groups=groups)
    results = sensigap.open(tmp_path)
    table, units = results.table(), results.units()
    # as the leaderboard's rows are named
    assert list(table.columns[-2:]) == ["custom: a mean", "custom: nothing"]
    assert table["custom: a mean"].dropna().to_dict() == said
    assert table["custom: nothing"].isna().all()
    assert list(units.index) == list(table.columns)
    assert units.loc["custom: a mean", "description"].startswith("what the function returned")
    assert "custom: a mean" not in results.table("digits")
    assert "custom: a mean" not in results.survey("mnist")
    write_tables(
        {name: with_custom(tmp_path / "survey" / f"{name}.zarr") for name in results.datasets},
        tmp_path / "networks.csv",
        tmp_path / "networks.columns.csv",
    )
    written = pd.read_csv(tmp_path / "networks.csv", index_col="network", dtype={"network": str})
    assert list(written) == list(table)
    assert written["custom: a mean"].dropna().to_dict() == pytest.approx(said)


def test_a_network_is_the_one_with_that_id(folder):
    results = sensigap.open(folder)
    x = results.inputs("digits")
    for one in SPECS:
        expected = initial([one], 64, 10).logits(x[:5])[0]
        torch.testing.assert_close(results.network(one.id)(x[:5]), expected)
    assert not results.network(SPECS[0].id).training
    # its norm by the measure, and by autograd
    network = results.network(SPECS[2].id[:8])
    norm = jacobian_norm(network, x[:1])
    slow = torch.autograd.functional.jacobian(lambda v: network(v).softmax(-1), x[:1])
    torch.testing.assert_close(norm[0], slow.norm().to(norm.dtype), rtol=1e-4, atol=0)


def test_images_are_the_published_ones(folder):
    images = sensigap.open(folder).images()
    assert images.checksum == read_digits()[0].checksum


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.survey("mnist"), r"no data set 'mnist'; it has digits"),
        (lambda r: r.survey(group="slices"), r"no group 'slices'; it has ellipses"),
        (lambda r: r.network(""), r"expected one"),
        (lambda r: r.network("zzzz"), r"0 networks .* 'zzzz'"),
        (lambda r: r.claims(), r"claims.csv is missing"),
        (lambda r: r.leaderboard(), r"leaderboard.csv is missing"),
    ],
)
def test_what_is_not_there_is_told(folder, ask, message):
    with pytest.raises(ResultsError, match=message):
        ask(sensigap.open(folder))


def test_a_folder_without_surveys(tmp_path):
    with pytest.raises(ResultsError, match="holds no results: expected a study's folder"):
        sensigap.open(tmp_path)


def test_networks_without_weights(folder, tmp_path):
    elsewhere = tmp_path / "demo"
    (elsewhere / "survey").mkdir(parents=True)
    (elsewhere / "survey" / "digits.zarr").symlink_to(folder / "survey" / "digits.zarr")
    with pytest.raises(DamagedFileError, match="missing"):
        sensigap.open(elsewhere).network(SPECS[0].id)


def test_opens_as_a_tree(folder):
    store = folder / "survey" / "digits.zarr"
    tree = xr.open_datatree(store, engine="zarr")
    assert set(tree.children) == {"ellipses"}
    chosen = tree["ellipses"]["ellipses_network"].to_numpy().tolist()
    assert chosen == stores.read(store, "ellipses", group="ellipses")["network"].to_numpy().tolist()
    assert tree["gap"].sel(network=chosen).sizes["network"] == len(chosen)
