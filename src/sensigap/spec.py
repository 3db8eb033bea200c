"""What decides a network's weights: `NetworkSpec`, on the standard library alone."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

from sensigap.units import UNITS

SEED_MAX = 2**32 - 1
OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop", "lbfgs")
LABELS = ("true", "random")
STOPS = ("steps", "fitted", "loss")
SHIFT_MODES = ("zeros", "wrap")
#: dtype of weights and training; 'tf32' and 'bf16' are float32 weights whose training steps
#: multiply matrices rounded to TensorFloat-32 or bfloat16
PRECISIONS = ("float32", "float64", "tf32", "bf16")
STATUSES = ("fitted", "not fitted", "diverged")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """What a hyper-parameter is, for whoever asks for it, keeps it or compares it.

    It stands in the annotation of its field of `NetworkSpec`, and nowhere else: the keys of the
    configuration, the coordinates of the survey and the dummies of the analysis follow from it.
    """

    #: its name in the survey
    long_name: str
    #: unit in the survey
    units: str = "1"
    #: whether results are compared within its values; not for seeds, nor where claims select by it
    compared: bool = True
    #: what a key of the configuration with its name means; '' where there is no such key
    key: str = ""
    #: value of that key where a study names none
    usual: Any = None
    #: unit of that key
    unit: str = ""
    #: values that it may have; (): whatever the bounds allow
    choices: tuple[str, ...] = ()
    #: lower bound, in or out, and upper bound
    ge: float | None = None
    gt: float | None = None
    le: float | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that there are, by the names that pydantic gives them."""
        named = {"ge": self.ge, "gt": self.gt, "le": self.le}
        return {name: value for name, value in named.items() if value is not None}


