"""Hyper-parameters: each may stand under defaults, as an axis and in a row."""

from typing import Annotated, Literal, TypeVar

from pydantic import Field, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from sensigap.config.base import SEED_MAX, STRICT, Section, key

T = TypeVar("T")

Depth = Annotated[int, key("number of hidden layers", unit="layers", ge=1, le=1_000)]
Width = Annotated[int, key("units in each hidden layer", unit="units", ge=1, le=65_536)]
Unit = Annotated[
    Literal["relu", "relu6", "hardtanh", "hardsigmoid"],
    key("hidden unit, a shifted clamp min(max(z + shift, low), high)"),
]
Optimizer = Annotated[
    Literal["sgd", "momentum", "adam", "rmsprop", "lbfgs"],
    key(
        "optimizer: sgd, momentum (0.9), adam and rmsprop in minibatches; lbfgs on the full batch, "
        "with its own learning rate 1 and 100 steps at most whatever the other keys say"
    ),
]
LearningRate = Annotated[float, key("learning rate; not used by lbfgs", gt=0, le=1_000)]
BatchSize = Annotated[
    int,
    key(
        "training images in a step, at most the training set; not used by lbfgs",
        unit="images",
        ge=1,
        le=60_000,
    ),
]
Gain = Annotated[float, key("initial weights are N(0, gain^2 / fan_in), biases 0", gt=0, le=1_000)]
Steps = Annotated[
    int, key("optimizer steps, at most; not used by lbfgs", unit="steps", ge=1, le=1_000_000_000)
]
Seed = Annotated[
    int,
    key("seed of initial weights, batch order, random labels and augmentation", ge=0, le=SEED_MAX),
]
Labels = Annotated[
    Literal["true", "random"],
    key(
        "training labels: the true ones, or random ones, uniform over the classes; test labels "
        'stay true. Write "true" in quotes: without them YAML reads a truth value'
    ),
]
Augmentation = Annotated[
    bool,
    key(
        "whether training images are translated and mirrored at random, as the data set says; not "
        "with lbfgs"
    ),
]
Stop = Annotated[
    Literal["steps", "fitted", "loss"],
    key(
        "stop rule: after `steps`; at the first check at which the training set is fitted; or at "
        "the first check at which the training loss is at most `target_loss`"
    ),
]
TargetLoss = Annotated[
    float, key("training loss at which stop: loss ends; only with stop: loss", unit="nat", ge=0)
]
Precision = Annotated[
    Literal["float32", "float64", "tf32", "bf16"],
    key(
        "floating-point type of the weights and of training; tf32 (on a GPU alone) and bf16: "
        "float32 weights, matrix products of training steps rounded to it; not with lbfgs"
    ),
]

Values = Annotated[
    list[T],
    Field(
        min_length=1,
        description="values of this hyper-parameter, none of them twice; each as under `defaults`",
        json_schema_extra={"uniqueItems": True},
    ),
]


@with_config(STRICT)
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


@with_config(STRICT)
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
