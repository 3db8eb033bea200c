"""The factors that pairs of networks differ in, one record each (STUDY, 'Comparisons').

Everything else follows from `FACTORS`: the keys of the configuration's `factors` and the checks of
their axes, the design's pairs, the survey's coordinates, the rows of the claims and the figure.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

#: hyper-parameters that L-BFGS on the full batch does not use
FULL_BATCH_IDLE = ("learning_rate", "batch_size", "steps")


@dataclasses.dataclass(frozen=True)
class OfDataset:
    """A side's value that is a setting of the data set, or so many times it."""

    #: as it stands under the configuration's `datasets.<name>`
    setting: str
    times: float | None = None

    def value(self, setting: Any) -> Any:
        """The value where the setting is `setting`."""
        return setting if self.times is None else setting * self.times


#: the batch size of a side that sees the whole training set at each step
FULL_BATCH = OfDataset("train_size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a pair."""

    #: as it stands in the design and in the survey
    name: str
    #: what makes it, in the terms of the configuration; values may be `OfDataset`
    hyperparameters: Mapping[str, Any]
    #: as it is said on the axes of the figure
    words: str
    #: hyper-parameters that it does not use: another value would make the same network, in several
    #: pairs, so an axis holds one value of each at most
    unused: tuple[str, ...] = ()
    #: hyper-parameters, of those that it does not use, that it has a value of its own for, where
    #: the other side has what the axes say
    instead: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def made(self, settings: object) -> dict[str, Any]:
        """The hyper-parameters that it sets, on a data set.

        Args:
            settings: of the data set, one attribute each.
        """
        return {
            name: value.value(getattr(settings, value.setting))
            if isinstance(value, OfDataset)
            else value
            for name, value in {**self.hyperparameters, **self.instead}.items()
        }

    @property
    def full_batch(self) -> bool:
        """Whether each of its steps sees the whole training set."""
        return (
            self.hyperparameters.get("optimizer") == "lbfgs"
            or self.instead.get("batch_size") == FULL_BATCH
        )


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
    #: hyper-parameters of both sides that no axis names, where they are not those of `defaults`
    usual: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: whether its row is one that the claim stands or falls by; the others are beside it
    primary: bool = True
    #: what is to be known of all its rows of the claims
    note: str = ""
    #: what is to be known of its row on transitions
    transitions_note: str = ""
    #: whether transitions are claimed to follow generalization
    transitions_claimed: bool = True
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
        """The side that sees the full batch, the other one not; None where there is none."""
        return self._alone(full=True)

    @property
    def minibatch(self) -> Side | None:
        """The other side of a pair with a `full_batch`; None where there is none."""
        return self._alone(full=False)

    def _alone(self, *, full: bool) -> Side | None:
        """The only side of which it is true, or false, that it sees the full batch."""
        found = [side for side in self.sides if side.full_batch == full]
        return found[0] if len(found) == 1 else None


def _by_name(factors: Iterable[Factor]) -> dict[str, Factor]:
    return {factor.name: factor for factor in factors}


# the paper's one exception to 'transitions follow generalization'
_PAPERS_EXCEPTION = (
    "the paper reports that transitions do not follow generalization for this factor, so that this "
    "row has no verdict"
)


def _augmentation(name: str, share: float | OfDataset, said: str, *, primary: bool) -> Factor:
    """No augmentation against a share of the drawn images augmented."""
    return Factor(
        name=name,
        claim="C4",
        worse=Side(
            name="none",
            hyperparameters={"augmentation": False, "augmentation_share": 1.0},
            words="no augmentation",
        ),
        better=Side(
            name="augmented",
            hyperparameters={"augmentation": True, "augmentation_share": share},
            words="augmentation" if primary else f"augmentation, share {share}",
        ),
        key=f"no augmentation against augmentation of {said} of the drawn images (C4"
        f"{_beside(primary)})",
        title="augmentation" if primary else f"augmentation, {share}",
        primary=primary,
    )


def _batch(name: str, said: str, rule: str, note: str, *, stop: Mapping[str, Any]) -> Factor:
    """Full-batch against minibatch momentum, both with one stop rule."""
    own = {"optimizer": "momentum", **stop}
    return Factor(
        name=name,
        claim="C3",
        worse=Side(
            name="full",
            hyperparameters=own,
            words="full batch",
            unused=("batch_size",),
            instead={"batch_size": FULL_BATCH},
        ),
        better=Side(name="minibatch", hyperparameters=own, words="minibatch"),
        key=f"full-batch against minibatch momentum {said} (C3{_beside(not stop)}); "
        f"{' and '.join(own)} {'are no axes' if stop else 'is no axis'}, batch_size holds one "
        f"value at most, below the training set{rule}",
        title="batch, equal loss" if stop else "batch",
        # ASSUME: both sides fit before this loss
        usual={"target_loss": 0.01} if stop else {},
        primary=not stop,
        note=note,
        transitions_note=_PAPERS_EXCEPTION,
        transitions_claimed=False,
    )


def _noise(name: str, dose: OfDataset, said: str, *, primary: bool) -> Factor:
    """No input noise against input noise: an intervention on the Jacobian norm (Bishop 1995)."""
    return Factor(
        name=name,
        claim="C6",
        worse=Side(name="none", hyperparameters={"input_noise": 0.0}, words="no input noise"),
        better=Side(name="noise", hyperparameters={"input_noise": dose}, words=said),
        key=f"no input noise against {said}, see input_noise of the data set (C6"
        f"{_beside(primary)}); not with lbfgs",
        title=said,
        primary=primary,
        note="noise is augmentation too: that both fall does not make the norm the cause",
    )


def _beside(primary: bool) -> str:
    return "" if primary else ", beside the claim's row"


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
        _augmentation(
            "augmentation", OfDataset("primary_share"), "the data set's primary_share", primary=True
        ),
        _augmentation("augmentation_10", 0.1, "a share of 0.1", primary=False),
        _augmentation("augmentation_30", 0.3, "a share of 0.3", primary=False),
        _augmentation("augmentation_100", 1.0, "a share of 1", primary=False),
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
        _batch(
            "batch",
            "at equal steps",
            "",
            "equal steps, in which the full batch sees each image more often",
            stop={},
        ),
        _batch(
            "batch_loss",
            "until each has the training loss target_loss",
            "; target_loss is 0.01 where no axis names it, steps are the most that either makes",
            "each side stops at its first check with the target loss",
            stop={"stop": "loss"},
        ),
        # DEVIATION: the paper compares full-batch with minibatch training as one factor; here
        # optimizer, batch size, learning rate and number of steps change together.
        Factor(
            name="lbfgs",
            claim="C3",
            worse=Side(
                name="full",
                hyperparameters={"optimizer": "lbfgs"},
                words="L-BFGS, full batch",
                unused=FULL_BATCH_IDLE,
            ),
            better=Side(
                name="minibatch",
                hyperparameters={"optimizer": "momentum"},
                words="momentum, minibatch",
            ),
            key="full-batch lbfgs against minibatch momentum (C3, beside the claim's row); "
            "optimizer is no axis, learning_rate, batch_size and steps hold one value at most",
            title="L-BFGS",
            primary=False,
            note="DEVIATION: optimizer, batch size, learning rate and steps change together",
            transitions_note=_PAPERS_EXCEPTION,
            transitions_claimed=False,
            caption="In the pairs on L-BFGS (on the full batch, against momentum SGD on "
            "minibatches), optimizer, batch size, learning rate and number of steps change "
            "together.",
        ),
        _noise("noise", OfDataset("input_noise"), "input noise", primary=True),
        _noise("noise_half", OfDataset("input_noise", 0.5), "half the input noise", primary=False),
    )
)
