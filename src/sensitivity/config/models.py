"""The models of a study's configuration: every key, its type, bounds, unit, default and meaning.

Types are strict: no "3" for 3 and no true for 1, but whole numbers pass for floats. Faults between
fields are found in `sensitivity.config.checks`, since pydantic skips its own cross-field validators
as soon as one field fails.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from sensitivity.datasets.known import KNOWN, DatasetFacts

DatasetName = Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"]

T = TypeVar("T")

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _key(description: str, *, unit: str = "", **bounds: Any) -> Any:
    """A field with its description, unit ('' for none) and bounds."""
    extra: Any = {"unit": unit} if unit else None
    return Field(description=description, json_schema_extra=extra, **bounds)


_SEED_MAX = 2**32 - 1

# --- hyper-parameters, each usable under defaults, as an axis and in a row ------------------------

Depth = Annotated[int, _key("number of hidden layers", unit="layers", ge=1, le=1_000)]
Width = Annotated[int, _key("units in each hidden layer", unit="units", ge=1, le=65_536)]
Unit = Annotated[
    Literal["relu", "relu6", "hardtanh", "hardsigmoid"],
    _key("hidden unit, a shifted clamp min(max(z + shift, low), high)"),
]
Optimizer = Annotated[
    Literal["sgd", "momentum", "adam", "rmsprop", "lbfgs"],
    _key(
        "optimizer: sgd, momentum (0.9), adam and rmsprop in minibatches; lbfgs on the full batch, "
        "with its own learning rate 1 and 100 steps at most whatever the other keys say"
    ),
]
LearningRate = Annotated[float, _key("learning rate; not used by lbfgs", gt=0, le=1_000)]
BatchSize = Annotated[
    int,
    _key(
        "training images in a step, at most the training set; not used by lbfgs",
        unit="images",
        ge=1,
        le=60_000,
    ),
]
Gain = Annotated[float, _key("initial weights are N(0, gain^2 / fan_in), biases 0", gt=0, le=1_000)]
Steps = Annotated[
    int, _key("optimizer steps, at most; not used by lbfgs", unit="steps", ge=1, le=1_000_000_000)
]
Seed = Annotated[
    int,
    _key(
        "seed of initial weights, batch order, random labels and augmentation", ge=0, le=_SEED_MAX
    ),
]
Labels = Annotated[
    Literal["true", "random"],
    _key(
        "training labels: the true ones, or random ones, uniform over the classes; test labels "
        'stay true. Write "true" in quotes: without them YAML reads a truth value'
    ),
]
Augmentation = Annotated[
    bool,
    _key("whether training images are translated and mirrored at random, as the data set says"),
]
Stop = Annotated[
    Literal["steps", "fitted", "loss"],
    _key(
        "stop rule: after `steps`; at the first check at which the training set is fitted; or at "
        "the first check at which the training loss is at most `target_loss`"
    ),
]
TargetLoss = Annotated[
    float, _key("training loss at which stop: loss ends; only with stop: loss", unit="nat", ge=0)
]
Precision = Annotated[
    Literal["float32", "float64"], _key("floating-point type of the weights and of training")
]

Values = Annotated[
    list[T],
    Field(
        min_length=1,
        description="values of this hyper-parameter, none of them twice; each as under `defaults`",
        json_schema_extra={"uniqueItems": True},
    ),
]


@with_config(_STRICT)
class Axes(TypedDict, total=False):
    """The values that a search combines, by hyper-parameter; the others are as under `defaults`."""

    depth: Values[Depth]
    width: Values[Width]
    unit: Values[Unit]
    optimizer: Values[Optimizer]
    learning_rate: Values[LearningRate]
    batch_size: Values[BatchSize]
    gain: Values[Gain]
    steps: Values[Steps]
    seed: Values[Seed]
    labels: Values[Labels]
    augmentation: Values[Augmentation]
    stop: Values[Stop]
    target_loss: Values[TargetLoss]
    precision: Values[Precision]


@with_config(_STRICT)
class Row(TypedDict, total=False):
    """One network by the hyper-parameters in which it departs from `defaults`."""

    depth: Depth
    width: Width
    unit: Unit
    optimizer: Optimizer
    learning_rate: LearningRate
    batch_size: BatchSize
    gain: Gain
    steps: Steps
    seed: Seed
    labels: Labels
    augmentation: Augmentation
    stop: Stop
    target_loss: TargetLoss
    precision: Precision


class Section(BaseModel):
    """A part of the configuration: unknown keys and inexact types are faults."""

    model_config = _STRICT


class Defaults(Section):
    """Hyper-parameters of every network, where no axis or row says otherwise."""

    depth: Depth = 2
    width: Width = 64
    unit: Unit = "relu"
    optimizer: Optimizer = "momentum"
    learning_rate: LearningRate = 0.03
    batch_size: BatchSize = 64
    gain: Gain = 1.0
    steps: Steps = 1_000
    seed: Seed = 0
    labels: Labels = "true"
    augmentation: Augmentation = False
    stop: Stop = "steps"
    target_loss: TargetLoss = 0.0
    precision: Precision = "float32"


# --- data sets ------------------------------------------------------------------------------------


class Dataset(Section):
    """How a data set is used; null stands for the data set's own default."""

    train_size: int | None = _key(
        "training images, a seeded subset; null: the whole published training set",
        unit="images",
        default=None,
        ge=1,
        le=60_000,
    )
    subset_seed: int = _key(
        "decides which training images the subset holds; no meaning for the whole set",
        default=0,
        ge=0,
        le=_SEED_MAX,
    )
    max_shift: int | None = _key(
        "largest random translation of augmented images, each way, below the image's height and "
        "width; null: 1 for digits, 4 elsewhere",
        unit="pixels",
        default=None,
        ge=0,
        le=31,
    )
    flip: bool | None = _key(
        "whether augmented images are also mirrored left to right at random; null: false for "
        "digits and mnist, true elsewhere",
        default=None,
    )
    fit_accuracy: float | None = _key(
        "accuracy on the whole, unaugmented training set from which a network counts as fitted; "
        "null: 1.0, for cifar100 0.999",
        default=None,
        gt=0,
        le=1,
    )


