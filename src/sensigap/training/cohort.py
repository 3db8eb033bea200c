"""Trains the networks of one job, and writes their weights and their training store."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from sensigap import checkpoints, cost, datasets, interrupt, survey
from sensigap import weights as weights_file
from sensigap.code_digest import code_digest
from sensigap.declarations.training import TRAINING_CODE
from sensigap.files import remove_abandoned
from sensigap.integrity import DamagedFileError
from sensigap.networks import Stack
from sensigap.progress import Progress, duration
from sensigap.records import MADE_BY, digest
from sensigap.spec import NetworkSpec
from sensigap.training import devices
from sensigap.training.augmentation import TABLE_BYTES
from sensigap.training.data import order, shape, subset, training_data, training_dataset
from sensigap.training.lbfgs import LBFGSTrainer
from sensigap.training.passes import Layout
from sensigap.training.schedule import Record
from sensigap.training.trainer import Data, Finished, Saved, StackTrainer
from sensigap.weights_header import MADE_FROM, check_made_from, read_header

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a cohort is trained; none of it is part of a network's identity."""

    #: seconds between checkpoints
    checkpoint_seconds: float = 60.0
    #: 'cpu', 'cuda' or 'auto', see `devices.lease`
    device: str = "auto"
    #: training jobs that may share a GPU
    jobs_per_gpu: int = 1
    #: networks that step together; None: see `stacking`
    stack_size: int | None = None
    #: matrix products by 'numpy' or 'torch'; None: numpy on a CPU, torch on a GPU
    backend: str | None = None
    #: bytes of the largest table of translated images that is kept
    table_bytes: int = TABLE_BYTES


def train_cohort(
    specs: Sequence[NetworkSpec],
    store: str | Path,
    weights: str | Path,
    curves: str | Path,
    settings: Settings | None = None,
) -> None:
    """Trains networks and writes their weights and training store; resumes after a kill.

    Every `settings.checkpoint_seconds`, when the process is asked to end (see `interrupt`) and when
    all networks are trained, the state is written to `<weights>.checkpoint`; a job goes on from
    there, with the same weights to the bit on the same CPU. The last checkpoint is left for
    `checkpoints.discard`: a job that finds it writes its files without training. A lock beside
    `weights` keeps a job that outlived its run and its successor from writing together.

    Args:
        specs: the networks, all of one data set, no two alike.
        store: the data set's Zarr store.
        weights: safetensors file to write, see `sensigap.weights`; it holds networks of every
            status, diverged ones with their weights at the last finite check.
        curves: Zarr store to write, schema 'training'.
        settings: how; None: the defaults.

    Raises:
        ValueError: the specs are of several data sets, or not of the store's.
        interrupt.Interrupted: the process was asked to end; the checkpoint has been written.
    """
    settings = settings or Settings()
    weights, curves = Path(weights), Path(curves)
    lock = weights.with_name(f".{weights.name}.lock")
    with devices.exclusive(lock, f"cohort {weights}") as waited:
        if waited and _written(specs, weights, curves):
            logger.info(
                "%s has been written meanwhile, by the process that was waited for", weights
            )
            return
        images = datasets.load(store)
        _check_dataset(specs, images)
        with (
            devices.lease(settings.device, jobs_per_gpu=settings.jobs_per_gpu) as device,
            interrupt.deferred(),
        ):
            cohort = _Cohort(specs, images, device.torch, settings, checkpoints.beside(weights))
            cohort.train()
        # what is left takes no longer than a checkpoint: it is not worth ending before it
        with interrupt.deferred():
            weights_file.save(weights, cohort.stacks())
            survey.write(
                cohort.dataset(),
                curves,
                "training",
                attributes=survey.provenance(
                    device=device.name,
                    made_by=cohort.made_by,
                    **{MADE_FROM: read_header(weights)["sha256"]},
                ),
            )
        # of jobs that were killed while they wrote them
        remove_abandoned(checkpoints.beside(weights))


def _check_dataset(specs: Sequence[NetworkSpec], images: datasets.Images) -> None:
    wrong = sorted({spec.dataset for spec in specs} - {images.name})
    if wrong:
        raise ValueError(
            f"the cohort's networks are of data set {', '.join(wrong)}, the store is of "
            f"{images.name}: expected one data set; give the cohort the store of its own"
        )


