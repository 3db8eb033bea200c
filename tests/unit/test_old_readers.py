"""A survey that was copied elsewhere, read with xarray and zarr of two years ago."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import synthetic
from sensigap import survey as stores
from sensigap.schema import SCHEMAS

#: the last zarr before version 3, and the first xarray with `open_datatree`
OLD = ("xarray==2024.10.0", "zarr==2.18.3", "numcodecs<0.16", "pandas<3")
READ = """
import json, sys
import numpy as np, xarray as xr, zarr
assert int(zarr.__version__.split(".")[0]) == 2
tree = xr.open_datatree(sys.argv[1], engine="zarr")
survey = xr.open_zarr(sys.argv[1]).load()
print(json.dumps({
    "variables": sorted(map(str, survey.variables)),
    "groups": sorted(tree.children),
    "gap": survey["gap"].values.tolist(),
    "norms": [float(survey["jacobian_norm"].sum()), str(survey["jacobian_norm"].dtype)],
    "units": survey["unit"].values.tolist(),
    "flags": survey["in_survey"].values.astype(bool).tolist(),
    "unit": survey["train_loss"].attrs["units"],
}))
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The Python of an environment with old versions, made for the test."""
    folder = tmp_path_factory.mktemp("old")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    told = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *OLD],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        pytest.skip(f"no package registry to install {OLD[0]} from: {told.stderr[-200:]}")
    return python


def test_old_versions_read_every_value(old, tmp_path):
    survey = synthetic.survey(networks=20, samples=30, transition_points=10, pairs=2)
    made, copied = tmp_path / "digits.zarr", tmp_path / "elsewhere" / "a survey.zarr"
    groups = {"ellipses": synthetic.ellipses(survey), "slices": synthetic.slices(survey)}
    stores.write(survey, made, "survey", groups=groups)
    shutil.copytree(made, copied)
    told = subprocess.run(
        [old, "-c", READ, copied], capture_output=True, text=True, check=False, timeout=120
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    schema = SCHEMAS["survey"]
    assert {*schema.variables, *schema.coordinates} <= {*found["variables"]}
    assert found["groups"] == ["ellipses", "slices"]
    np.testing.assert_array_equal(found["gap"], survey["gap"])
    norms = survey["jacobian_norm"]
    assert found["norms"] == [pytest.approx(norms.sum().item(), rel=1e-12), str(norms.dtype)]
    assert found["units"] == survey["unit"].to_numpy().tolist()
    assert found["flags"] == survey["in_survey"].to_numpy().tolist()
    assert found["unit"] == "nat"
