"""Profiles for clusters, where no cluster is: `bash` takes the submit command's place."""

import re
import shutil

import pytest

from checkouts import copy_repository
from sensigap import checkpoints

pytestmark = pytest.mark.workflow
GENERIC = ("--workflow-profile", "profiles/generic")


@pytest.mark.parametrize("gpus", [0, 4])
def test_other_schedulers_jobs_run_and_know_whether_they_have_a_gpu(tmp_path, monkeypatch, gpus):
    monkeypatch.setenv("SENSIGAP_PRETEND_DEVICES", "4")
    checkout = copy_repository(tmp_path)
    checkout.configure()
    checkout.snakemake(
        *("--configfile", "tiny.yaml", "--until", "train", *GENERIC, "--resources", f"gpu={gpus}"),
        plain=True,
        command=("workflow/run.py",),
    )
    logs = [path.read_text() for path in checkout.networks.glob("*/train.log")]
    assert len(logs) == len(checkout.weights()) == 2
    assert {bool(re.search("leased GPU pretend", log)) for log in logs} == {bool(gpus)}


def test_a_training_that_is_killed_at_its_end_is_not_repeated(tmp_path):
    checkout = copy_repository(tmp_path)
    checkout.configure()
    checkout.snakemake("--until", "train")
    before = {path: path.read_bytes() for path in checkout.weights()}
    kept = {path: checkpoints.beside(path).read_bytes() for path in before}
    # what Snakemake removes of a job that did not succeed
    for weights in before:
        weights.unlink()
        shutil.rmtree(weights.with_name("training.zarr"))
    checkout.snakemake("--until", "train")
    assert {path: path.read_bytes() for path in checkout.weights()} == before
    assert {path: checkpoints.beside(path).read_bytes() for path in before} == kept
    for log in checkout.networks.glob("*/train.log"):
        assert "resuming from" in log.read_text()
    # the next stage has them, and is done
    checkout.snakemake("--until", "complexity")
    assert not any(checkpoints.beside(path).exists() for path in before)
