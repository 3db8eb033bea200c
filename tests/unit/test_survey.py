import numpy as np
import pytest
import xarray as xr

from sensigap import records, survey
from sensigap.integrity import DamagedFileError
from sensigap.schema import SCHEMAS


@pytest.fixture
def transitions():
    return xr.Dataset(
        {
            "transitions": (("network", "sample"), np.arange(6.0).reshape(2, 3)),
            "transitions_points": ("network", np.array([3, 3])),
            "transitions_error": ("network", np.array([0.1, np.nan])),
        },
        coords={"network": ["a", "bb"], "sample": np.arange(3), "label": ("sample", [1, 0, 1])},
    )


@pytest.fixture
def curves():
    values = np.ones((2, 1))
    return xr.Dataset(
        dict.fromkeys(
            ("loss", "accuracy", "gradient_norm", "seconds"), (("network", "check"), values)
        ),
        coords={"network": ["a", "bb"], "step": ("check", [1])},
    )


def test_round_trip_without_a_warning_as_the_workflow_leaves_it(tmp_path, transitions, curves):
    path = tmp_path / "store.zarr"
    survey.write(
        transitions, path, "transitions", groups={"training": curves}, attributes={"a": "b"}
    )
    (path / ".snakemake_timestamp").touch()
    # warnings are errors here
    opened = xr.open_zarr(path)
    xr.testing.assert_equal(opened.load(), transitions)
    assert opened.attrs["a"] == "b"
    assert opened["transitions"].attrs["units"] == "1"
    assert "transitions" in opened["transitions"].attrs["long_name"]
    xr.testing.assert_equal(survey.read(path, "curves", group="training").load(), curves)


def test_writing_again_replaces(tmp_path, transitions):
    path = tmp_path / "store.zarr"
    survey.write(transitions, path, "transitions")
    survey.write(transitions.isel(network=[1]), path, "transitions")
    assert survey.read(path, "transitions")["network"].values.tolist() == ["bb"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["store.zarr"]


def test_no_networks_can_be_stored(tmp_path, transitions):
    path = tmp_path / "store.zarr"
    survey.write(transitions.isel(network=[]), path, "transitions")
    assert survey.read(path, "transitions").sizes["network"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.drop_vars("label"),
            r"coordinate 'label' is missing; present: network, sample",
        ),
        (lambda d: d.assign(x=1), r"variable 'x' is not in the schema; expected: transitions"),
        (
            lambda d: d.transpose(),
            r"expected dims \('network', 'sample'\), found \('sample', 'network'\)",
        ),
        (lambda d: d.astype(str), r"'transitions': expected float, found <U"),
        (lambda d: d.assign_coords(network=["a", "a"]), r"more than once: a"),
    ],
)
def test_every_departure_from_the_contract_is_named(tmp_path, transitions, change, message):
    with pytest.raises(survey.SchemaError, match=message):
        survey.write(change(transitions), tmp_path / "store.zarr", "transitions")
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_missing_or_cut_short_is_told(tmp_path, transitions):
    path = tmp_path / "store.zarr"
    with pytest.raises(FileNotFoundError, match="no consolidated Zarr store"):
        survey.read(path, "transitions")
    survey.write(transitions, path, "transitions")
    (path / records.INSIDE).unlink()
    with pytest.raises(DamagedFileError, match=r"store\.zarr is damaged: \.record\.json"):
        survey.read(path, "transitions")


def test_every_variable_says_what_it_is():
    for schema in SCHEMAS.values():
        for variable in {**schema.coordinates, **schema.variables}.values():
            assert variable.long_name
            assert variable.units
            assert variable.kind in ("float", "int", "bool", "str")


@pytest.mark.parametrize("damage", ["a chunk is missing", "a chunk is cut", "a value is another"])
def test_a_damaged_store_is_named_and_set_aside(tmp_path, transitions, damage):
    path = tmp_path / "store.zarr"
    survey.write(transitions, path, "transitions")
    chunk = path / "transitions" / "0.0"
    if damage == "a chunk is missing":
        chunk.unlink()
    elif damage == "a chunk is cut":
        chunk.write_bytes(chunk.read_bytes()[:-3])
    else:
        other = tmp_path / "other.zarr"
        survey.write(transitions + 1, other, "transitions")
        chunk.write_bytes((other / "transitions" / "0.0").read_bytes())
    with pytest.raises(DamagedFileError, match=r"store\.zarr is damaged.*run the workflow again"):
        survey.load(path, "transitions")
    assert not path.exists()
    assert (tmp_path / "store.zarr.damaged").is_dir()


def test_a_sound_store_loads(tmp_path, transitions, curves):
    path = tmp_path / "store.zarr"
    survey.write(transitions, path, "transitions", groups={"training": curves})
    xr.testing.assert_equal(survey.load(path, "transitions"), transitions)
    xr.testing.assert_equal(survey.load(path, "curves", group="training"), curves)


def test_a_checksum_by_parts_is_that_of_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(11, 7))
    values[3, 2] = np.nan
    dataset = xr.Dataset(
        {"a": (("x", "y"), values), "b": ("x", np.arange(11)), "c": ((), 2.5)},
        coords={"x": np.array([f"n{k}" for k in range(11)], object)},
    )
    whole = survey._checksum(dataset)
    monkeypatch.setattr(survey, "_PART", 15)
    assert survey._checksum(dataset) == whole
    assert survey._checksum(dataset.assign(b=("x", np.arange(11)[::-1]))) != whole


def test_large_variables_are_written_one_by_one(tmp_path, monkeypatch, transitions, curves):
    both = {"groups": {"training": curves}, "attributes": {"a": "b"}}
    survey.write(transitions, tmp_path / "whole.zarr", "transitions", **both)
    monkeypatch.setattr(survey, "_LARGE", 20)
    survey.write(transitions, tmp_path / "parts.zarr", "transitions", **both)
    survey.write(transitions, tmp_path / "alone.zarr", "transitions", attributes={"a": "b"})
    whole = survey.load(tmp_path / "whole.zarr", "transitions")
    for name in ("parts", "alone"):
        found = survey.load(tmp_path / f"{name}.zarr", "transitions")
        xr.testing.assert_identical(found, whole)
        assert found.attrs == whole.attrs
    xr.testing.assert_identical(
        survey.load(tmp_path / "parts.zarr", "curves", group="training"),
        survey.load(tmp_path / "whole.zarr", "curves", group="training"),
    )
