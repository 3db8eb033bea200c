"""The DAG without running it, and faults that are told before there is one."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from checkouts import REPOSITORY
from sensigap.declarations import MEASURES

pytestmark = pytest.mark.workflow
CONFIGS = sorted(path.name for path in (REPOSITORY / "config").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("profile", ["default", "slurm", "generic"])
def test_every_configuration_has_a_dag_without_data(untouched, config, profile):
    told = untouched.snakemake(
        "--dry-run", "--workflow-profile", f"profiles/{profile}", config=f"config/{config}"
    )
    text = told.stdout + told.stderr
    assert "report" in text
    # a dry run lists its jobs in short lines, says what they will take, and writes nothing
    assert re.search(r"^Job \d+: Training the networks of \w+-[0-9a-f]{12}$", text, re.M)
    assert re.search(r"networks on .* to train in \d+ cohort", text)
    assert "of memory" in text
    assert max(map(len, text.splitlines())) < 400
    assert not (untouched.folder / "results").exists()


# the tiny study has no functions of its own
DEVICE = {"train", *(name for name, measure in MEASURES.items() if measure.device)} - {"custom"}


def asked_for(untouched, *arguments):
    """Rule -> resources of its jobs in a dry run."""
    told = untouched.snakemake("--dry-run", "--logger", "jobs", *arguments)
    jobs = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    found = {}
    for job in jobs:
        found.setdefault(job["rule"], []).append(job["resources"])
    return found


def on_gpu(asked):
    """Rules whose jobs all ask for a GPU."""
    return {rule for rule, jobs in asked.items() if all(job.get("gpu") for job in jobs)}


def test_jobs_ask_for_devices_where_they_are_and_for_memory_and_time(untouched, monkeypatch):
    here = asked_for(untouched)
    assert not [rule for rule, jobs in here.items() for job in jobs if job.get("gpu")]
    cluster = asked_for(untouched, "--workflow-profile", "profiles/slurm")
    assert on_gpu(cluster) == DEVICE
    for rule in (*DEVICE, "slices", "survey", "claims", "figures"):
        for job in cluster[rule]:
            assert 1000 < job["mem_mb"] < 20_000, rule
            assert 10 < job["runtime"] < 1000, rule
    monkeypatch.setenv("SENSIGAP_PRETEND_DEVICES", "1")
    assert on_gpu(asked_for(untouched)) == DEVICE


def test_jobs_on_a_cluster_keep_their_gpus_unless_there_are_to_be_none(untouched):
    slurm = ("--workflow-profile", "profiles/slurm")
    longer = asked_for(untouched, *slurm, "--set-resources", "train:runtime=1440")
    assert on_gpu(longer) == DEVICE
    assert {job["runtime"] for job in longer["train"]} == {1440}
    assert not on_gpu(asked_for(untouched, *slurm, "--resources", "gpu=0"))
    assert not on_gpu(asked_for(untouched, "--workflow-profile", "profiles/slurm-cpu"))
    generic = ("--workflow-profile", "profiles/generic")
    assert not on_gpu(asked_for(untouched, *generic))
    assert on_gpu(asked_for(untouched, *generic, "--resources", "gpu=8")) == DEVICE


def test_larger_networks_ask_for_more(untouched):
    small = asked_for(untouched)
    axes = {"depth": [30], "width": [3000], "steps": [10_000]}
    untouched.configure({"survey": [{"search": "grid", "axes": axes}]})
    try:
        large = asked_for(untouched)
    finally:
        untouched.configure()
    for rule in ("train", "transitions"):
        for resource in ("mem_mb", "runtime"):
            most = max(job[resource] for job in small[rule])
            assert max(job[resource] for job in large[rule]) > 1.5 * most, (rule, resource)


def test_lint_passes(untouched):
    told = untouched.snakemake("--lint", config=None)
    assert "Congratulations" in told.stdout + told.stderr


def test_five_faults_are_five_messages_and_no_dag(untouched):
    study = {
        "study": "bad",
        "datasets": {"digits": {"train_size": 100}},
        "defalts": {"depth": 1},
        "survey": [
            {"search": "grid", "axes": {"width": [-16], "unit": ["rleu"], "depth": []}},
            {"search": "grid", "axes": {"batch_size": [4096]}},
        ],
    }
    path = untouched.folder / "bad.yaml"
    path.write_text(yaml.safe_dump(study))
    told = untouched.snakemake("--dry-run", config="bad.yaml", check=False)
    text = told.stdout + told.stderr
    assert told.returncode != 0
    assert "Traceback" not in text
    assert "Job stats" not in text
    assert "5 faults" in text
    for path in (
        "defalts",
        "survey[0].axes.width[0]",
        "survey[0].axes.unit[0]",
        "survey[0].axes.depth",
        "survey[1].axes.batch_size[0]",
    ):
        assert f"{path}:" in text
    assert "did you mean defaults?" in text
    assert "did you mean relu?" in text


def test_a_dry_run_lists_its_jobs_however_it_is_asked_for(untouched):
    told = untouched.snakemake("-np")
    assert (told.stdout + told.stderr).count(": Training the networks of") == 2


def test_the_default_study_is_found_from_another_folder(tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", REPOSITORY / "Snakefile", "--cores", "2", "-n"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "demo: 658 networks" in told.stdout + told.stderr
