"""What a run will take, said before it starts: networks, hours by stage, disk, memory.

Costs come from `sensigap.cost`; where earlier jobs left timings of a stage, their ratio to what the
model says of the same jobs corrects it.
"""

import csv
import dataclasses
import functools
import shutil
from collections.abc import Iterable
from pathlib import Path

from sensigap import cost
from sensigap.declarations import MEASURES
from sensigap.progress import Expected, duration
from sensigap.workplan import WorkPlan

#: stages after the survey -> seconds, to start with and for each network
AFTERWARDS = {
    "survey": (3.0, 0.004),
    "claims": (5.0, 0.015),
    "leaderboard": (3.0, 0.008),
    "figures": (8.0, 0.015),
    "report": (2.0, 0.001),
}
#: timings of a stage that are read at most
_MOST_TIMINGS = 200
#: a correction beyond this says that a timing means something else
_LARGEST_CORRECTION = 30.0
#: bytes of free disk that a run should leave
_SPARE = 2**30


@dataclasses.dataclass(frozen=True)
class Job:
    """One job of the study: its stage, its cohort or data set, whether it has to run."""

    stage: str
    #: cohort, data set, or ''
    of: str
    needed: bool
    #: by the model alone
    model_seconds: float

    @property
    def name(self) -> str:
        """As `progress.job_name` makes it."""
        return f"{self.stage}-{self.of}" if self.of else self.stage


