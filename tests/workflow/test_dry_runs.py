"""The DAG without running it, and faults that are told before there is one."""

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
        assert "gpu=1" in text


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
    for named in ("defalts", "width", "rleu", "depth", "4096"):
        assert named in text
    assert "did you mean" in text.lower()