def _written(specs: Sequence[NetworkSpec], weights: Path, curves: Path) -> bool:
    """Whether another process has just written exactly these networks with this code."""
    try:
        trained = survey.load(curves, "training")
        if trained.attrs.get(MADE_BY) != made_by():
            return False
        check_made_from(trained.attrs, curves, weights, weights_file.REMEDY)
        found = {spec.id for members, _ in weights_file.load(weights) for spec in members}
    except (FileNotFoundError, survey.SchemaError, DamagedFileError):
        return False
    return found == {spec.id for spec in specs}


def made_by() -> str:
    """What the training store carries of the code that made it, see `records.digest`."""
    return digest(None, code_digest(*TRAINING_CODE))


class _Cohort:
    """The networks of a cohort: those that are done, and the groups that are left."""

    def __init__(
        self,
        specs: Sequence[NetworkSpec],
        images: datasets.Images,
        device: str,
        settings: Settings,
        checkpoint: Path,
    ) -> None:
        self.specs = list(specs)
        self.images = images
        self.device = device
        self.settings = settings
        self.checkpoint = checkpoint
        # as the job begins: files may be edited while it runs
        self.made_by = made_by()
        self.code = checkpoints.made_with(self.made_by)
        self.finished: dict[str, Finished] = {}
        #: networks in training when the checkpoint was written
        self._begun: dict[str, Saved] = {}
        self._saved = time.monotonic()

    def train(self) -> None:
        """Trains what is left, group by group; at the end a checkpoint holds every network.

        Raises:
            interrupt.Interrupted: the process was asked to end; the checkpoint has been written.
        """
        self._resume()
        found = len(self.finished)
        self._progress = Progress(
            max(sum(self._flops(spec) for spec in self.specs), 1.0),
            f"training {len(self.specs)} networks",
        )
        self._progress.units_done = found
        self._progress.advance(sum(self._flops(f.spec) for f in self.finished.values()))
        for _, members in groupby(sorted(self.specs, key=order), key=subset):
            self._train_subset([spec for spec in members if spec.id not in self.finished])
        if len(self.finished) > found:
            self._save([])
        if interrupt.requested():
            raise self._interrupted()
        counts = [finished.record.status for finished in self.finished.values()]
        logger.info(
            "trained %d networks in %s: %s",
            len(self.specs),
            duration(sum(finished.record.train_seconds for finished in self.finished.values())),
            ", ".join(
                f"{counts.count(status)} {status}" for status in sorted(set(map(str, counts)))
            ),
        )

    def _train_subset(self, specs: Sequence[NetworkSpec]) -> None:
        """Trains the networks of one training subset and precision."""
        if not specs:
            return
        # making the images ready may take long
        self._save_if_asked_to_end()
        data = training_data(self.images, specs, self.device, self.settings.table_bytes)
        for _, members in groupby(specs, key=shape):
            self._train_group(list(members), data)

    def _train_group(self, specs: Sequence[NetworkSpec], data: Data) -> None:
        """Trains the networks of one shape."""
        self._save_if_asked_to_end()
        backend = self.settings.backend
        saved = [self._begun[spec.id] for spec in specs if spec.id in self._begun]
        trainer: StackTrainer | LBFGSTrainer
        if specs[0].optimizer == "lbfgs":
            trainer = LBFGSTrainer(specs, data, backend=backend, saved=saved)
        else:
            size = self.settings.stack_size
            trainer = StackTrainer(specs, data, size=size, backend=backend, saved=saved)
        step_flops = self._flops(specs[0]) / specs[0].steps
        done = 0.0
        while trainer.active:
            for finished in trainer.advance(min(1.0, self.settings.checkpoint_seconds / 2)):
                self.finished[finished.spec.id] = finished
                done += self._flops(finished.spec)
            self._progress.units_done = len(self.finished)
            self._progress.advance(-self._counted + done + trainer.steps * step_flops)
            self._counted = done + trainer.steps * step_flops
            self._save_if_asked_to_end(trainer)
            if time.monotonic() - self._saved >= self.settings.checkpoint_seconds:
                self._save(trainer.save())
        self._counted = 0.0

    #: work of the group at hand that progress knows of
    _counted = 0.0

    def _flops(self, spec: NetworkSpec) -> float:
        return cost.training_flops(spec, self.images)

    def _layout(self, spec: NetworkSpec) -> Layout:
        return Layout(self.images.inputs, spec.depth, spec.width, self.images.classes)

    def _execution(self) -> str:
        """What changes weights by rounding: the kind of device and the backend of products."""
        return f"{self.device.partition(':')[0]}, products by {self.settings.backend or 'default'}"

    def _save_if_asked_to_end(self, trainer: StackTrainer | LBFGSTrainer | None = None) -> None:
        """Writes a checkpoint and ends the training, if the process has been asked to end."""
        if interrupt.requested():
            self._save(trainer.save() if trainer else [])
            raise self._interrupted()

    def _interrupted(self) -> interrupt.Interrupted:
        return interrupt.Interrupted(
            f"asked to end: {len(self.finished)} of {len(self.specs)} networks are done, "
            f"the state is kept in {self.checkpoint}"
        )

    def _save(self, running: Sequence[Saved]) -> None:
        """Writes a checkpoint: the networks that are done, and those in training.

        Networks in training that an earlier checkpoint held and no trainer has yet are kept too.
        """
        known = {network.spec.id for network in running} | set(self.finished)
        running = [*running, *(n for key, n in self._begun.items() if key not in known)]
        done = [Saved(f.spec, 0, f.record, {"": f.parameters}) for f in self.finished.values()]
        header: dict[str, Any] = {"code": self.code, "execution": self._execution()}
        tensors = {}
        for group, members in (("finished", done), ("running", running)):
            header[group] = [
                {
                    "spec": network.spec.to_json(),
                    "step": network.step,
                    "record": dataclasses.asdict(network.record),
                    "numbers": network.numbers,
                }
                for network in members
            ]
            for network in members:
                for name, tensor in network.tensors.items():
                    tensors[f"{group}/{network.spec.id}/{name}"] = tensor
        checkpoints.write(self.checkpoint, header, tensors)
        self._saved = time.monotonic()

    def _resume(self) -> None:
        """Takes over what a checkpoint holds of this cohort's networks."""
        found = checkpoints.read(self.checkpoint)
        if found is None:
            return
        header, tensors = found
        if header["code"] != self.code:
            checkpoints.quarantine(self.checkpoint, "was written by other code or another torch")
            return
        if header["execution"] != self._execution():
            # a network is trained in one way from its first step to its last
            checkpoints.quarantine(self.checkpoint, f"was written on {header['execution']}")
            return
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            _, network, name = key.split("/")
            parts.setdefault(network, {})[name] = tensor
        wanted = {spec.id for spec in self.specs}
        for group in ("finished", "running"):
            for entry in header[group]:
                spec, record = NetworkSpec.from_json(entry["spec"]), Record(**entry["record"])
                if spec.id not in wanted:
                    continue
                if group == "finished":
                    self.finished[spec.id] = Finished(spec, parts[spec.id][""], record)
                else:
                    self._begun[spec.id] = Saved(
                        spec, entry["step"], record, parts[spec.id], entry["numbers"]
                    )
        logger.info(
            "resuming from %s: %d of %d networks done, %d in training",
            self.checkpoint,
            len(self.finished),
            len(self.specs),
            len(self._begun),
        )

    def stacks(self) -> list[tuple[list[NetworkSpec], Stack]]:
        """The trained networks, as `weights.save` takes them."""
        stacks = []
        by_shape = sorted(self.specs, key=lambda spec: (spec.depth, spec.width, spec.precision))
        for _, group in groupby(by_shape, lambda spec: (spec.depth, spec.width, spec.precision)):
            members = list(group)
            layout = self._layout(members[0])
            rows = torch.stack([self.finished[spec.id].parameters for spec in members])
            stacks.append((members, layout.unpack(rows, members)))
        return stacks

    def dataset(self) -> xr.Dataset:
        """The training store."""
        return training_dataset(
            self.specs,
            [self.finished[spec.id].record for spec in self.specs],
            [self._layout(spec).parameters for spec in self.specs],
        )
