"""The workflow as a module of another one, under a prefix, also where jobs parse again."""

import importlib.util
import re
import subprocess
import sys

import pytest
import yaml

from checkouts import REPOSITORY, TINY
from sensigap import cohorts

pytestmark = pytest.mark.workflow

SNAKEFILE = """
import yaml

module sensigap:
    snakefile: {snakefile!r}
    config: yaml.safe_load(open("mine.yaml"))
    prefix: "nested"

use rule * from sensigap as sensigap_*

rule mine:
    default_target: True
    input: "nested/results/tiny/report.html"
"""
# in sbatch's place a shell that runs the job's script, which parses the Snakefile again; this host
# need not have the GPUs that a cluster has
GENERIC = (
    *("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "bash", "--jobs", "2"),
    *("--resources", "gpu=0"),
)


class Importer:
    """A folder whose Snakefile imports the workflow."""

    def __init__(self, folder, snakefile):
        self.folder = folder
        folder.mkdir()
        (folder / "Snakefile").write_text(SNAKEFILE.format(snakefile=str(snakefile)))
        self.configure()

    def configure(self, **changes):
        few = {"transitions": {"points": 10}, "ellipses": {"share": 0}}
        study = {**TINY, "measures": few, **changes}
        (self.folder / "mine.yaml").write_text(yaml.safe_dump(study))

    def run(self, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            check=False,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=900,
        )
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        return text

    def jobs(self):
        text = self.run("--cores", "2", "-n")
        table = text.partition("Job stats:")[2].partition("total")[0]
        return {rule: int(n) for rule, n in re.findall(r"^sensigap_(\w+) +(\d+)$", table, re.M)}

    def plan(self):
        return cohorts.read_all(self.folder / "nested/results/networks", ["digits"])


@pytest.mark.parametrize(
    ("executor", "snakefile"),
    [(("--cores", "2"), "Snakefile"), (GENERIC, "workflow/Snakefile")],
    ids=["local", "jobs parse again"],
)
def test_a_tiny_study_under_a_prefix(tmp_path, executor, snakefile):
    if executor is GENERIC and not importlib.util.find_spec(
        "snakemake_executor_plugin_cluster_generic"
    ):
        pytest.skip("snakemake-executor-plugin-cluster-generic is not installed")
    importer = Importer(tmp_path / "study", REPOSITORY / snakefile)
    assert importer.jobs()["train"] > 1
    importer.run(*executor)
    assert (importer.folder / "nested/results/tiny/report.html").exists()
    assert not (importer.folder / "results").exists()
    assert "Nothing to be done" in importer.run(*executor)
    before = importer.plan()
    importer.configure(survey=[{"search": "grid", "axes": {"depth": [1, 2, 3], "seed": [0, 1, 2]}}])
    assert importer.jobs()["train"] == importer.jobs()["cohort"] == 1
    importer.run(*executor, *(["--until", "sensigap_jacobian"] if executor is GENERIC else []))
    added = {
        identity: entry for identity, entry in importer.plan().items() if identity not in before
    }
    assert len({cohort for cohort, _ in added.values()}) == 1
    assert {spec.depth for _, spec in added.values()} == {3}
    if executor is not GENERIC:
        assert "Nothing to be done" in importer.run(*executor)