class ResolvedDataset(BaseModel):
    """A data set's settings with every null replaced by the data set's default."""

    model_config = ConfigDict(frozen=True)

    train_size: int
    subset_seed: int
    max_shift: int
    flip: bool
    fit_accuracy: float


# --- which networks -------------------------------------------------------------------------------

DatasetNames = Annotated[
    list[DatasetName] | None,
    Field(
        min_length=1,
        description="data sets covered, each a key of `datasets`; null: all of them",
        json_schema_extra={"uniqueItems": True},
    ),
]


class Grid(Section):
    """Every combination of the axes."""

    search: Literal["grid"] = _key("grid: every combination of the axes")
    datasets: DatasetNames = None
    axes: Axes = _key("values to combine, by hyper-parameter")


class Random(Section):
    """Random draws from the axes; draw i depends on (seed, i) alone."""

    search: Literal["random"] = _key("random: independent draws of one value an axis")
    datasets: DatasetNames = None
    draws: int = _key(
        "networks drawn for each data set, at most the number of combinations; raising it adds",
        unit="networks",
        ge=1,
        le=10_000_000,
    )
    seed: int = _key("seed of the draws", default=0, ge=0, le=_SEED_MAX)
    axes: Axes = _key("values to draw from, by hyper-parameter")


class Rows(Section):
    """Explicit networks."""

    search: Literal["rows"] = _key("rows: the networks that are listed")
    datasets: DatasetNames = None
    rows: list[Row] = _key(
        "networks, each by the hyper-parameters in which it departs from `defaults`", min_length=1
    )


Block = Annotated[Grid | Random | Rows, Field(discriminator="search")]


class Factor(Section):
    """Pairs of networks that share every hyper-parameter and the seeds and differ in the factor."""

    datasets: DatasetNames = None
    axes: Axes = _key(
        "every combination is one pair; must not hold the factor's own hyper-parameter"
    )


class Factors(Section):
    """The factors whose effect is compared in pairs; null or left out: not compared."""

    labels: Factor | None = _key("random against true labels (C3)", default=None)
    augmentation: Factor | None = _key("no augmentation against augmentation (C4)", default=None)
    unit: Factor | None = _key("hardsigmoid against relu (C4)", default=None)
    batch: Factor | None = _key(
        "full-batch lbfgs against minibatch momentum (C3); optimizer is no axis, learning_rate, "
        "batch_size and steps hold one value at most",
        default=None,
    )


# --- measures, analysis, execution ----------------------------------------------------------------


class Transitions(Section):
    """Transitions on closed paths of translated test images."""

    points: int | None = _key(
        "test points, a seeded subset; null: 300 for digits, 1000 elsewhere",
        unit="test images",
        default=None,
        ge=1,
        le=10_000,
    )
    seed: int = _key("seed of the choice of test points", default=0, ge=0, le=_SEED_MAX)


class Ellipses(Section):
    """Ellipses through training points, near the data and away from them (C1)."""

    share: float = _key(
        "share of the survey's networks that are measured, chosen by a seeded hash of their id; 0: "
        "none",
        default=0.1,
        ge=0,
        le=1,
    )
    count: int = _key(
        "ellipses of each kind for each network", unit="ellipses", default=8, ge=1, le=10_000
    )
    angles: int = _key(
        "equally spaced angles on an ellipse, a multiple of 24, so that anchors and midpoints are "
        "among them",
        unit="angles",
        default=192,
        ge=24,
        le=98_304,
        multiple_of=24,
    )
    seed: int = _key("seed of the networks and of the ellipses", default=0, ge=0, le=_SEED_MAX)