_H = Hyperparameter


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network's identity: everything that decides its weights, and nothing else.

    Values are taken as valid: `sensigap.config` checks them. Fields that an optimizer does not use
    hold a fixed value, so that equal networks have equal ids (see `sensigap.design`).
    """

    dataset: str
    #: digest of what the data set holds, see `datasets.known`; '' in specs that no study made
    content: str = ""
    depth: Annotated[
        int,
        _H(
            long_name="hidden layers",
            key="number of hidden layers",
            usual=2,
            unit="layers",
            ge=1,
            le=1_000,
        ),
    ]
    width: Annotated[
        int,
        _H(
            long_name="units in each hidden layer",
            key="units in each hidden layer",
            usual=64,
            unit="units",
            ge=1,
            le=65_536,
        ),
    ]
    unit: Annotated[
        str,
        _H(
            long_name="hidden unit",
            key="hidden unit, a shifted clamp min(max(z + shift, low), high)",
            usual="relu",
            choices=tuple(UNITS),
        ),
    ]
    optimizer: Annotated[
        str,
        _H(
            long_name="optimizer",
            key="optimizer: sgd, momentum (0.9), adam and rmsprop in minibatches; lbfgs on the "
            "full batch, with its own learning rate 1 and 100 steps at most whatever the other "
            "keys say",
            usual="momentum",
            choices=OPTIMIZERS,
        ),
    ]
    learning_rate: Annotated[
        float,
        _H(
            long_name="learning rate",
            key="learning rate; not used by lbfgs",
            usual=0.03,
            ge=1e-10,
            le=1_000,
        ),
    ]
    #: equal to `train_size` for the full batch
    batch_size: Annotated[
        int,
        _H(
            long_name="images in a step",
            key="training images in a step, at most the training set; not used by lbfgs",
            usual=64,
            unit="images",
            ge=1,
            le=100_000_000,
        ),
    ]
    gain: Annotated[
        float,
        _H(
            long_name="initial weights are N(0, gain^2 / fan_in)",
            key="initial weights are N(0, gain^2 / fan_in), biases 0",
            usual=1.0,
            ge=1e-3,
            le=1_000,
        ),
    ]
    #: of L-BFGS: calls of `torch.optim.LBFGS.step`
    steps: Annotated[
        int,
        _H(
            long_name="optimizer steps at most",
            key="optimizer steps, at most; not used by lbfgs",
            usual=1_000,
            unit="steps",
            ge=1,
            le=1_000_000_000,
        ),
    ]
    seed: Annotated[
        int,
        _H(
            long_name="seed of weights, batches, labels, augmentation and input noise",
            key="seed of initial weights, batch order, random labels, augmentation and input noise",
            usual=0,
            ge=0,
            le=SEED_MAX,
            compared=False,
        ),
    ]
    #: a seeded subset of the published training set
    train_size: Annotated[int, _H(long_name="training images")]
    #: decides which training images the subset holds
    subset_seed: Annotated[int, _H(long_name="seed of the training subset", compared=False)] = 0
    labels: Annotated[
        str,
        _H(
            long_name="training labels: true or random",
            key="training labels: the true ones, or random ones, uniform over the classes; test "
            'labels stay true. Write "true" in quotes: without them YAML reads a truth value',
            usual="true",
            choices=LABELS,
            compared=False,
        ),
    ] = "true"
    #: each way; 0 for none
    max_shift: Annotated[int, _H(long_name="largest random translation", units="pixel")] = 0
    flip: Annotated[bool, _H(long_name="random horizontal flips")] = False
    #: 'zeros' where `max_shift` is 0
    shift_mode: Annotated[
        str, _H(long_name="what enters a translated image: zeros or wrap", choices=SHIFT_MODES)
    ] = "zeros"
    #: 1 where nothing is augmented
    augmentation_share: Annotated[
        float,
        _H(
            long_name="share of drawn images that are augmented",
            key="share of drawn images that are augmented, the others being as they are; only with "
            "augmentation",
            usual=1.0,
            ge=0.001,
            le=1,
        ),
    ] = 1.0
    input_noise: Annotated[
        float,
        _H(
            long_name="standard deviation of training noise on standardised inputs",
            key="standard deviation of Gaussian noise added to standardised inputs in training, "
            "drawn anew for every image drawn; losses, fit and measures are at clean inputs; not "
            "with lbfgs",
            usual=0.0,
            ge=0,
            le=100,
        ),
    ] = 0.0
    stop: Annotated[
        str,
        _H(
            long_name="stop rule: steps, fitted or loss",
            key="stop rule: after `steps`; at the first check at which the training set is fitted; "
            "or at the first check at which the training loss is at most `target_loss`",
            usual="steps",
            choices=STOPS,
        ),
    ] = "steps"
    target_loss: Annotated[
        float,
        _H(
            long_name="training loss of stop rule 'loss'",
            units="nat",
            key="training loss at which stop: loss ends; only with stop: loss",
            usual=0.0,
            unit="nat",
            ge=0,
            le=100,
        ),
    ] = 0.0
    fit_accuracy: Annotated[float, _H(long_name="training accuracy that counts as fitted")] = 1.0
    precision: Annotated[
        str,
        _H(
            long_name="dtype of weights and training",
            key="floating-point type of the weights and of training; tf32 (on a GPU alone) and "
            "bf16: float32 weights, matrix products of training steps rounded to it; not "
            "with lbfgs",
            usual="float32",
            choices=PRECISIONS,
        ),
    ] = "float32"

    @functools.cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of `to_json`.

        Fields at their default do not count: a hyper-parameter added later changes no existing id.
        """
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @property
    def augmented(self) -> bool:
        """Whether training images are translated or flipped at random."""
        return self.max_shift > 0 or self.flip

    def to_json(self) -> str:
        """Canonical JSON of the fields that are not at their default: sorted keys, no spaces."""
        kept = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.default is dataclasses.MISSING or getattr(self, field.name) != field.default
        }
        return json.dumps(kept, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "NetworkSpec":
        """The spec whose `to_json` is `text`."""
        return cls(**json.loads(text))


def _records() -> dict[str, tuple[type, Hyperparameter]]:
    hints = get_type_hints(NetworkSpec, include_extras=True)
    return {
        name: (hint.__origin__, hint.__metadata__[0])
        for name, hint in hints.items()
        if hasattr(hint, "__metadata__")
    }


#: hyper-parameter -> (type, record), in the order of the fields; all but the data set
HYPERPARAMETERS: Mapping[str, tuple[type, Hyperparameter]] = _records()

#: the one key of the configuration that is no field: with it a network has the data set's
#: `max_shift` and `flip`, without it 0 and False
AUGMENTATION = Hyperparameter(
    long_name="augmentation",
    key="whether training images are translated and mirrored at random, as the data set says; not "
    "with lbfgs",
    usual=False,
)


def _configured() -> dict[str, tuple[type, Hyperparameter]]:
    keys: dict[str, tuple[type, Hyperparameter]] = {}
    for name, (kind, record) in HYPERPARAMETERS.items():
        if record.key:
            keys[name] = kind, record
        if name == "labels":
            keys["augmentation"] = bool, AUGMENTATION
    return keys


#: key of the configuration -> (type, record), in the order of its documentation
CONFIGURED: Mapping[str, tuple[type, Hyperparameter]] = _configured()
