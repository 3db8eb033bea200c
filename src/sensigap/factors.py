"""The factors that pairs of networks differ in, one record each (STUDY, 'Comparisons').

Everything else follows from `FACTORS`: the keys of the configuration's `factors` and the checks of
their axes, the design's pairs, the survey's coordinates, the rows of the claims and the figure.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

#: hyper-parameters that L-BFGS on the full batch does not use
FULL_BATCH_IDLE = ("learning_rate", "batch_size", "steps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a pair."""

    #: as it stands in the design and in the survey
    name: str
    #: what makes it, in the terms of the configuration
    hyperparameters: Mapping[str, Any]
    #: as it is said on the axes of the figure
    words: str
    #: hyper-parameters that it does not use: another value would make the same network, in several
    #: pairs, so an axis holds one value of each at most
    unused: tuple[str, ...] = ()

    @property
    def adjective(self) -> str:
        """`words` before a noun: 'full-batch'."""
        return self.words.replace(" ", "-")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Factor:
    """What the two networks of a pair differ in, all else and the seeds being equal.

    Raises:
        ValueError: the sides have one name, or are made by different hyper-parameters.
    """

    #: as it stands in the configuration, the survey and the claims
    name: str
    #: the claim that its rows belong to
    claim: str
    #: the side that is presumed to generalize worse, and the one presumed to do so better
    worse: Side
    better: Side
    #: what its key of the configuration means
    key: str
    #: as it stands over its panels of the figure
    title: str
    #: what is to be known of all its rows of the claims
    note: str = ""
    #: what is to be known of its row on transitions
    transitions_note: str = ""
    #: what is to be known of its panels, a sentence of the figure's caption
    caption: str = ""

    def __post_init__(self) -> None:
        if self.worse.name == self.better.name or set(self.worse.hyperparameters) != set(
            self.better.hyperparameters
        ):
            raise ValueError(
                f"factor {self.name!r}: expected sides of two names that are made by the same "
                f"hyper-parameters, found {self.worse} and {self.better}"
            )

    @property
    def sides(self) -> tuple[Side, Side]:
        """The side presumed worse, then the one presumed better."""
        return self.worse, self.better

    @property
    def own(self) -> tuple[str, ...]:
        """The hyper-parameters that make its sides, so that they are no axes of its pairs."""
        return tuple(self.worse.hyperparameters)

    @property
    def full_batch(self) -> Side | None:
        """The side that L-BFGS trains on the full batch, the other one not; None where none is."""
        return self._alone(full=True)

    @property
    def minibatch(self) -> Side | None:
        """The other side of a pair with a `full_batch`; None where there is none."""
        return self._alone(full=False)

    def _alone(self, *, full: bool) -> Side | None:
        """The only side of which it is true, or false, that L-BFGS trains it on the full batch."""
        found = [
            side
            for side in self.sides
            if (side.hyperparameters.get("optimizer") == "lbfgs") == full
        ]
        return found[0] if len(found) == 1 else None


def _by_name(factors: Iterable[Factor]) -> dict[str, Factor]:
    return {factor.name: factor for factor in factors}


#: factor -> its record, in the order of the configuration and the figure
FACTORS: dict[str, Factor] = _by_name(
    (
        Factor(
            name="labels",
            claim="C3",
            worse=Side(name="random", hyperparameters={"labels": "random"}, words="random labels"),
            better=Side(name="true", hyperparameters={"labels": "true"}, words="true labels"),
            key="random against true labels (C3)",
            title="labels",
        ),
        Factor(
            name="augmentation",
            claim="C4",
            worse=Side(
                name="none", hyperparameters={"augmentation": False}, words="no augmentation"
            ),
            better=Side(
                name="augmented", hyperparameters={"augmentation": True}, words="augmentation"
            ),
            key="no augmentation against augmentation (C4)",
            title="augmentation",
        ),
        Factor(
            name="unit",
            claim="C4",
            worse=Side(
                name="hardsigmoid", hyperparameters={"unit": "hardsigmoid"}, words="HardSigmoid"
            ),
            better=Side(name="relu", hyperparameters={"unit": "relu"}, words="ReLU"),
            key="hardsigmoid against relu (C4)",
            title="unit",
            transitions_note="a HardSigmoid unit has two thresholds and a ReLU unit one, so "
            "untrained networks already differ",
        ),
        # DEVIATION: the paper compares full-batch with minibatch training as one factor; here
        # optimizer, batch size, learning rate and number of steps change together.
        Factor(
            name="batch",
            claim="C3",
            worse=Side(
                name="full",
                hyperparameters={"optimizer": "lbfgs"},
                words="full batch",
                unused=FULL_BATCH_IDLE,
            ),
            better=Side(
                name="minibatch", hyperparameters={"optimizer": "momentum"}, words="minibatch"
            ),
            key="full-batch lbfgs against minibatch momentum (C3); optimizer is no axis, "
            "learning_rate, batch_size and steps hold one value at most",
            title="batch",
            note="DEVIATION: optimizer, batch size, learning rate and steps change together",
            # the paper's one exception to 'transitions follow generalization'
            transitions_note="the paper reports that transitions do not follow generalization for "
            "this factor, so that 'contradicted' here agrees with the paper",
            caption="In the pairs on the batch (L-BFGS on the full batch, momentum SGD on "
            "minibatches), optimizer, batch size, learning rate and number of steps change "
            "together.",
        ),
    )
)
