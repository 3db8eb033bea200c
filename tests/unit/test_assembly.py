import json
import struct

import numpy as np
import pytest
import xarray as xr

from sensigap import survey
from sensigap.assembly import assemble, read_design
from sensigap.config import load
from sensigap.design import design, table
from sensigap.integrity import DamagedFileError
from sensigap.records import rows_digest
from sensigap.schema import SCHEMAS

SAMPLES = 6


@pytest.fixture
def members():
    return design(
        load(
            {
                "study": "t",
                "datasets": {"digits": {}},
                "survey": [{"search": "grid", "axes": {"depth": [1, 2], "seed": [0, 1]}}],
                "factors": {"labels": {"axes": {"depth": [1]}}},
            }
        )
    )


def write_weights(folder, sha256):
    """A file of no weights, whose header has a checksum; returns what a store of them carries."""
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"__metadata__": {"sensigap": json.dumps({"specs": {}, "sha256": sha256})}})
    content = struct.pack("<Q", len(header)) + header.encode()
    (folder / "weights.safetensors").write_bytes(content)
    return {"weights": sha256}


def made(schema, networks, rng, **sizes):
    """A valid Dataset of a schema with random values."""
    sizes = {"network": len(networks), **sizes}
    described = SCHEMAS[schema]

    def values(variable):
        shape = [sizes[dim] for dim in variable.dims]
        match variable.kind:
            case "float":
                return rng.random(shape)
            case "int":
                return rng.integers(1, 9, shape)
            case "bool":
                return rng.random(shape) < 0.5
        return np.full(shape, "fitted", object)

    dataset = xr.Dataset(
        {name: (v.dims, values(v)) for name, v in described.variables.items()},
        coords={name: (v.dims, values(v)) for name, v in described.coordinates.items()},
    ).assign_coords(network=np.array(networks, dtype=object))
    if "sample" in sizes:
        dataset = dataset.assign_coords(sample=np.arange(sizes["sample"]))
    return dataset


@pytest.fixture
def stores(tmp_path, members):
    """Two cohorts: one with three networks, one with the others and one that left the design."""
    rng = np.random.default_rng(0)
    names = list(members)
    found = {"training": [], "jacobian": [], "transitions": [], "complexity": []}
    for cohort, networks, steps in [
        ("digits-a", names[:3], [1, 10]),
        ("digits-b", [*names[3:], "gone"], [1, 5, 10]),
    ]:
        folder = tmp_path / "cohorts" / cohort
        attributes = write_weights(folder, cohort)
        training = made("training", networks, rng, check=len(steps)).assign_coords(
            step=("check", steps)
        )
        training["status"][0] = "not fitted"
        jacobian = made("jacobian", networks[1:], rng, sample=SAMPLES, test_image=9)
        jacobian["correct"] = jacobian["correct"].astype(np.int8)
        transitions = made("transitions", networks[1:], rng, sample=SAMPLES).isel(sample=[1, 4])
        # enough after one point
        transitions["transitions"][1, 0] = np.nan
        for name, dataset in [
            ("training", training),
            ("jacobian", jacobian),
            ("transitions", transitions),
            ("complexity", made("complexity", networks[1:], rng)),
        ]:
            path = folder / f"{name}.zarr"
            survey.write(dataset, path, name, attributes=attributes)
            found[name].append(path)
    (tmp_path / "design.csv").write_text(table(members))
    return tmp_path, found


def read(path):
    return survey.read(path, "survey").load()


