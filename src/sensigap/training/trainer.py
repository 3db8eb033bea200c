"""Trains same-shaped networks in a stack; networks that are done leave it, waiting ones join.

The same code serves a CPU and a GPU. Its GPU side (memory, copies, torch's batched products) has
been tested with torch's products on a CPU only: no GPU was at hand.
"""

import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sensigap import networks
from sensigap.datasets.labels import training_labels
from sensigap.spec import NetworkSpec
from sensigap.training import stacking
from sensigap.training.augmentation import ImageTable
from sensigap.training.batches import batches
from sensigap.training.noise import NoiseStream
from sensigap.training.optimizers import OPTIMIZER_CLASSES
from sensigap.training.passes import (
    Forward,
    ForwardBackward,
    Layout,
    cross_entropy,
    runs_of,
    step_route,
    target_positions,
)
from sensigap.training.schedule import Record, check_steps

logger = logging.getLogger(__name__)

#: points of one forward pass in an evaluation
_POINTS = 1024
#: bytes that the activations of one evaluation should take: by networks, never by points, so that a
#: network's numbers do not depend on its company
_EVALUATION_BYTES = {"cpu": 4 * 2**20, "cuda": 2**30}
#: most steps, and most images, whose batches are drawn at once
_SEGMENT = 64
_SEGMENT_IMAGES = 1 << 21


@dataclasses.dataclass(frozen=True)
class Data:
    """What the networks of one data set and training subset train on and are tested on."""

    train: ImageTable
    #: true classes (train_size,) int64
    train_labels: np.ndarray
    #: standardised test images (k, d), of the training images' dtype, on their device
    test_inputs: torch.Tensor
    #: true classes (k,) int64
    test_labels: np.ndarray
    classes: int


@dataclasses.dataclass
class Member:
    """A network in the stack."""

    spec: NetworkSpec
    labels: np.ndarray
    record: Record
    step: int = 0


@dataclasses.dataclass
class Saved:
    """A network in the middle of its training: all that is needed to go on."""

    spec: NetworkSpec
    step: int
    record: Record
    #: on the CPU, by name; what they are is the trainer's business
    tensors: dict[str, torch.Tensor]
    #: numbers that go with them
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Finished:
    """A network that is done: its parameters (parameter,) in the layout's order, and its record."""

    spec: NetworkSpec
    parameters: torch.Tensor
    record: Record


