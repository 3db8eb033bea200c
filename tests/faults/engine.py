"""Runs a study's own scripts in this process, when and in the order that Snakemake would.

Snakemake takes seconds to start each job; hundreds of trials need less. What is the project's runs
as it is: `WorkPlan` says what is damaged or out of date, the scripts under workflow/scripts read,
compute and write. What is Snakemake's is repeated in a few lines: a job runs if an output is
missing, if an input is younger or has just been made; its outputs are removed before it, and after
it if it failed.
"""

import contextlib
import dataclasses
import io
import json
import logging
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from sensigap import interrupt
from sensigap.declarations import MEASURES
from sensigap.figure_names import FIGURE_SUFFIXES
from sensigap.files import remove
from sensigap.workplan import WorkPlan

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
STAMP = ".snakemake_timestamp"
#: of all figures: each costs a second, and all are read and written by the same code
FIGURES = ("leaderboard", "ellipses")
CONFIG: dict[str, Any] = {
    "study": "tiny",
    "datasets": {"digits": {"train_size": 60}},
    "defaults": {"steps": 20, "width": 8, "batch_size": 20, "learning_rate": 0.1},
    "survey": [{"search": "grid", "axes": {"depth": [1], "seed": [0, 1]}}],
    "measures": {
        "jacobian": {"training_points": 5},
        "transitions": {"points": 3},
        "complexity": {"points": 8, "draws": 1},
        "ellipses": {"share": 0.5, "count": 1, "angles": 24},
        "slices": {"networks": [{"depth": 1, "seed": 0}]},
    },
    "analysis": {"bootstrap": 2000, "minimum_networks": 4},
    "execution": {"cohort_tflop": 0.0001},
}


@dataclasses.dataclass
class Job:
    """What Snakemake would know of a job."""

    stage: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    #: why it must run whatever the files say
    stale: bool = False
    #: inputs whose age does not count; made only if the job runs
    ancient: tuple[str, ...] = ()
    wildcards: dict[str, str] = dataclasses.field(default_factory=dict)
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    script: str = ""

    def paths(self, of: dict[str, Any]) -> list[str]:
        return [p for value in of.values() for p in ([value] if isinstance(value, str) else value)]

    def carry_out(self) -> None:
        """Runs the script, and sees to its outputs as Snakemake does."""
        for path in self.paths(self.outputs):
            with contextlib.suppress(OSError):  # the script says so better
                remove(Path(path))
        started = _State(self)
        folder = [str(REPOSITORY / "workflow" / "support")]
        sys.path[:0] = folder
        try:
            runpy.run_path(
                str(SCRIPTS / f"{self.script or self.stage}.py"),
                {"snakemake": started},
                "__main__",
            )
        except BaseException:
            for path in self.paths(self.outputs):
                with contextlib.suppress(OSError):
                    remove(Path(path))
            raise
        finally:
            sys.path.remove(folder[0])
            logging.shutdown()
            interrupt.ignore()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
        for path in self.paths(self.outputs):
            if Path(path).is_dir():
                Path(path, STAMP).touch()


