"""The DAG without running it, and faults that are told before there is one."""

import re
import subprocess
import sys

import pytest
import yaml

from checkouts import REPOSITORY

pytestmark = pytest.mark.workflow
CONFIGS = sorted(path.name for path in (REPOSITORY / "config").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_every_configuration_has_a_dag_without_data(untouched, config, profile):
    told = untouched.snakemake(
        "--dry-run", "--workflow-profile", f"profiles/{profile}", config=f"config/{config}"
    )
    text = told.stdout + told.stderr
    assert "report" in text
    # a dry run lists its jobs, writes no plan and no results
    assert "rule train:" in text
    assert not (untouched.folder / "results").exists()
    if profile == "slurm":
        jobs = re.findall(r"^rule (\w+):.*?resources: ([^\n]*)", text, re.M | re.S)
        asking = {rule for rule, resources in jobs if "gpu=1" in resources}
        assert asking == {"train", "jacobian", "transitions", "complexity", "ellipses"}


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
    assert (told.stdout + told.stderr).count("rule train:") == 2


def test_a_device_on_this_host_is_asked_for(untouched, monkeypatch):
    monkeypatch.setenv("SENSIGAP_PRETEND_DEVICES", "1")
    told = untouched.snakemake("--dry-run")
    jobs = re.findall(r"^rule (\w+):.*?resources: ([^\n]*)", told.stdout + told.stderr, re.M | re.S)
    asking = {rule for rule, resources in jobs if "gpu=1" in resources}
    assert asking == {"train", "jacobian", "transitions", "complexity", "ellipses"}


def test_the_default_study_is_found_from_another_folder(tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", REPOSITORY / "Snakefile", "--cores", "2", "-n"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "results/demo/report.html" in told.stdout + told.stderr