class StackTrainer:
    """Trains networks of one depth, width, batch size, minibatch optimizer and precision.

    Call `advance` until `active` is false; networks that are done are handed out by `advance`.

    Args:
        specs: the networks, of one shape; those that find no place in the stack wait.
        data: images and labels.
        size: networks that step together; None: see `stacking`.
        backend: how matrix products are made, see `passes.product`; None: 'numpy' on a CPU.
        saved: networks among `specs` that an earlier trainer had begun with.
    """

    def __init__(
        self,
        specs: Sequence[NetworkSpec],
        data: Data,
        *,
        size: int | None = None,
        backend: str | None = None,
        saved: Sequence[Saved] = (),
    ) -> None:
        first = specs[0]
        plain = data.train.plain
        self.data = data
        self.batch_size = first.batch_size
        self.layout = Layout(data.train.inputs, first.depth, first.width, data.classes)
        self.backend = backend or default_route(plain.device)
        self._step_route = step_route(self.backend, first.precision, plain.device)
        self._optimizer_class = OPTIMIZER_CLASSES[first.optimizer]
        begun = {network.spec.id: network for network in saved}
        new = [Saved(spec, 0, Record(), {}) for spec in specs if spec.id not in begun]
        self.waiting = deque([*begun.values(), *new])
        self.members: list[Member] = []
        self._step_seconds = math.inf
        if size is None:
            size = stacking.stack_size(
                self.layout, self.batch_size, self._optimizer_class.moments, plain
            )
        self._allocate(min(size, len(specs)))
        self._fill()

    @property
    def active(self) -> bool:
        """Whether networks are left to train."""
        return bool(self.members)

    @property
    def steps(self) -> int:
        """Steps made by the networks that are not done, all together."""
        return sum(m.step for m in self.members) + sum(saved.step for saved in self.waiting)

    def save(self) -> list[Saved]:
        """Everything that is needed to go on later; networks that have not begun need nothing."""
        names = [f"{k}" for k in range(len(self._buffers))]
        running = [
            Saved(
                member.spec,
                member.step,
                member.record,
                dict(zip(names, (b[k].to("cpu", copy=True) for b in self._buffers), strict=True)),
            )
            for k, member in enumerate(self.members)
        ]
        return running + [network for network in self.waiting if network.tensors]

    @property
    def _buffers(self) -> list[torch.Tensor]:
        """All that moves when a network moves: (network, parameter) each."""
        return [self.parameters, self.gradients, self.finite, *self.optimizer.state]

    def _allocate(self, size: int) -> None:
        """Makes the buffers of a stack of `size` networks, or of as many as there is memory for."""
        plain = self.data.train.plain
        length = self.layout.length
        try:
            self.parameters, self.gradients, self.finite = plain.new_zeros(3, size, length)
            self.optimizer = self._optimizer_class(size, length, plain)
            self._inputs = plain.new_empty(size * self.batch_size, self.data.train.inputs)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            logger.warning("out of device memory with a stack of %d networks: halving it", size)
            return self._allocate(size // 2)
        self.size = size
        return None

    def _fill(self) -> None:
        """Gives free places to waiting networks, and sorts the stack into runs of one unit."""
        while self.waiting and len(self.members) < self.size:
            network = self.waiting.popleft()
            place = len(self.members)
            for name, buffer in enumerate(self._buffers):
                buffer[place] = network.tensors.get(f"{name}", torch.zeros(()))
            if not network.tensors:
                start = networks.initial([network.spec], self.data.train.inputs, self.data.classes)
                self.parameters[place] = self.layout.pack(start)[0].to(self.parameters.device)
                self.finite[place] = self.parameters[place]
            labels = training_labels(network.spec, self.data.train_labels, self.data.classes)
            self.members.append(Member(network.spec, labels, network.record, network.step))
        self._arrange(sorted(range(len(self.members)), key=lambda k: self.members[k].spec.unit))

    def _arrange(self, order: Sequence[int]) -> None:
        """Keeps the networks at places `order`, in that order."""
        if list(order) != list(range(len(self.members))):
            for buffer in self._buffers:
                buffer[: len(order)] = buffer[list(order)]
        self.members = [self.members[k] for k in order]
        if not self.members:
            return
        count = len(self.members)
        rows = self.parameters[:count]
        rates = [member.spec.learning_rate for member in self.members]
        self._rates = torch.tensor(rates, dtype=torch.float64)
        self._labels = np.stack([member.labels for member in self.members])
        self._passes = ForwardBackward(
            self.layout,
            rows,
            self.gradients[:count],
            self._inputs[: count * self.batch_size].view(count, self.batch_size, -1),
            runs=runs_of([member.spec.unit for member in self.members]),
            backend=self._step_route,
        )
        #: networks with input noise: their place, the images that they see, the noise
        self._noisy = [
            (k, self._passes.hidden[0][k], NoiseStream(member.spec, self.layout.sizes[0], rows))
            for k, member in enumerate(self.members)
            if member.spec.input_noise
        ]

    def _halve(self) -> None:
        """Makes the stack half as large; the networks that have no place any more wait."""
        logger.warning(
            "out of device memory with a stack of %d networks: halving it", len(self.members)
        )
        half = len(self.members) // 2
        self.waiting.extendleft(reversed(self.save()[: len(self.members)]))
        self.members = []
        del self.parameters, self.gradients, self.finite, self.optimizer, self._inputs, self._passes
        self._noisy = []
        self._allocate(half)
        self._fill()

    def _until_check(self, member: Member) -> int:
        """Steps until a network's next check."""
        return check_steps(member.spec.steps)[len(member.record.steps)] - member.step

    def advance(self, seconds: float = 1.0) -> list[Finished]:
        """Steps with every network, at most to the next check of any of them.

        Args:
            seconds: about how long it may take; at least one step is made.

        Returns:
            The networks that are done; waiting ones have taken their places.
        """
        try:
            return self._advance(seconds)
        except torch.OutOfMemoryError:
            if len(self.members) == 1:
                raise
        self._halve()
        return []

    def _advance(self, seconds: float) -> list[Finished]:
        began = time.perf_counter()
        room = _SEGMENT_IMAGES // (len(self.members) * self.batch_size)
        most = max(1, int(min(seconds / self._step_seconds, _SEGMENT, room)))
        count = min(most, *(self._until_check(member) for member in self.members))
        with torch.no_grad(), np.errstate(all="ignore"):  # a diverging network is no error
            self._steps(count)
            if count:
                self._step_seconds = (time.perf_counter() - began) / count
            due = [k for k, member in enumerate(self.members) if self._until_check(member) == 0]
            results = self._check(due) if due else []
        share = (time.perf_counter() - began) / len(self.members)
        for member in self.members:
            member.record.train_seconds += share
        for k, result in zip(due, results, strict=True):
            member = self.members[k]
            member.record.check(member.spec, member.step, **result)
        return self._leave() if due else []

    def _steps(self, count: int) -> None:
        """`count` steps with every network."""
        device = self.parameters.device
        positions, targets = (_to_device(part, device) for part in self._batches(count))
        made = torch.tensor([member.step for member in self.members], dtype=torch.float64)
        steps = made + torch.arange(1, count + 1, dtype=torch.float64)[:, None]
        coefficients = [
            _to_device(part.to(self.parameters.dtype), device)
            for part in self.optimizer.coefficients(self._rates, steps)
        ]
        rows = len(self.members)
        parameters, gradients = self.parameters[:rows], self.gradients[:rows]
        inputs = self._inputs[: rows * self.batch_size]
        for step in range(count):
            self.data.train.fetch(positions[step], inputs)
            for k, images, noise in self._noisy:
                noise.add(images, self.members[k].step)
            self._passes.step(targets[step])
            # nothing from here on takes memory: running out of it leaves whole steps
            self.optimizer.update(parameters, gradients, [part[step] for part in coefficients])
            for member in self.members:
                member.step += 1

    def _batches(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of images and of targets, both (step, network * image)."""
        n = self.data.train.size
        shape = (count, len(self.members), self.batch_size)
        positions, labels = np.empty(shape, np.int64), np.empty(shape, np.int64)
        for k, member in enumerate(self.members):
            images = batches(member.spec.seed, n, self.batch_size, member.step, count)
            positions[:, k] = self.data.train.positions(member.spec, images, member.step)
            labels[:, k] = self._labels[k][images]
        targets = target_positions(labels, self.data.classes)
        return torch.from_numpy(positions.reshape(count, -1)), torch.from_numpy(targets)

    def _check(self, due: list[int]) -> list[dict[str, Any]]:
        """What a check looks at, for the networks at places `due`."""
        rows = self._rows(self.parameters, due)
        specs = [self.members[k].spec for k in due]
        loss, accuracy = loss_and_accuracy(
            self.layout, rows, specs, self.data.train.plain, self._labels[due], backend=self.backend
        )
        gradients = self._rows(self.gradients, due)
        finite = rows.isfinite().all(1).tolist()
        for k, good, value in zip(due, finite, loss, strict=True):
            if good and math.isfinite(value):
                self.finite[k] = self.parameters[k]
        return [
            {
                "loss": loss[k],
                "accuracy": accuracy[k],
                "gradient_norm": float(torch.linalg.vector_norm(gradients[k], dtype=torch.float64)),
                "finite": finite[k],
            }
            for k in range(len(due))
        ]

    def _rows(self, buffer: torch.Tensor, places: list[int]) -> torch.Tensor:
        """Rows at some places: a view if they are all of the stack's."""
        if len(places) == len(self.members):
            return buffer[: len(places)]
        return buffer[places]

    def _leave(self) -> list[Finished]:
        """Takes networks that are done out of the stack."""
        done = [k for k, member in enumerate(self.members) if member.record.status]
        if not done:
            return []
        rows = self.finite[done].clone()
        left = [self.members[k] for k in done]
        self._arrange([k for k in range(len(self.members)) if k not in done])
        finish(self.layout, rows, left, self.data, self.backend)
        self._fill()
        return [
            Finished(member.spec, row.cpu(), member.record)
            for member, row in zip(left, rows, strict=True)
        ]


def _to_device(part: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on a device; on a GPU without waiting for the steps that are under way."""
    if device.type == "cpu":
        return part
    return part.contiguous().pin_memory().to(device, non_blocking=True)


def default_route(device: torch.device) -> str:
    """How matrix products are made on a device, see `passes.product`."""
    return "numpy" if device.type == "cpu" else "torch"


def loss_and_accuracy(
    layout: Layout,
    rows: torch.Tensor,
    specs: Sequence[NetworkSpec],
    x: torch.Tensor,
    labels: np.ndarray,
    *,
    backend: str,
) -> tuple[list[float], list[float]]:
    """Mean cross-entropy (nats) and accuracy of networks at inputs.

    Args:
        layout: of the parameters.
        rows: parameters (network, parameter).
        specs: the networks.
        x: inputs (point, d).
        labels: classes (network, point), int64.
        backend: see `passes.product`.
    """
    most = _EVALUATION_BYTES[x.device.type] // (
        min(len(x), _POINTS) * sum(layout.sizes) * x.dtype.itemsize
    )
    means: tuple[list[float], list[float]] = ([], [])
    for start in range(0, len(rows), max(1, most)):
        group = slice(start, start + max(1, most))
        runs = runs_of([spec.unit for spec in specs[group]])
        targets = torch.from_numpy(labels[group]).to(x.device)
        parts = []
        for points, target in zip(x.split(_POINTS), targets.split(_POINTS, 1), strict=True):
            inputs = points.expand(len(target), *points.shape)
            forward = Forward(layout, rows[group], inputs, runs=runs, backend=backend)
            forward()
            parts.append(cross_entropy(forward.logits, target))
        for found, part in zip(means, zip(*parts, strict=True), strict=True):
            found.extend(torch.cat(part, 1).double().mean(1).tolist())
    return means


def finish(
    layout: Layout, rows: torch.Tensor, members: Sequence[Member], data: Data, backend: str
) -> None:
    """Fills in the records what the kept weights, rows (network, parameter), give."""
    specs = [member.spec for member in members]
    with torch.no_grad(), np.errstate(all="ignore"):
        test_labels = np.broadcast_to(data.test_labels, (len(rows), len(data.test_labels))).copy()
        test = loss_and_accuracy(
            layout, rows, specs, data.test_inputs, test_labels, backend=backend
        )
        labels = np.stack([member.labels for member in members])
        train = loss_and_accuracy(layout, rows, specs, data.train.plain, labels, backend=backend)
    for k, member in enumerate(members):
        record = member.record
        record.train_loss, record.train_accuracy = train[0][k], train[1][k]
        record.test_loss, record.test_accuracy = test[0][k], test[1][k]