class Estimate:
    """What the jobs of a study take.

    Args:
        plan: the study's work plan.
        gpu: whether jobs that can use a GPU get one.
        side_by_side: jobs that run at the same time; None: not known.
        queued: whether jobs go to a cluster's queue, whose time nobody knows.
    """

    def __init__(
        self,
        plan: WorkPlan,
        *,
        gpu: bool = False,
        side_by_side: int | None = None,
        queued: bool = False,
    ) -> None:
        self.plan = plan
        self.gpu = gpu
        self.side_by_side = side_by_side
        self.queued = queued
        self.jobs = list(self._jobs())

    # --- one job ------------------------------------------------------------------------------

    def seconds(self, stage: str, of: str = "") -> float:
        """Expected wall seconds of a job."""
        return self._model(stage, of) * self.corrections.get(stage, 1.0)

    @functools.cache  # noqa: B019 - an estimate lives as long as its process
    def memory_mb(self, stage: str, of: str = "") -> int:
        """Memory to ask for, in MB: what the model says and a third more."""
        return max(2000, round(1.33 * self._memory(stage, of) / 1e6))

    @functools.cache  # noqa: B019
    def minutes(self, stage: str, of: str = "") -> int:
        """Time to ask for, in minutes: three times what is expected, half an hour at least."""
        return max(30, round(3 * self.seconds(stage, of) / 60))

    @functools.cache  # noqa: B019
    def _model(self, stage: str, of: str) -> float:
        if stage not in AFTERWARDS:
            on_gpu = stage == "train" or MEASURES[stage].device
            return cost.seconds(self._flops(stage, of), gpu=self.gpu and on_gpu)
        start, each = AFTERWARDS[stage]
        return start + each * len(self.plan.members)

    @functools.cache  # noqa: B019
    def _flops(self, stage: str, of: str) -> float:
        """Operations of a job that trains or measures a cohort."""
        if stage == "train":
            facts = self.plan.facts(of)
            return sum(cost.training_flops(spec, facts) for spec in self.plan.known[of])
        settings = self.plan.settings(stage, of)
        facts = self.plan.facts(of)
        return sum(
            cost.measuring_flops(stage, spec, facts, settings)
            for spec in self.plan.takes(stage, of)
        )

    def _memory(self, stage: str, of: str) -> float:
        gpu = self.gpu and (stage == "train" or (stage in MEASURES and MEASURES[stage].device))
        if stage == "train":
            return cost.training_bytes(self.plan.specs[of], self.plan.facts(of), gpu=gpu)
        if stage in MEASURES:
            settings = self.plan.settings(stage, of)
            members, facts = self.plan.takes(stage, of), self.plan.facts(of)
            return cost.measuring_bytes(stage, members, facts, settings, gpu=gpu)
        # the survey's jobs hold all that is kept of a data set's networks, some of it twice
        largest = max(map(self._survey_bytes, self.plan.datasets), default=0.0)
        return 1e9 + 3.0 * (self._survey_bytes(of) if of else largest)

    @functools.cache  # noqa: B019
    def _survey_bytes(self, dataset: str) -> float:
        return sum(
            cost.stored_bytes(
                name,
                self.plan.takes(name, cohort),
                self.plan.facts(cohort),
                self.plan.settings(name, cohort),
            )
            for name in MEASURES
            for cohort in self.plan.of_dataset(dataset, self.plan.measured(name))
        )

    # --- the whole run ------------------------------------------------------------------------

    def _jobs(self) -> Iterable[Job]:
        plan = self.plan
        untrained = {cohort for cohort in plan.cohorts if not plan.trained(cohort)}
        anything = bool(untrained)
        for cohort in plan.cohorts:
            yield Job("train", cohort, cohort in untrained, self._model("train", cohort))
        for name in MEASURES:
            for cohort in plan.measured(name):
                needed = cohort in untrained or not plan.has_measure(name, cohort)
                anything |= needed
                yield Job(name, cohort, needed, self._model(name, cohort))
        for dataset in plan.datasets:
            needed = anything or not (plan.folder / "survey" / f"{dataset}.zarr").exists()
            anything |= needed
            yield Job("survey", dataset, needed, self._model("survey", dataset))
        for stage, file in (
            ("claims", "claims.csv"),
            ("leaderboard", "leaderboard.csv"),
            ("figures", "figures/record.json"),
            ("report", "report.html"),
        ):
            needed = anything or not (plan.folder / file).exists()
            yield Job(stage, "", needed, self._model(stage, ""))

    @functools.cached_property
    def corrections(self) -> dict[str, float]:
        """Stage -> what earlier timings took over what the model says of the same jobs."""
        found: dict[str, float] = {}
        for stage in ("train", *MEASURES, *AFTERWARDS):
            actual = model = 0.0
            for of, seconds in self._timings(stage):
                said = self._said(stage, of)
                if said:
                    actual += seconds
                    model += said
            if model:
                ratio = actual / model
                found[stage] = min(max(ratio, 1 / _LARGEST_CORRECTION), _LARGEST_CORRECTION)
        return found

    def _said(self, stage: str, of: str) -> float:
        """What the model says of an earlier job; 0 where it cannot say."""
        if stage in AFTERWARDS:
            return self._model(stage, of)
        if of not in self.plan.known or not self.plan.takes(stage, of):
            return 0.0
        return self._model(stage, of)

    def _timings(self, stage: str) -> Iterable[tuple[str, float]]:
        """Cohort or data set, and wall seconds, of earlier jobs of a stage."""
        root = self.plan.root
        if stage == "train":
            files = sorted(root.glob("networks/*/train.tsv"))
        else:
            # of this study, else of any
            own = sorted(self.plan.folder.glob(f"timings/{stage}/*.tsv"))
            files = own or sorted(root.glob(f"*/timings/{stage}/*.tsv"))
        for path in files[-_MOST_TIMINGS:]:
            of = path.parent.name if stage == "train" else path.stem
            try:
                with path.open(newline="") as file:
                    rows = list(csv.DictReader(file, delimiter="\t"))
                yield of, float(rows[-1]["s"])
            except (OSError, ValueError, KeyError, IndexError, TypeError, csv.Error):
                continue

    def model_seconds(self) -> dict[str, float]:
        """Stage -> seconds of all its jobs by the model alone, whether they have to run or not."""
        totals: dict[str, float] = {}
        for job in self.jobs:
            totals[job.stage] = totals.get(job.stage, 0.0) + job.model_seconds
        return totals

    def needed_seconds(self) -> dict[str, float]:
        """Stage -> seconds of its jobs that have to run, one after the other."""
        totals: dict[str, float] = {}
        for job in self.jobs:
            if job.needed:
                seconds = job.model_seconds * self.corrections.get(job.stage, 1.0)
                totals[job.stage] = totals.get(job.stage, 0.0) + seconds
        return totals

    def wall_seconds(self) -> float | None:
        """Expected time of the run; None where it is not known how much runs side by side."""
        if not self.side_by_side:
            return None
        needed = [job for job in self.jobs if job.needed]
        # what follows the measures runs one after the other, but for claims and leaderboard
        by_stage: dict[str, list[float]] = {}
        for job in needed:
            by_stage.setdefault(job.stage, []).append(self.seconds(job.stage, job.of))
        wide = [s for stage, all_of in by_stage.items() if stage not in AFTERWARDS for s in all_of]
        side_by_side = max(sum(wide) / self.side_by_side, max(wide, default=0.0))
        late = {stage: sum(by_stage.get(stage, ())) for stage in AFTERWARDS}
        tables = [late["claims"], late["leaderboard"]]
        return (
            side_by_side
            + late["survey"]
            + (max(tables) if self.side_by_side > 1 else sum(tables))
            + late["figures"]
            + late["report"]
        )

    def disk_bytes(self) -> float:
        """Bytes that the jobs which have to run will write, before compression."""
        total = 0.0
        for job in self.jobs:
            if not job.needed:
                continue
            if job.stage == "train":
                # and a checkpoint of all of them, until they are measured
                total += 2 * cost.weights_bytes(self.plan.specs[job.of], self.plan.facts(job.of))
            elif job.stage in MEASURES:
                settings = self.plan.settings(job.stage, job.of)
                members = self.plan.takes(job.stage, job.of)
                # once by cohort and once in the survey
                facts = self.plan.facts(job.of)
                total += 2 * cost.stored_bytes(job.stage, members, facts, settings)
        return total

    def expected(self, report: str) -> Expected:
        """The jobs' costs, for whoever follows the run."""
        return Expected(
            self.plan.study.study,
            report,
            seconds={job.name: self.seconds(job.stage, job.of) for job in self.jobs},
            networks={f"train-{c}": len(specs) for c, specs in self.plan.specs.items()},
            cores=self.side_by_side or 1,
            queued=self.queued,
            outputs={job.name: str(path) for job in self.jobs if (path := self._output(job))},
        )

    def _output(self, job: Job) -> Path | None:
        if job.stage == "train":
            return self.plan.root / "networks" / job.of / "weights.safetensors"
        if job.stage in MEASURES:
            return self.plan.folder / "measures" / job.of / f"{job.stage}.zarr"
        return None

    def text(self) -> str:
        """The estimate in a few lines."""
        plan = self.plan
        new = [job.of for job in self.jobs if job.stage == "train" and job.needed]
        fresh = sum(len(plan.specs[cohort]) for cohort in new)
        wanted = len(plan.members)
        there = wanted - sum(len(plan.cohorts[cohort]) for cohort in new)
        lines = [
            f"{plan.study.study}: {wanted:,} networks on {', '.join(plan.datasets)}; "
            f"{there:,} are trained, {fresh:,} to train in {_count(len(new), 'cohort')}."
        ]
        totals = self.needed_seconds()
        if not totals:
            return lines[0]
        stages = sorted(totals.items(), key=lambda item: -item[1])
        # the longest, and what else takes long enough to be waited for
        parts = ", ".join(
            f"{stage} {duration(seconds)}"
            for place, (stage, seconds) in enumerate(stages)
            if seconds > 5 or not place
        )
        unit = "device and core time" if self.gpu else "core time"
        source = "by earlier timings" if self.corrections else "by the cost model alone"
        lines.append(f"  {duration(sum(totals.values()))} of {unit} ({parts}), {source}.")
        if not self.gpu and sum(totals.values()) > 10 * 3600:
            lines.append(f"  With GPUs about {duration(self._gpu_seconds())} of device time.")
        wall = self.wall_seconds()
        if wall is not None:
            side = f"{_count(self.side_by_side or 1, 'job')} side by side"
            beyond = ", and what jobs wait in the cluster's queue" if self.queued else ""
            lines.append(f"  About {duration(wall)} with {side}{beyond}.")
        memory = max(self.memory_mb(job.stage, job.of) for job in self.jobs if job.needed)
        disk, free = self.disk_bytes(), _free(plan.root)
        lines.append(
            f"  Writes up to {_size(disk)}, {_size(free)} are free; the largest job takes up to "
            f"{_size(memory * 1e6)} of memory."
        )
        if disk + _SPARE > free:
            lines.append(
                f"  WARNING: the disk of {plan.root} is too small: expected {_size(disk)} and "
                f"1 GB to spare, found {_size(free)}. Free some, or run from a folder elsewhere."
            )
        return "\n".join(lines)

    def _gpu_seconds(self) -> float:
        return sum(
            cost.seconds(self._flops(job.stage, job.of), gpu=True)
            for job in self.jobs
            if job.needed and job.stage not in AFTERWARDS
        )


def _free(folder: Path) -> float:
    place = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    return shutil.disk_usage(place).free


def _size(count: float) -> str:
    """Bytes as people say them: '12 MB', '3.4 GB'."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{max(count / 1e6, 1):.0f} MB"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
