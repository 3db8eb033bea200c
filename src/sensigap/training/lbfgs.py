"""Full-batch L-BFGS with strong-Wolfe line search: torch's own, on hand-written gradients."""

import math
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from sensigap import networks
from sensigap.datasets.labels import training_labels
from sensigap.spec import NetworkSpec
from sensigap.training.passes import (
    ForwardBackward,
    Layout,
    cross_entropy,
    runs_of,
    target_positions,
)
from sensigap.training.schedule import Record, check_steps
from sensigap.training.trainer import Data, Finished, Member, Saved, default_route, finish

_MOST_ITERATIONS = 20
#: torch's default: a step call also ends after 5/4 evaluations an iteration
_MOST_EVALUATIONS = _MOST_ITERATIONS * 5 // 4
#: lists of tensors in torch's state
_HISTORIES = ("old_dirs", "old_stps", "ro")


class LBFGSTrainer:
    """Trains networks of one shape with L-BFGS, one at a time, each over one flat vector.

    One step is one call of torch.optim.LBFGS(lr=1, max_iter=20, line_search_fn='strong_wolfe').step
    (STUDY, 'Networks'); a network ends when a call stops by its own tolerances, or after
    `spec.steps` calls. The interface is that of `trainer.StackTrainer`.

    Raises:
        ValueError: a network is augmented or has input noise: the line search needs the same images
            at every evaluation.
    """

    def __init__(
        self,
        specs: Sequence[NetworkSpec],
        data: Data,
        *,
        backend: str | None = None,
        saved: Sequence[Saved] = (),
    ) -> None:
        for spec in specs:
            if spec.augmented or spec.input_noise:
                raise ValueError(
                    f"network {spec.id}: expected neither augmentation nor input noise with lbfgs, "
                    f"found max_shift {spec.max_shift}, flip {spec.flip}, input_noise "
                    f"{spec.input_noise:g}; choose a minibatch optimizer"
                )
        first = specs[0]
        plain = data.train.plain
        self.data = data
        self.layout = Layout(data.train.inputs, first.depth, first.width, data.classes)
        self.backend = backend or default_route(plain.device)
        begun = {network.spec.id: network for network in saved}
        new = [Saved(spec, 0, Record(), {}) for spec in specs if spec.id not in begun]
        self.waiting = deque([*begun.values(), *new])
        self.parameters = plain.new_zeros(1, self.layout.length)
        self.gradients = plain.new_zeros(1, self.layout.length)
        self.member: Member | None = None
        self._start()

    @property
    def active(self) -> bool:
        """Whether networks are left to train."""
        return self.member is not None

    @property
    def steps(self) -> int:
        """Steps made by the network that is being trained."""
        return self.member.step if self.member else 0

    def save(self) -> list[Saved]:
        """Everything that is needed to go on later with the network at hand."""
        if not self.member or not self.member.step:
            return []
        tensors = {"parameters": self.parameters[0].clone(), "finite": self._kept[0].clone()}
        numbers = {}
        for name, value in self._optimizer.state[self._vector].items():
            if name in _HISTORIES:
                tensors |= {f"{name}.{k}": part.clone() for k, part in enumerate(value)}
            elif isinstance(value, torch.Tensor):
                tensors[name] = value.clone()
            elif name != "al":  # scratch space
                numbers[name] = value
        member = self.member
        tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
        return [Saved(member.spec, member.step, member.record, tensors, numbers)]

    def _start(self) -> None:
        """Begins, or goes on, with the next network."""
        self.member = None
        if not self.waiting:
            return
        network = self.waiting.popleft()
        spec, plain = network.spec, self.data.train.plain
        labels = training_labels(spec, self.data.train_labels, self.data.classes)
        self.member = Member(spec, labels, network.record, network.step)
        start = networks.initial([spec], self.data.train.inputs, self.data.classes)
        self.parameters.copy_(self.layout.pack(start))
        self._passes = ForwardBackward(
            self.layout,
            self.parameters,
            self.gradients,
            plain[None],
            runs=runs_of([spec.unit]),
            backend=self.backend,
        )
        self._labels = torch.from_numpy(labels)[None].to(plain.device)
        targets = target_positions(labels[None], self.data.classes)
        self._targets = torch.from_numpy(targets).to(plain.device)
        self._vector = self.parameters[0]
        self._vector.grad = self.gradients[0]
        self._optimizer = torch.optim.LBFGS(
            [self._vector], lr=1.0, max_iter=_MOST_ITERATIONS, line_search_fn="strong_wolfe"
        )
        self._restore(network)

    def _restore(self, network: Saved) -> None:
        """Takes over what `save` gave."""
        tensors = {name: t.to(self.parameters.device) for name, t in network.tensors.items()}
        if tensors:
            self._vector.copy_(tensors.pop("parameters"))
        self._kept = self.parameters.clone()
        if tensors:
            self._kept[0] = tensors.pop("finite")
            state = self._optimizer.state[self._vector]
            state.update(network.numbers)
            for name in _HISTORIES:
                count = sum(key.startswith(f"{name}.") for key in tensors)
                state[name] = [tensors.pop(f"{name}.{k}") for k in range(count)]
            state.update(tensors)

    def _loss(self) -> torch.Tensor:
        """Mean cross-entropy on the full batch; fills in the gradients."""
        with torch.no_grad():
            self._passes.step(self._targets)
            return cross_entropy(self._passes.logits, self._labels)[0].mean()

    def advance(self, seconds: float = 1.0) -> list[Finished]:
        """Steps with the network at hand for about so long; at least one step is made.

        Returns:
            The network, if it is done.
        """
        ends = time.perf_counter() + seconds
        while self.member and self.member.record.status is None:
            self._step(self.member)
            if time.perf_counter() >= ends:
                break
        if not self.member or self.member.record.status is None:
            return []
        done = self.member
        finish(self.layout, self._kept, [done], self.data, self.backend)
        row = self._kept[0].cpu()
        self._start()
        return [Finished(done.spec, row, done.record)]

    def _step(self, member: Member) -> None:
        began = time.perf_counter()
        state = self._optimizer.state[self._vector]
        before = state.get("n_iter", 0), state.get("func_evals", 0)
        with np.errstate(all="ignore"):  # a diverging network is no error
            self._optimizer.step(self._loss)
            member.step += 1
            exhausted = (
                state["n_iter"] - before[0] < _MOST_ITERATIONS
                and state["func_evals"] - before[1] < _MOST_EVALUATIONS
            )
            due = check_steps(member.spec.steps)[len(member.record.steps)] == member.step
        if due or exhausted:
            self._check(member, exhausted)
        member.record.train_seconds += time.perf_counter() - began

    def _check(self, member: Member, exhausted: bool) -> None:
        # the line search may have left the gradient of another point
        with torch.no_grad(), np.errstate(all="ignore"):
            self._passes.step(self._targets)
            losses, right = cross_entropy(self._passes.logits, self._labels)
        loss, finite = float(losses.mean()), bool(self.parameters.isfinite().all())
        if finite and math.isfinite(loss):
            self._kept.copy_(self.parameters)
        member.record.check(
            member.spec,
            member.step,
            loss=loss,
            accuracy=float(right.double().mean()),
            gradient_norm=float(torch.linalg.vector_norm(self.gradients, dtype=torch.float64)),
            finite=finite,
            exhausted=exhausted,
        )
