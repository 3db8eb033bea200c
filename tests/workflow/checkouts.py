"""Copies of the repository, to run a tiny study in."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

from sensigap import cohorts

REPOSITORY = Path(__file__).parents[2]
PLUGINS = Path(__file__).parent / "plugins"
TINY = {
    "study": "tiny",
    "datasets": {"digits": {"train_size": 100}},
    "defaults": {"steps": 80, "width": 16, "batch_size": 20, "learning_rate": 0.1},
    "survey": [{"search": "grid", "axes": {"depth": [1, 2], "seed": [0, 1, 2]}}],
    "factors": {"unit": {"axes": {"depth": [1], "seed": [0]}}},
    "measures": {
        "transitions": {"points": 10},
        "ellipses": {"share": 0.5, "count": 1, "angles": 24},
        "slices": {"networks": [{"depth": 1}]},
    },
    "execution": {"cohort_tflop": 0.0015},
}


class Checkout:
    """A copy of the repository with a study's configuration beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def study(self) -> Path:
        return self.folder / "results" / "tiny"

    @property
    def networks(self) -> Path:
        return self.folder / "results" / "networks"

    def weights(self) -> list[Path]:
        """The weights of all cohorts."""
        return sorted(self.networks.glob("*/weights.safetensors"))

    def contents(self) -> dict[str, bytes]:
        """Cohort -> its weights' bytes."""
        return {path.parent.name: path.read_bytes() for path in self.weights()}

    def went_on(self) -> bool:
        """Whether a training went on from a checkpoint."""
        logs = self.networks.glob("*/train.log")
        return any("resuming from" in log.read_text() for log in logs)

    def plan(self):
        """Network id -> (cohort, spec), of all cohorts that there are."""
        return cohorts.read_all(self.networks, ["digits"])

    def configure(self, changes=None, name="tiny.yaml") -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump({**TINY, **(changes or {})}))
        return path

    def snakemake(
        self,
        *arguments,
        config="tiny.yaml",
        check=True,
        command=("-m", "snakemake"),
        plain=False,
    ):
        environment = {k: v for k, v in os.environ.items() if k != "SENSIGAP_DATA"}
        done = subprocess.run(
            [
                sys.executable,
                *command,
                *([] if plain else ["--cores", "2"]),
                *(["--configfile", config] if config and not plain else []),
                *arguments,
            ],
            check=False,
            cwd=self.folder,
            env=environment
            | {
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join([str(self.folder / "src"), str(PLUGINS)]),
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def jobs(self, config="tiny.yaml") -> dict[str, int]:
        """Rule -> number of jobs that a run would start; empty when nothing is to do.

        Without the target itself, and the markers of what is out of date.
        """
        told = self.snakemake("--dry-run", config=config)
        text = told.stdout + told.stderr
        if "Nothing to be done" in text:
            return {}
        table = text.partition("Job stats:")[2].partition("total")[0]
        counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
        return {rule: n for rule, n in counts.items() if rule not in ("all", "study", "stale")}


def wait_for(condition, what, seconds=60, run=None):
    """Waits until something is true, while a process goes on where one is given; returns it."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert run is None or run.poll() is None, f"the run ended before {what}"
        assert time.monotonic() < ends, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return found


def processes_of(run):
    """Snakemake, its jobs, and the command itself, which ends first."""
    command = psutil.Process(run.pid)
    return [command, *command.children(recursive=True)]


def copy_repository(folder: Path) -> Checkout:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "workflow", "src", "profiles", "config", "envs"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(source, folder / name)
    return Checkout(folder)
