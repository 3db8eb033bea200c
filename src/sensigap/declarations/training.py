"""What training leaves of a network beside its weights."""

from sensigap.declarations.base import NETWORK, Predictor, Schema, Variable

#: the modules that decide the weights, see `sensigap.code_digest`
TRAINING_CODE = (
    "sensigap.training.trainer",
    "sensigap.training.lbfgs",
    "sensigap.training.data",
)

OUTCOMES = {
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
CURVES = {
    "loss": Variable(("network", "check"), "float", "cross-entropy, whole training set", "nat"),
    "accuracy": Variable(("network", "check"), "float", "accuracy, whole training set"),
    "gradient_norm": Variable(("network", "check"), "float", "norm of the last minibatch gradient"),
    "seconds": Variable(("network", "check"), "float", "training time so far", "s"),
}
CHECK = {"step": Variable(("check",), "int", "optimizer steps made at the check")}

TRAINING = Schema(NETWORK | CHECK, OUTCOMES | {f"curve_{name}": v for name, v in CURVES.items()})

TRAINING_PREDICTORS = (
    Predictor(
        name="parameters",
        label="parameters",
        variable="parameters",
        sees="weights",
        apart=("depth", "width"),
    ),
    Predictor(
        name="fit_step",
        label="steps to fit",
        variable="fit_step",
        sees="training set",
        missing=-1,
    ),
    Predictor(name="train_loss", label="training loss", variable="train_loss", sees="training set"),
)
