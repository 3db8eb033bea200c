"""What a study asks for and what of it is there: cohorts, settings, digests, needs.

Read while the workflow is parsed, in every process that does; so it is quick, writes nothing, and
hangs on nothing but the configuration and the results folder.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sensigap import cohorts, cost, custom, pilot, records
from sensigap.code_digest import code_digest
from sensigap.config import ConfigError, Fault, load
from sensigap.datasets import places
from sensigap.datasets.known import DatasetFacts, store_name
from sensigap.declarations import MEASURES
from sensigap.declarations.training import TRAINING_CODE
from sensigap.design import design, measure_settings, table
from sensigap.spec import NetworkSpec
from sensigap.weights_header import is_whole

DESIGN = "design.csv"

#: stage -> the modules that decide what it makes, see `sensigap.code_digest`. A costly stage names
#: its pure functions; a cheap one the module that reads, computes and writes.
CODE: dict[str, tuple[str, ...]] = {
    "dataset": ("sensigap.datasets.sources",),
    "train": TRAINING_CODE,
    **{
        name: (measure.module, *({measure.chosen.__module__} if measure.chosen else ()))
        for name, measure in MEASURES.items()
    },
    "survey": ("sensigap.assembly",),
    "pilot": ("sensigap.pilot",),
    "claims": ("sensigap.analysis.claims",),
    "leaderboard": ("sensigap.analysis.leaderboard",),
    "figures": ("sensigap.figures.files",),
    "report": ("sensigap.report.build",),
}


# ASSUME: no job gets more memory than this, a terabyte; the largest of the paper takes some 10 GB
MOST_BYTES = 1e12


class OldResultsError(RuntimeError):
    """The results folder was written by a version that kept networks under the study."""


class WorkPlan:
    """A study's networks, their cohorts, and what has to be made.

    Args:
        config: the configuration as YAML gives it.
        root: the results folder.
        look: also looks at each file, see `fault`: for the process that plans a run, not for jobs.

    Raises:
        ConfigError: the configuration has faults.
        CohortError: the folder of a cohort that has weights cannot be read.
        OldResultsError: the study's folder is of an earlier version.
    """

    def __init__(self, config: Mapping[str, Any], root: str | Path, *, look: bool = False) -> None:
        self.study = load(config)
        self.root = Path(root)
        self.look = look
        #: file or store -> what is wrong with it, of those that were looked at
        self.faults: dict[Path, str] = {}
        self._looked_at: set[Path] = set()
        self.folder = self.root / self.study.study
        self._refuse_old_results()
        self.members = design(self.study)
        #: networks that are trained before the others
        self.pilots = [] if self.study.execution.pilot == "off" else pilot.choose(self.members)
        plan = cohorts.read_all(self.root / "networks", self.study.datasets, self.members)
        # pilots come first, so that they have cohorts of their own
        for identities in (self.pilots, self.members):
            plan = cohorts.extend(
                plan,
                [self.members[identity].spec for identity in identities],
                self.study.execution.cohort_tflop * 1e12,
                lambda spec: cost.cohort_cost(spec, self.study.facts(spec.dataset)),
            )
        #: cohort -> the study's networks in it
        self.cohorts = cohorts.members(plan, self.members)
        everyone = cohorts.specs_by_cohort(plan)
        #: cohort -> all its networks; of every cohort of these data sets, and of the study's
        self.known = everyone
        self.specs: dict[str, list[NetworkSpec]] = {name: everyone[name] for name in self.cohorts}
        #: the cohorts of pilots; of all networks where the study has none
        self.pilot_cohorts = list(cohorts.members(plan, self.pilots or self.members))
        #: data sets that have networks
        self.datasets = list(dict.fromkeys(map(cohorts.dataset_of, self.cohorts)))

    def _refuse_old_results(self) -> None:
        old = self.folder / "plan.csv"
        if old.exists():
            raise OldResultsError(
                f"{self.folder} holds results of an earlier version ({old.name}): networks now lie "
                f"in {self.root / 'networks'}, shared by all studies, and have other names. Move "
                f"it away, for example\n  mv {self.folder} {self.folder}-old\n"
                "and run again; or name the study otherwise."
            )

    def refuse_impossible(self, *, gpu: bool) -> None:
        """Tells before a run what its jobs could only fail at.

        Args:
            gpu: whether jobs get a GPU.

        Raises:
            ConfigError: a job needs more memory than any machine has, or networks that are not
                trained yet need a GPU.
            DatasetError: `data_root` names a variable that is not set.
        """
        faults = [*self._too_large(), *([] if gpu else self._without_gpu())]
        if faults:
            raise ConfigError(faults)
        if any(
            self.study.source(dataset) is None
            and dataset != "digits"
            and not (self.root / "datasets" / f"{store}.zarr").exists()
            for dataset, store in zip(self.datasets, self.stores(), strict=True)
        ):
            places.root(self.study.data_root)

    def _too_large(self) -> list[Fault]:
        largest: dict[tuple[str, ...], tuple[float, str]] = {}
        for cohort, specs in self.specs.items():
            needed: dict[tuple[str, ...], float] = {
                ("defaults",): cost.training_bytes(specs, self.facts(cohort))
            }
            for name in MEASURES:
                taken = self.takes(name, cohort)
                if taken:
                    needed["measures", name] = cost.measuring_bytes(
                        name, taken, self.facts(cohort), self.settings(name, cohort)
                    )
            for path, amount in needed.items():
                largest[path] = max(largest.get(path, (0.0, "")), (amount, cohort))
        faults = []
        for path, (amount, cohort) in largest.items():
            if amount <= MOST_BYTES:
                continue
            specs = self.specs[cohort]
            facts = self.facts(cohort)
            widest = max(specs, key=lambda spec: cost.parameters(spec, facts))
            weights = cost.weights_bytes(specs, facts)
            job = "train" if path == ("defaults",) else f"measure ({path[-1]})"
            faults.append(
                Fault(
                    path,
                    f"found a job of {amount / 1e12:,.1f} TB of memory, to {job} {len(specs):,} "
                    f"networks of {cohorts.dataset_of(cohort)}, the largest of depth "
                    f"{widest.depth} and width {widest.width}, whose weights take "
                    f"{weights / 1e12:,.3f} TB in all",
                    f"at most {MOST_BYTES / 1e12:g} TB for one job",
                    "lower depth, width or what is measured, or execution.cohort_tflop",
                )
            )
        return faults

    def _without_gpu(self) -> list[Fault]:
        for cohort, specs in self.specs.items():
            count = sum(spec.precision == "tf32" for spec in specs)
            if count and not self.trained(cohort):
                return [
                    Fault(
                        ("defaults", "precision"),
                        f"found tf32 for {count:,} networks of {cohorts.dataset_of(cohort)} to be "
                        "trained, and no GPU",
                        "float32, float64 or bf16 without a GPU",
                        "or give the jobs a GPU, on a cluster with --set-resources train:gpu=1",
                    )
                ]
        return []

    def data(self, cohort: str) -> str:
        """Name of the store of the data set that a cohort learns, without its ending."""
        return store_name(cohorts.dataset_of(cohort), self.facts(cohort))

    def facts(self, cohort: str) -> DatasetFacts:
        """What is known of the data set that a cohort learns."""
        return self.study.facts(cohorts.dataset_of(cohort))

    def stores(self) -> list[str]:
        """Names of the data sets' stores, without their ending."""
        return [store_name(dataset, self.study.facts(dataset)) for dataset in self.datasets]

    @functools.cache  # noqa: B019 - a plan lives as long as its process
    def settings(self, measure: str, cohort: str) -> dict[str, Any]:
        """The settings of a measure for a cohort: null filled in, networks as ids of the cohort."""
        settings = self._settings(measure, cohorts.dataset_of(cohort))
        return {
            setting.name: sorted({*settings[setting.name]} & self._identities(cohort))
            if setting.kind == "rows"
            else settings[setting.name]
            for setting in MEASURES[measure].settings
        }

    @functools.cache  # noqa: B019
    def _identities(self, cohort: str) -> set[str]:
        return {spec.id for spec in self.known[cohort]}

    @functools.cache  # noqa: B019
    def _settings(self, measure: str, dataset: str) -> dict[str, Any]:
        settings = measure_settings(self.study, measure, dataset)
        for setting in MEASURES[measure].settings:
            if setting.kind == "functions":
                settings[setting.name] = {
                    label: {"function": reference, "code": custom.digest(reference)}
                    for label, reference in settings[setting.name].items()
                }
        return settings

    @functools.cache  # noqa: B019
    def measured(self, measure: str) -> list[str]:
        """The cohorts with networks that a measure takes, whatever study asked for them."""
        return [cohort for cohort in self.cohorts if self.takes(measure, cohort)]

    @functools.cache  # noqa: B019
    def takes(self, measure: str, cohort: str) -> list[NetworkSpec]:
        """The networks of a cohort that a measure takes if they fit; all of them for 'train'."""
        chosen = MEASURES[measure].chosen if measure in MEASURES else None
        if chosen is None:
            return self.known[cohort]
        settings = self._settings(measure, cohorts.dataset_of(cohort))
        return [spec for spec in self.known[cohort] if chosen(spec.id, settings)]

    def of_dataset(self, dataset: str, among: Iterable[str] | None = None) -> list[str]:
        """The cohorts of a data set, all of them or those among some."""
        chosen = self.cohorts if among is None else among
        return [cohort for cohort in chosen if cohorts.dataset_of(cohort) == dataset]

    @staticmethod
    @functools.cache
    def code(stage: str) -> str:
        """The digest of a stage's code."""
        return code_digest(*CODE[stage])

    def made_by(self, stage: str, settings: Any = None) -> str:
        """What an up-to-date output of a stage carries, see `records.digest`."""
        return records.digest(settings, self.code(stage))

    def design_digest(self, dataset: str | None = None) -> str:
        """A digest of the design table, or of one data set's rows of it."""
        return records.rows_digest(self._design_table, dataset)

    @functools.cached_property
    def _design_table(self) -> str:
        return table(self.members)

    # --- what is there, and whole -------------------------------------------------------------

    def trained(self, cohort: str) -> bool:
        """Whether a cohort's weights and training store are there and whole, made by this code."""
        place = self.root / "networks" / cohort
        return (
            (place / cohorts.WEIGHTS).exists()
            and (place / cohorts.TRAINING).exists()
            and not self.stale_training(cohort)
        )

    def has_measure(self, measure: str, cohort: str) -> bool:
        """Whether a cohort's store of a measure is there, made by these settings and code."""
        path = self.folder / "measures" / cohort / f"{measure}.zarr"
        made_by = self.made_by(measure, self.settings(measure, cohort))
        return path.exists() and not self.stale(path, made_by)

    def stale_training(self, cohort: str, *, damage_only: bool = False) -> int:
        """As `stale`, of what training left of a cohort."""
        place = self.root / "networks" / cohort
        expected = None if damage_only else self.made_by("train")
        written = self.stale(place / cohorts.TRAINING, expected)
        weights = place / cohorts.WEIGHTS
        if not written and weights.exists() and self._is_bad(weights):
            written = weights.stat().st_mtime_ns
        return written

    def stale(self, path: Path, made_by: str | None) -> int:
        """When an output was written that is there, but is damaged or of other settings or code.

        Args:
            path: a store's folder, or a record.
            made_by: what it should carry; None: whatever it does.

        Returns:
            Its time stamp in nanoseconds; 0 if it is up to date or not there.
        """
        if not path.exists():
            return 0
        if made_by in (None, records.made_by(path)) and not self._is_bad(path):
            return 0
        return path.stat().st_mtime_ns

    def stale_table(self, path: Path, checksum: str = "") -> int:
        """As `stale`, of the design or a cohort's networks: tables that the plan itself decides.

        Args:
            path: the table.
            checksum: of the table as it was written; '' where nobody knows: then it should be what
                this configuration asks for.
        """
        if not path.is_file():
            return path.stat().st_mtime_ns if path.exists() else 0
        try:
            whole = checksum == records.checksum(path) if checksum else not self._is_bad(path)
        except OSError:
            whole = False
        return 0 if whole else path.stat().st_mtime_ns

    def _is_bad(self, path: Path) -> bool:
        if self.look and path not in self._looked_at:
            self._looked_at.add(path)
            found = self._fault(path)
            if found:
                self.faults[path] = found
        return path in self.faults

    def _fault(self, path: Path) -> str:
        """What is wrong with a file or store that is there, found cheaply; '' if nothing is.

        Tables are compared whole. Of stores and of files that have a record, sizes decide, and
        those that are younger than their record are read; weights must be as long as their header
        says. So a change that left size and time stamp as they were passes here: whoever reads the
        file finds it, and `sensigap adopt` reads all.
        """
        if path.name == cohorts.TABLE:
            return cohorts.fault(path)
        if path.name == cohorts.WEIGHTS:
            return "" if is_whole(path) else "it is cut short, or no file of weights"
        if path == self.folder / DESIGN:
            try:
                same = path.read_bytes() == self._design_table.encode()
            except OSError as error:
                return f"it cannot be read ({error.strerror})"
            return "" if same else "it is not the design of this configuration"
        return records.fault(path)