def test_every_network_of_the_design_is_there_with_what_was_measured(stores, members):
    folder, found = stores
    output = folder / "digits.zarr"
    assemble(
        folder / "design.csv",
        "digits",
        training=found["training"],
        measures=found,
        output=output,
        attributes={},
    )
    whole = read(output)
    assert whole["network"].values.tolist() == list(members)
    assert whole["cohort"].values.tolist() == ["digits-a"] * 3 + ["digits-b"] * (len(members) - 3)
    np.testing.assert_array_equal(whole["depth"], [m.spec.depth for m in members.values()])
    assert whole["labels"].values.tolist() == [m.spec.labels for m in members.values()]
    np.testing.assert_array_equal(whole["in_survey"], [m.in_survey for m in members.values()])
    assert whole["side_labels"].values.tolist() == [
        m.pairs.get("labels", ("", ""))[1] for m in members.values()
    ]
    np.testing.assert_allclose(whole["gap"], whole["train_accuracy"] - whole["test_accuracy"])
    first = survey.read(found["jacobian"][0], "jacobian")
    measured = first["network"].values
    np.testing.assert_array_equal(whole["correct"].sel(network=measured), first["correct"])
    assert whole["correct"].dtype == np.int8
    assert (whole["correct"].sel(network=whole["network"][0]) == -1).all(), "not measured"
    np.testing.assert_array_equal(
        whole["jacobian_norm"].sel(network=first["network"].values), first["jacobian_norm"]
    )
    np.testing.assert_allclose(
        whole["sensitivity"].sel(network=first["network"].values),
        first["jacobian_norm"].mean("sample"),
    )
    complexity = survey.read(found["complexity"][1], "complexity").load()
    names = [name for name in complexity["network"].values if name in members]
    for name in SCHEMAS["complexity"].variables:
        np.testing.assert_array_equal(
            whole[name].sel(network=names), complexity[name].sel(network=names)
        )
    # a network that is not fitted was not measured
    lost = whole.isel(network=0)
    assert lost["status"] == "not fitted"
    assert np.isnan(lost["jacobian_norm"]).all()
    assert np.isnan(lost["sensitivity"])
    assert lost["jacobian_zero"] == -1
    assert np.isnan(lost["path_norm_log10"])
    # transitions at the chosen points alone
    measured = np.isfinite(whole["transitions"].isel(network=1))
    np.testing.assert_array_equal(np.flatnonzero(measured), [1, 4])
    for store in found["transitions"]:
        part = survey.read(store, "transitions").load()
        part = part.isel(network=np.flatnonzero(np.isin(part["network"], list(members))))
        here = whole.sel(network=part["network"].values)
        for name in ("transitions_points", "transitions_error"):
            np.testing.assert_array_equal(here[name], part[name])
        np.testing.assert_array_equal(
            here["transitions"].sel(sample=[1, 4]), part["transitions"].values
        )
        means = np.nanmean(part["transitions"], axis=1)
        np.testing.assert_allclose(here["mean_transitions"], means)
    assert np.isnan(whole["transitions"].isel(network=2)).sum() == SAMPLES - 1
    assert lost["transitions_points"] == -1
    assert np.isnan(lost["transitions_error"])
    assert np.isnan(lost["mean_transitions"])


def test_curves_of_different_lengths_share_their_steps(stores):
    folder, found = stores
    output = folder / "digits.zarr"
    assemble(
        folder / "design.csv",
        "digits",
        training=found["training"],
        measures=found,
        output=output,
        attributes={},
    )
    curves = survey.read(output, "curves", group="training").load()
    assert curves["step"].values.tolist() == [1, 5, 10]
    assert np.isnan(curves["loss"].isel(network=0)).values.tolist() == [False, True, False]
    assert np.isfinite(curves["loss"].isel(network=-1)).all()


def test_a_network_that_no_cohort_trained_is_told(stores, members):
    folder, found = stores
    only = {name: paths[:1] for name, paths in found.items()}
    with pytest.raises(
        survey.SchemaError, match=r"networks of .*design\.csv are in no training store"
    ):
        assemble(
            folder / "design.csv",
            "digits",
            training=only["training"],
            measures=only,
            output=folder / "x.zarr",
            attributes={},
        )


def test_nothing_fitted_is_a_survey_too(stores):
    folder, found = stores
    for name in ("jacobian", "transitions", "complexity"):
        for path in found[name]:
            whole = survey.load(path, name)
            survey.write(whole.isel(network=[]), path, name, attributes=whole.attrs)
    output = folder / "digits.zarr"
    assemble(
        folder / "design.csv",
        "digits",
        training=found["training"],
        measures=found,
        output=output,
        attributes={},
    )
    whole = read(output)
    assert np.isnan(whole["sensitivity"]).all()
    assert np.isnan(whole["sharpness"]).all()
    assert whole.sizes["sample"] == SAMPLES


@pytest.mark.parametrize("name", ["jacobian", "transitions", "complexity", "training"])
def test_a_store_of_other_weights_is_told_and_set_aside(stores, name):
    folder, found = stores
    stale = found[name][1]
    dataset = survey.load(stale, name)
    survey.write(dataset, stale, name, attributes=dataset.attrs | {"weights": "those before"})
    with pytest.raises(DamagedFileError, match=rf"{name}\.zarr .*of the weights those before"):
        assemble(
            folder / "design.csv",
            "digits",
            training=found["training"],
            measures=found,
            output=folder / "digits.zarr",
            attributes={},
        )
    assert not stale.exists()
    assert not (folder / "digits.zarr").exists()
    assert all(path.exists() for paths in found.values() for path in paths if path != stale)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(",relu,", ",relu6,", 1),
        lambda text: "\n".join(text.split("\n")[:-2]) + "\n",
        lambda text: text.replace("\n", "\x0b", 3),
        lambda text: "",
    ],
    ids=["cut", "another value", "a row is lost", "other ends of lines", "emptied"],
)
def test_a_damaged_design_is_told_and_set_aside(stores, damage):
    folder, _ = stores
    path = folder / "design.csv"
    text = path.read_text()
    digest = rows_digest(text, "digits")
    assert read_design(path, "digits", digest)
    path.write_text(damage(text))
    with pytest.raises(DamagedFileError, match=r"design\.csv is damaged"):
        read_design(path, "digits", digest)
    assert not path.exists()
