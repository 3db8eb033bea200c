"""Results as a folder for an archive."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
import xarray as xr
import yaml

import sensigap
from made_up_results import COHORT, SPECS, write_study, write_tables
from sensigap.__main__ import main
from sensigap.integrity import DamagedFileError
from sensigap.publish import PublishError, publish
from sensigap.results import ResultsError


@pytest.fixture
def study(tmp_path):
    folder = write_study(tmp_path / "results")
    write_tables(folder)
    return folder


def check(folder):
    """What the other side calls."""
    command = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_published_folder_is_whole_and_says_what_is_in_it(study, tmp_path):
    target = publish(study, tmp_path / "published" / "demo")
    assert check(target).returncode == 0
    summed = {line.split("  ")[1] for line in (target / "SHA256SUMS").read_text().splitlines()}
    there = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert there - summed == {"SHA256SUMS"}
    for name in ("claims.csv", "figures/sensitivity.png", "report.html", "design.csv"):
        assert (target / name).read_bytes() == (study / name).read_bytes()
    assert yaml.safe_load((target / "configuration.yaml").read_text())["study"] == "demo"
    readme = (target / "README.md").read_text()
    tree = xr.open_datatree(target / "survey" / "digits.zarr")
    for name in (*tree.variables, *tree["ellipses"].data_vars):
        assert re.search(rf"^\| `{name}` \| .* \| .* \| .+ \|$", readme, re.MULTILINE), name
    assert not (target / "networks").exists()
    pytest.importorskip("pyarrow", reason="needs pyarrow (extra 'dev')")
    flat = pd.read_parquet(target / "networks.parquet")
    pd.testing.assert_frame_equal(flat, sensigap.open(study).table(), check_dtype=False)
    # a byte changes on the way
    changed = target / "claims.csv"
    changed.write_bytes(changed.read_bytes().replace(b"1", b"2"))
    found = check(target)
    assert found.returncode == 1
    assert "claims.csv: FAILED" in found.stdout


def test_networks_come_with_it_where_they_are_asked_for(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["publish", str(study), "--weights", "--zip"]) == 0
    target = tmp_path / "published" / "demo"
    assert (target / "networks" / COHORT / "weights.safetensors").exists()
    assert (tmp_path / "published" / "demo.zip").stat().st_size > 1_000
    assert "demo.zip" in capsys.readouterr().err
    # without the results that it was made from
    study.parent.rename(tmp_path / "gone")
    network = sensigap.open(target).network(SPECS[0].id)
    weight = sensigap.open(tmp_path / "gone" / "demo").network(SPECS[0].id)[0].weight
    torch.testing.assert_close(network[0].weight, weight)


def test_nothing_that_exists_is_overwritten(study, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    (tmp_path / "dead link").symlink_to("nowhere")
    for name in ("there", "dead link"):
        with pytest.raises(PublishError, match="exists: expected a new folder"):
            publish(study, tmp_path / name)
    (tmp_path / "new.zip").write_text("of somebody")
    assert main(["publish", str(study), str(tmp_path / "new"), "--zip"]) == 1
    assert "new.zip exists: expected a new zip file; name" in capsys.readouterr().err
    assert (tmp_path / "new.zip").read_text() == "of somebody"
    assert not (tmp_path / "new").exists()
    # which nobody asked for
    publish(study, tmp_path / "new")


def test_a_place_that_takes_no_folder_is_told(study, tmp_path, capsys):
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    places = {
        tmp_path / "file" / "new": f"{tmp_path / 'file'} is no folder; expected a folder",
        tmp_path / "file" / "deep" / "new": f"{tmp_path / 'file'} is no folder; expected a folder",
    }
    if Path("/proc/self").exists():
        places["/proc/new"] = "/proc takes no new files; expected a folder to write in: name"
    for target, told in places.items():
        assert main(["publish", str(study), str(target)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{target} cannot be written: {told}")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_the_system_refuses_is_told_in_a_line(study, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "claims.csv")

    monkeypatch.setattr("sensigap.publish.publish", refuse)
    monkeypatch.setattr("sensigap.adopt.adopt", refuse)
    for command in (["publish", str(study), str(tmp_path / "new")], ["adopt", str(study.parent)]):
        assert main(command) == 1
        assert capsys.readouterr().err.startswith(
            f"claims.csv: Permission denied; expected files of {command[1]} that this user may"
        )


def test_a_published_folder_says_what_is_not_in_it(study, tmp_path, capsys):
    without = sensigap.open(publish(study, tmp_path / "published" / "without"))
    with pytest.raises(ResultsError, match=r"published without weights.*--weights"):
        without.network(SPECS[0].id)
    for ask in (without.inputs, without.images):
        with pytest.raises(ResultsError, match=r"digits-1234.zarr is missing.*are not published"):
            ask("digits")
    again = ["publish", str(without.folder), str(tmp_path / "again"), "--weights"]
    assert main(again) == 1
    assert "weights.safetensors missing: expected the networks' weights" in capsys.readouterr().err
    # what is lost on the way is another matter
    lost = sensigap.open(publish(study, tmp_path / "published" / "with", weights=True))
    lost.weights(COHORT).unlink()
    with pytest.raises(ResultsError, match=r"is missing.*as they were published; copy the folder"):
        lost.network(SPECS[0].id)
    # beside the folder they are found
    (tmp_path / "results" / "datasets").rename(tmp_path / "published" / "datasets")
    (tmp_path / "results" / "networks").rename(tmp_path / "published" / "networks")
    assert without.network(SPECS[0].id)(without.inputs("digits")).shape[1] == 10


@pytest.mark.parametrize("lacking", ["claims.record.json", "report.record.json"])
def test_a_study_that_was_not_run_to_its_end_is_refused(study, tmp_path, lacking):
    (study / lacking).unlink()
    with pytest.raises(PublishError, match=f"lacks {lacking}: expected a study that was run"):
        publish(study, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("file", ["claims.csv", "survey/digits.zarr/.zattrs"])
def test_damage_is_not_published(study, tmp_path, file):
    (study / file).write_bytes((study / file).read_bytes() + b" ")
    with pytest.raises(DamagedFileError):
        publish(study, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["publish", str(tmp_path)]) == 1
    assert "holds no results" in capsys.readouterr().err
