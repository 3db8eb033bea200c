"""What every store holds: dimensions, coordinates, variables, kinds of numbers, units.

`sensigap.survey` writes and reads stores and holds them to these schemas.
"""

import dataclasses
from collections.abc import Mapping

from sensigap.factors import FACTORS
from sensigap.spec import HYPERPARAMETERS

ELLIPSE_KINDS = ("different classes", "one class", "random")
ELLIPSE_STATES = ("initial", "trained")


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


_NETWORK = {
    "network": Variable(("network",), "str", "network id: hash of what decides its weights")
}
_SAMPLE = {
    "sample": Variable(("sample",), "int", "index in the published test set"),
    "label": Variable(("sample",), "int", "true class"),
}
_HYPERPARAMETERS = {
    name: Variable(("network",), kind.__name__, record.long_name, record.units)
    for name, (kind, record) in HYPERPARAMETERS.items()
}
_MEMBERSHIP = {
    "cohort": Variable(("network",), "str", "the job that trained the network"),
    "in_survey": Variable(("network",), "bool", "member of the survey (C0, C2, C5)"),
    "in_ellipses": Variable(("network",), "bool", "chosen for the ellipses (C1)"),
    "in_slices": Variable(("network",), "bool", "chosen for the slices"),
} | {
    f"{column}_{factor}": Variable(("network",), "str", f"{text} of factor {factor}, '' for none")
    for factor in FACTORS
    for column, text in (("pair", "pair"), ("side", "side in the pair"))
}
_OUTCOMES = {
    "status": Variable(("network",), "str", "fitted, not fitted or diverged"),
    "steps_done": Variable(("network",), "int", "optimizer steps made"),
    "fit_step": Variable(
        ("network",), "int", "first check that found the network fitted, -1: none"
    ),
    "parameters": Variable(("network",), "int", "weights and biases"),
    "train_loss": Variable(("network",), "float", "cross-entropy, whole training set", "nat"),
    "train_accuracy": Variable(("network",), "float", "accuracy, whole training set"),
    "test_loss": Variable(("network",), "float", "cross-entropy, whole test set", "nat"),
    "test_accuracy": Variable(("network",), "float", "accuracy, whole test set"),
    "train_seconds": Variable(
        ("network",), "float", "training time, its share of the stack's", "s"
    ),
}
_POINTS = {
    "jacobian_norm": Variable(
        ("network", "sample"), "float", "||J||_F of the softmax output; 0 where J = 0"
    ),
    "jacobian_norm_log10": Variable(
        ("network", "sample"), "float", "log10 ||J||_F of the softmax output; -inf where J = 0"
    ),
    "logit_jacobian_norm": Variable(("network", "sample"), "float", "||A||_F of the logits"),
    "jacobian_zero": Variable(("network",), "int", "test points at which J = 0 exactly"),
    "train_sensitivity": Variable(
        ("network",), "float", "mean of ||J||_F over the chosen training points, unaugmented"
    ),
    "loss": Variable(("network", "sample"), "float", "cross-entropy at the point", "nat"),
    "margin": Variable(("network", "sample"), "float", "true logit minus the best other"),
    "confidence": Variable(("network", "sample"), "float", "largest class probability"),
    "target_probability": Variable(("network", "sample"), "float", "probability of the true class"),
    "squared_probabilities": Variable(
        ("network", "sample"), "float", "sum_i f_i^2 (1 - 2 f_i + sum_j f_j^2)"
    ),
}
_TRANSITIONS = {
    "transitions": Variable(
        ("network", "sample"),
        "float",
        "exact transitions on the translation polygon; NaN: not measured",
    )
}
_COMPLEXITY = {
    name: Variable(("network",), "float", long_name)
    for name, long_name in {
        "frobenius_product_log10": "log10 of the product over layers of ||W||_F",
        "spectral_product_log10": "log10 of the product over layers of the largest singular values",
        "distance": "Frobenius distance of weights and biases from initialisation",
        "spectral_distance": "root of summed squared spectral distances of the layers' weights",
        "path_norm_log10": "log10 of the path norm: root of the sum of squared paths",
        "fisher_rao_log10": "log10 of the Fisher-Rao norm, training points and labels",
        "inverse_margin": "1 / m^2, m the 10th percentile of the training margins; NaN: m <= 0",
        "sharpness": "1 / sigma^2, sigma the weight noise that costs the allowed accuracy",
        "sharpness_magnitude": "the same, noise in proportion to each weight",
    }.items()
}
_CURVES = {
    "loss": Variable(("network", "check"), "float", "cross-entropy, whole training set", "nat"),
    "accuracy": Variable(("network", "check"), "float", "accuracy, whole training set"),
    "gradient_norm": Variable(("network", "check"), "float", "norm of the last minibatch gradient"),
    "seconds": Variable(("network", "check"), "float", "training time so far", "s"),
}
_CHECK = {"step": Variable(("check",), "int", "optimizer steps made at the check")}

