"""When a network is looked at, and the record of what was seen."""

import dataclasses
import functools
import math

import numpy as np

from sensigap.spec import NetworkSpec

_CHECKS = 25


@functools.cache
def check_steps(steps: int) -> tuple[int, ...]:
    """Steps after which a network is evaluated on its whole training set, log-spaced from 1 on.

    They depend on the number of steps alone, so that a stop rule ends a network at the same step in
    any company.
    """
    return tuple(sorted({round(step) for step in np.geomspace(1, steps, min(_CHECKS, steps))}))


@dataclasses.dataclass
class Record:
    """What is known of a network's training: its learning curve and its end."""

    #: learning curve: one value a check
    steps: list[int] = dataclasses.field(default_factory=list)
    loss: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)
    gradient_norm: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    #: the first check that found the network fitted, -1: none
    fit_step: int = -1
    #: one of `spec.STATUSES`; None while training
    status: str | None = None
    #: seconds of training so far, the network's share of its stack's
    train_seconds: float = 0.0
    #: of the weights that are kept: cross-entropy (nats) and accuracy on the whole sets
    train_loss: float = math.nan
    train_accuracy: float = math.nan
    test_loss: float = math.nan
    test_accuracy: float = math.nan

    @property
    def steps_done(self) -> int:
        """Optimizer steps made up to the last check."""
        return self.steps[-1] if self.steps else 0

    def check(
        self,
        spec: NetworkSpec,
        step: int,
        *,
        loss: float,
        accuracy: float,
        gradient_norm: float,
        finite: bool,
        exhausted: bool = False,
    ) -> None:
        """Adds a check and sets the status if the network is done.

        Args:
            spec: the network.
            step: optimizer steps made.
            loss: cross-entropy (nats) on the whole training set.
            accuracy: accuracy on the whole training set.
            gradient_norm: norm of the last minibatch gradient.
            finite: whether all weights are finite.
            exhausted: whether the optimizer has ended by itself.
        """
        self.steps.append(step)
        self.loss.append(loss)
        self.accuracy.append(accuracy)
        self.gradient_norm.append(gradient_norm)
        self.seconds.append(self.train_seconds)
        if not (finite and math.isfinite(loss)):
            self.status = "diverged"
            return
        self.train_loss, self.train_accuracy = loss, accuracy
        fitted = accuracy >= spec.fit_accuracy
        if fitted and self.fit_step < 0:
            self.fit_step = step
        if (
            exhausted
            or step >= spec.steps
            or (spec.stop == "fitted" and fitted)
            or (spec.stop == "loss" and loss <= spec.target_loss)
        ):
            self.status = "fitted" if fitted else "not fitted"
