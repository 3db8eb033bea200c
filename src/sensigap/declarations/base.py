"""What a measure declares: everything that the rest of the project has to know of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sensigap.datasets.known import DatasetFacts, Sizes
from sensigap.spec import SEED_MAX, NetworkSpec

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Variable:
    """What a variable or coordinate is: dimensions, kind of dtype, description, unit."""

    dims: tuple[str, ...]
    #: 'float', 'int', 'bool' or 'str'
    kind: str
    long_name: str
    units: str = "1"


@dataclasses.dataclass(frozen=True)
class Schema:
    """The variables and coordinates that a store must hold; nothing else may be in it."""

    coordinates: Mapping[str, Variable]
    variables: Mapping[str, Variable]


NETWORK = {"network": Variable(("network",), "str", "network id: hash of what decides its weights")}
SAMPLE = {
    "sample": Variable(("sample",), "int", "index in the published test set"),
    "label": Variable(("sample",), "int", "true class"),
}


def by_network(names: Mapping[str, str]) -> dict[str, Variable]:
    """A variable with one number a network for each name and description."""
    return {name: Variable(("network",), "float", text) for name, text in names.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """A key of the configuration under `measures.<measure>`."""

    name: str
    #: int, float, or 'rows': networks as rows of the survey, which the measure gets as ids; or
    #: 'functions': label -> reference, which it gets with the digest of the function's file
    kind: Any
    text: str
    default: Any
    unit: str = ""
    #: whether it only decides which networks are measured, and is not passed on
    only_chooses: bool = False
    #: of `DatasetFacts`: what null stands for, data set by data set
    by_dataset: str = ""
    #: bounds, by the names that pydantic gives them
    bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)


def seed_setting(text: str) -> Setting:
    """The key `seed` of a measure, which says what it is the seed of."""
    bounds = {"ge": 0, "le": SEED_MAX}
    return Setting(name="seed", kind=int, text=text, default=0, bounds=bounds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """A variable of the survey made from a measure's: the mean over its points."""

    name: str
    of: str
    long_name: str
    #: whether every point has a value; the mean is over those that have one otherwise
    every_point: bool = True


#: what a predictor looks at beside the weights -> in words; each after what it takes less than
SEES = {
    "weights": "the weights alone",
    "training set": "the training set",
    "test inputs": "test inputs, without labels",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
    """A quantity that is claimed to be larger where the generalization gap is larger.

    The leaderboard shows each with its rank correlations, so any increasing function will do.
    """

    name: str
    #: as it stands in tables and figures
    label: str
    #: variable of the survey on `network`, or on `network` and `sample`: then its mean
    variable: str
    #: a key of `SEES`: the most that it looks at
    sees: str
    #: whether it is this study's own, of sensitivity
    own: bool = False
    #: divided by the margin: log10 of the variable's power of ten, plus log10(1 / margin^2) / 2
    over_margin: bool = False
    #: what the variable holds where it has no value, if not NaN
    missing: float | None = None
    #: the variable holds classes at points: the share of these at which a network and one that
    #: differs from it in the seed alone disagree, mean over all such; NaN where there is none
    between_seeds: bool = False
    #: hyper-parameters that make the quantity, so that they get no dummies beside it
    apart: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure: what it is called, asked, kept and costs. Its numbers are made in `module`.

    `module` holds `measure(members, images, *, device, **settings) -> xarray.Dataset`: a pure
    function from the chosen networks of a cohort and their data set to a Dataset of `schema`, with
    every setting as a keyword; with `kept_by` also `known` and `keep`, see
    `measures.cohort.transitions`.
    """

    #: of the rule, the store, the section of the configuration and the timings
    name: str
    #: what the rule says it does, before 'of <n> networks'
    title: str
    #: description of its section under `measures`
    section: str
    settings: tuple[Setting, ...] = ()
    schema: Schema
    module: str
    #: whether it can use a GPU
    device: bool = True
    #: settings that decide its values at single points, where these are kept beside the store
    #: (`measures.cohort.kept`) for a job that goes on from there; None: nothing is kept
    kept_by: tuple[str, ...] | None = None
    #: group of the survey that holds it; '': its variables join the survey's own
    group: str = ""
    #: (id, settings) -> whether a network is measured; None: all are
    chosen: Callable[[str, Settings], bool] | None = None
    #: whether networks that do not fit their training set are measured too; diverged ones never are
    unfitted: bool = False
    #: what the survey says of the networks chosen
    chosen_text: str = ""
    summaries: tuple[Summary, ...] = ()
    predictors: tuple[Predictor, ...] = ()
    #: (network, data set, settings) -> about how many floating-point operations, see
    #: `sensigap.cost`
    flops: Callable[[NetworkSpec, DatasetFacts, Settings], float]
    #: (data set, settings) -> bytes kept for a network
    stored: Callable[[DatasetFacts, Settings], float] = lambda facts, settings: 1e3


def weights_between(spec: NetworkSpec, facts: Sizes) -> tuple[int, int, int]:
    """Weights of the first layer, of all layers between hidden ones, and of the last."""
    return (
        facts.inputs * spec.width,
        spec.width**2 * (spec.depth - 1),
        spec.width * facts.classes,
    )