SCHEMAS = {
    "dataset": Schema({}, {}),
    "images": Schema(
        {"sample": Variable(("sample",), "int", "index in the training or test set")},
        {
            "image": Variable(
                ("sample", "channel", "row", "column"), "int", "pixels as published, uint8"
            ),
            "label": Variable(("sample",), "int", "true class"),
        },
    ),
    "training": Schema(
        _NETWORK | _CHECK, _OUTCOMES | {f"curve_{name}": v for name, v in _CURVES.items()}
    ),
    "jacobian": Schema(_NETWORK | _SAMPLE, _POINTS),
    "transitions": Schema(_NETWORK | _SAMPLE, _TRANSITIONS),
    "complexity": Schema(_NETWORK, _COMPLEXITY),
    "ellipses": Schema(
        _NETWORK
        | {
            "state": Variable(("state",), "str", "initial or trained weights"),
            "kind": Variable(("kind",), "str", "anchors of the ellipse"),
            "angle": Variable(("angle",), "float", "angle on the ellipse", "rad"),
        },
        {
            "jacobian_norm": Variable(
                ("network", "state", "kind", "ellipse", "angle"), "float", "||J||_F at the angle"
            ),
            "transitions": Variable(
                ("network", "state", "kind", "ellipse", "angle"),
                "int",
                "transitions from this angle to the next",
            ),
            "arc_length": Variable(
                ("network", "kind", "ellipse", "angle"),
                "float",
                "length of the arc from this angle to the next, in standardised inputs",
            ),
        },
    ),
    "slices": Schema(
        _NETWORK
        | {
            "state": Variable(("state",), "str", "initial or trained weights"),
            # an index, so that cohorts with different numbers of edges are put together padded
            "edge": Variable(("edge",), "int", "number of a boundary segment"),
            "x": Variable(("x",), "float", "first coordinate in the plane, standardised inputs"),
            "y": Variable(("y",), "float", "second coordinate in the plane, standardised inputs"),
        },
        {
            # float32: a millionth of the window, enough to draw; measured in float64
            **{
                f"{axis}{end}": Variable(
                    ("network", "state", "edge"),
                    "float",
                    f"{axis} of the segment's {name}, standardised inputs; NaN beyond `edges`",
                )
                for end, name in enumerate(("start", "end"))
                for axis in "xy"
            },
            "edges": Variable(
                ("network", "state"), "int", "boundary segments of the last hidden layer's regions"
            ),
            "regions": Variable(
                ("network", "state"),
                "int",
                "linear regions in the window, all hidden layers; -1: too many to store boundaries",
            ),
            "window": Variable(
                ("network",), "float", "the plane is cut off at -window and window in x and y"
            ),
            "predicted": Variable(
                ("network", "state", "y", "x"), "int", "predicted class at a point of a grid"
            ),
            "anchor_x": Variable(("network", "anchor"), "float", "x of the three training points"),
            "anchor_y": Variable(("network", "anchor"), "float", "y of the three training points"),
            "anchor_label": Variable(("network", "anchor"), "int", "class of the training points"),
        },
    ),
    "survey": Schema(
        _NETWORK | _SAMPLE | _HYPERPARAMETERS | _MEMBERSHIP,
        _OUTCOMES
        | _POINTS
        | _TRANSITIONS
        | _COMPLEXITY
        | {
            "gap": Variable(("network",), "float", "generalization gap: train - test accuracy"),
            "sensitivity": Variable(("network",), "float", "mean of ||J||_F over all test points"),
            "mean_transitions": Variable(
                ("network",), "float", "mean transitions over the chosen test points"
            ),
        },
    ),
    "curves": Schema(_NETWORK | _CHECK, _CURVES),
}
#: group of a survey or of a data set's store -> schema
GROUPS = {
    "training": "curves",
    "ellipses": "ellipses",
    "slices": "slices",
    "train": "images",
    "test": "images",
}