class Slices(Section):
    """Region boundaries of the last hidden layer over the plane of three training points."""

    networks: list[Row] = _key(
        "networks, as rows of the survey; trained if the survey does not hold them; []: no slices",
        default=[],
    )
    resolution: int = _key(
        "grid points along each side of the plane", unit="points", default=200, ge=2, le=10_000
    )
    margin: float = _key(
        "width of the rim around the three points, as a share of their extent",
        default=0.25,
        ge=0,
        le=100,
    )
    seed: int = _key(
        "seed of the choice of the three training points", default=0, ge=0, le=_SEED_MAX
    )


class Measures(Section):
    """What is measured beside the Jacobian norm, which is measured at every test point."""

    transitions: Transitions = _key("transitions at test points", default=Transitions())
    ellipses: Ellipses = _key("ellipses through training points (C1)", default=Ellipses())
    slices: Slices = _key("slices through three training points", default=Slices())


class Analysis(Section):
    """Statistics of the claims."""

    bootstrap: int = _key(
        "bootstrap resamples behind every interval",
        unit="resamples",
        default=2_000,
        ge=2_000,
        le=1_000_000,
    )
    seed: int = _key("seed of the resamples", default=0, ge=0, le=_SEED_MAX)
    minimum_networks: int = _key(
        "fewest networks or pairs for a test; below it the verdict is 'too few networks'",
        unit="networks",
        default=20,
        ge=4,
        le=1_000_000,
    )
    alpha: float = _key(
        "level of significance, after Holm's adjustment over the table", default=0.05, gt=0, le=0.5
    )
    equivalence: float = _key(
        "largest absolute rank correlation that counts as no relation (C0)", default=0.2, gt=0, lt=1
    )
    point_networks: int = _key(
        "networks a data set whose single points are analysed (C5), a seeded choice",
        unit="networks",
        default=30,
        ge=2,
        le=1_000,
    )


class Execution(Section):
    """How the work is cut into jobs; changes no result and no network's identity."""

    cohort_tflop: float = _key(
        "computation of one training job and of measuring its networks, about",
        unit="Tflop",
        default=2.0,
        gt=0,
        le=1_000_000_000,
    )
    checkpoint_seconds: float = _key(
        "time between two checkpoints of a training job",
        unit="s",
        default=60.0,
        gt=0,
        le=86_400,
    )


class Study(Section):
    """A study: which networks, on which data, and what is measured on them."""

    study: str = _key(
        "name of the study and of its folder under results/: letters, digits, '.', '_' and '-', "
        "not 'datasets'",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=64,
    )
    data_root: str | None = _key(
        "folder that holds the data sets in torchvision's layout or receives the downloads; "
        "null: $SENSITIVITY_DATA, else data/",
        default=None,
        min_length=1,
    )
    datasets: dict[DatasetName, Dataset] = _key(
        "data sets, by name; `digits: {}` takes every default", min_length=1
    )
    defaults: Defaults = _key("hyper-parameters that no axis or row names", default=Defaults())
    survey: list[Block] = _key(
        "blocks of networks for the survey (C0, C2, C5, C1); a network in several counts once",
        min_length=1,
    )
    factors: Factors = _key("pairs of networks that differ in one factor", default=Factors())
    measures: Measures = _key("what is measured", default=Measures())
    analysis: Analysis = _key("statistics of the claims", default=Analysis())
    execution: Execution = _key("how the work is cut into jobs", default=Execution())

    def dataset(self, name: str) -> ResolvedDataset:
        """The settings of one of the study's data sets, defaults filled in.

        The whole training set has subset seed 0, whatever was written, since the seed then decides
        nothing.

        Raises:
            KeyError: the study does not use that data set.
        """
        settings, facts = self.datasets[name], KNOWN[name]  # type: ignore[index]
        return resolve(settings, facts)

    def transition_points(self, name: str) -> int:
        """Test points of a data set at which transitions are counted."""
        points = self.measures.transitions.points
        return KNOWN[name].transition_points if points is None else points


def resolve(settings: Dataset, facts: DatasetFacts) -> ResolvedDataset:
    """A data set's settings with every null replaced by the data set's default."""

    def chosen(key: str) -> Any:
        value = getattr(settings, key)
        return getattr(facts, key) if value is None else value

    train_size = chosen("train_size")
    return ResolvedDataset(
        train_size=train_size,
        subset_seed=0 if train_size == facts.train_size else settings.subset_seed,
        max_shift=chosen("max_shift"),
        flip=chosen("flip"),
        fit_accuracy=chosen("fit_accuracy"),
    )
