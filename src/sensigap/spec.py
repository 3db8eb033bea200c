"""What decides a network's weights: `NetworkSpec`, on the standard library alone."""

import dataclasses
import hashlib
import json

OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop", "lbfgs")
LABELS = ("true", "random")
STOPS = ("steps", "fitted", "loss")
#: dtype of weights and training; 'tf32' and 'bf16' are float32 weights whose training steps
#: multiply matrices rounded to TensorFloat-32 or bfloat16
PRECISIONS = ("float32", "float64", "tf32", "bf16")
STATUSES = ("fitted", "not fitted", "diverged")

#: Factors of STUDY, 'Comparisons', and the two sides of a pair: (presumed worse, presumed better)
FACTOR_SIDES = {
    "labels": ("random", "true"),
    "augmentation": ("none", "augmented"),
    "unit": ("hardsigmoid", "relu"),
    "batch": ("full", "minibatch"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network's identity: everything that decides its weights, and nothing else.

    Values are taken as valid: `sensigap.config` checks them. Fields that an optimizer does not
    use hold a fixed value, so that equal networks have equal ids (see `sensigap.design`).
    """

    dataset: str
    #: number of training images, a seeded subset of the published training set
    train_size: int
    #: number of hidden layers
    depth: int
    #: units in each hidden layer
    width: int
    #: one of `units.UNITS`
    unit: str
    #: one of `OPTIMIZERS`
    optimizer: str
    learning_rate: float
    #: images a step; equal to `train_size` for the full batch
    batch_size: int
    #: weights start as N(0, gain^2 / fan_in), biases as 0
    gain: float
    #: optimizer steps at most (L-BFGS: calls of `torch.optim.LBFGS.step`)
    steps: int
    #: decides initial weights, batch order, random labels and augmentation
    seed: int
    #: decides which training images the subset holds
    subset_seed: int = 0
    #: 'true', or 'random': uniform over the classes, on the training set only
    labels: str = "true"
    #: largest random translation in pixels, each way; 0 for none
    max_shift: int = 0
    #: random horizontal flips
    flip: bool = False
    #: 'steps': after `steps`; 'fitted' or 'loss': at the first check that reaches `fit_accuracy` or
    #: `target_loss`
    stop: str = "steps"
    #: training accuracy from which a network counts as fitted
    fit_accuracy: float = 1.0
    #: training loss (nats) at which stop='loss' ends
    target_loss: float = 0.0
    #: one of `PRECISIONS`
    precision: str = "float32"

    @property
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