class Named(list):  # type: ignore[type-arg]
    """Values by position and by name, as scripts find files and params."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(
            one for v in values.values() for one in (v if isinstance(v, list) else [v])
        )
        self._values = values

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)

    def items(self) -> Any:
        return self._values.items()


class _State:
    """The object `snakemake` of a script."""

    def __init__(self, job: Job) -> None:
        self.rule = job.stage
        self.log = Named({"": [f"results/tiny/logs/{job.stage}.log"]})
        self.input = Named(job.inputs)
        self.output = Named(job.outputs)
        self.params = Named(job.params)
        self.wildcards = Named(job.wildcards)
        self.resources = Named({"gpu": 0})
        self.config = CONFIG
        self.threads = 1


def jobs(plan: WorkPlan) -> Iterator[Job]:
    """The jobs of the study, in an order in which they can run."""
    study = "results/tiny"
    record = {
        "claims": f"{study}/claims.record.json",
        "leaderboard": f"{study}/leaderboard.record.json",
        "figures": f"{study}/figures/record.json",
        "report": f"{study}/report.record.json",
    }
    (store,) = (f"results/datasets/{name}.zarr" for name in plan.stores())
    yield Job("dataset", {}, {"": [store]}, wildcards={"data": Path(store).stem})
    found: dict[str, list[str]] = {name: [] for name in ("training", *MEASURES)}
    for cohort in plan.cohorts:
        place = f"results/networks/{cohort}"
        specs = [spec.to_json() for spec in plan.specs[cohort]]
        table = f"{place}/networks.csv"
        bad = bool(plan.stale_table(Path(table)))
        yield Job("cohort", {}, {"": [table]}, bad, params={"specs": specs})
        trained = {"weights": f"{place}/weights.safetensors", "training": f"{place}/training.zarr"}
        needed = {} if plan.trained(cohort) else {"networks": table, "dataset": store}
        bad = bool(plan.stale_training(cohort))
        data = {"data": store, "code": plan.code("train")}
        yield Job("train", needed, trained, bad, ("networks", "dataset"), params=data)
        found["training"].append(trained["training"])
        for name in MEASURES:
            if not plan.takes(name, cohort):
                continue
            output = f"{study}/measures/{cohort}/{name}.zarr"
            settings = plan.settings(name, cohort)
            data_needed = {} if plan.has_measure(name, cohort) else {"dataset": store}
            yield Job(
                name,
                trained | data_needed,
                {"": [output]},
                bool(plan.stale(Path(output), plan.made_by(name, settings))),
                ("dataset",),
                params={
                    "measure": name,
                    "data": store,
                    "code": plan.code(name),
                    "settings": settings,
                },
                script="measure",
            )
            found[name].append(output)
    design = f"{study}/design.csv"
    yield Job("design", {}, {"": [design]}, bool(plan.stale_table(Path(design))))
    survey = f"{study}/survey/digits.zarr"
    settings = {
        "design": plan.design_digest("digits"),
        "cohorts": plan.of_dataset("digits"),
    }

    def params(stage: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {"code": plan.code(stage), "settings": settings}

    def stale(stage: str, path: str, settings: dict[str, Any]) -> bool:
        return bool(plan.stale(Path(path), plan.made_by(stage, settings)))

    yield Job(
        "survey",
        found | {"design": design},
        {"": [survey]},
        stale("survey", survey, settings),
        wildcards={"dataset": "digits"},
        params=params("survey", settings),
    )
    analysis = {"analysis": plan.study.analysis.model_dump(), "datasets": plan.datasets}
    surveys = {"surveys": [survey]}
    for stage in ("claims", "leaderboard"):
        outputs = {"table": f"{study}/{stage}.csv", "record": record[stage]}
        bad = stale(stage, record[stage], analysis)
        yield Job(stage, surveys, outputs, bad, params=params(stage, analysis))
    board = {
        "leaderboard": f"{study}/leaderboard.csv",
        "board_record": record["leaderboard"],
        "claims": f"{study}/claims.csv",
        "claims_record": record["claims"],
    }
    drawn = [
        f"{study}/figures/{figure}{suffix}" for figure in FIGURES for suffix in FIGURE_SUFFIXES
    ]
    yield Job(
        "figures",
        surveys | board,
        {"": drawn, "record": record["figures"]},
        stale("figures", record["figures"], analysis),
        params=params("figures", analysis),
    )
    text = yaml.safe_dump(plan.study.model_dump(mode="json"), sort_keys=False)
    whole = analysis | {"configuration": text}
    yield Job(
        "report",
        surveys
        | {
            "claims": f"{study}/claims.csv",
            "leaderboard": f"{study}/leaderboard.csv",
            "figures": [path for path in drawn if path.endswith(".png")],
            "records": [record[stage] for stage in ("claims", "leaderboard", "figures")],
        },
        {
            "page": f"{study}/report.html",
            "networks": f"{study}/networks.csv",
            "columns": f"{study}/networks.columns.csv",
            "bundle": f"{study}/tables_and_figures.zip",
            "record": record["report"],
        },
        stale("report", record["report"], whole),
        params=params("report", whole) | {"timings": []},
    )


def _age(path: str) -> int:
    """The time stamp that Snakemake goes by."""
    stamp = Path(path, STAMP)
    return (stamp if stamp.exists() else Path(path)).lstat().st_mtime_ns


def needed(job: Job, made: set[str]) -> bool:
    """Whether Snakemake would run a job."""
    outputs = job.paths(job.outputs)
    if job.stale or not all(Path(path).exists() for path in outputs):
        return True
    oldest = min(map(_age, outputs))
    return any(
        path in made or _age(path) > oldest
        for name, value in job.inputs.items()
        if name not in job.ancient
        for path in ([value] if isinstance(value, str) else value)
    )


def run() -> list[str]:
    """Makes the study whole in the working directory; returns the stages that ran.

    Raises:
        SystemExit: a job failed.
    """
    plan = WorkPlan(CONFIG, "results", look=True)
    made: set[str] = set()
    ran = []
    everything = list(jobs(plan))
    for job in everything:
        if job.stage == "dataset":
            # made for those who need it
            (store,) = job.paths(job.outputs)
            asked = (j for j in everything if store in j.paths(j.inputs))
            if Path(store).exists() or not any(needed(j, made) for j in asked):
                continue
        elif not needed(job, made):
            continue
        job.carry_out()
        ran.append(job.stage)
        made.update(job.paths(job.outputs))
    return ran


@dataclasses.dataclass
class Outcome:
    """What came of a run."""

    #: stages that ran to their end
    ran: list[str]
    #: '' if all went well, else what was told: in the log, or on the terminal
    error: str = ""
    killed: bool = False


def in_a_child(
    folder: Path, *, before: Callable[[], None] | None = None, kill_after: float | None = None
) -> Outcome:
    """Runs the study of a folder in a process of its own, which knows what this one has loaded.

    Args:
        folder: holds results/.
        before: called in the child, for example to limit it.
        kill_after: seconds after which the child is killed.
    """
    logs = folder / "results" / "tiny" / "logs"
    for log in logs.glob("*.log"):
        with contextlib.suppress(OSError):
            log.unlink()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        told: dict[str, Any] = {"ran": [], "error": ""}
        terminal = io.StringIO()
        try:
            os.chdir(folder)
            sys.stderr = sys.stdout = terminal
            if before:
                before()
            told["ran"] = run()
        except SystemExit:
            told["error"] = terminal.getvalue() or _last_log(logs)
        except BaseException:
            told["error"] = traceback.format_exc()
        os.write(writing, json.dumps(told).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        return Outcome([], "killed", killed=True)
    return Outcome(**json.loads(said))


def _last_log(logs: Path) -> str:
    """The log of the job that failed."""
    found = sorted(logs.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1].read_text() if found else ""
