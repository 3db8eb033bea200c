"""Jacobian norms, loss and margin at test points."""

from sensigap.datasets.known import DatasetFacts
from sensigap.declarations.base import (
    NETWORK,
    SAMPLE,
    Measure,
    Predictor,
    Schema,
    Setting,
    Settings,
    Summary,
    Variable,
    by_network,
    seed_setting,
    weights_between,
)
from sensigap.kinds import LOW_CONFIDENCE, TEMPERED_MARGIN
from sensigap.spec import NetworkSpec

_POINT = ("network", "sample")


def jacobian_flops(spec: NetworkSpec, facts: DatasetFacts, points: float) -> float:
    """Operations of the Jacobians at so many points.

    A forward pass in float64 and a row a class backwards; where the first layer is wide, its Gram
    matrix takes its place.
    """
    first, between, last = weights_between(spec, facts)
    backward = facts.classes * (between + spec.width * min(spec.width, facts.inputs))
    return 2.0 * points * (2 * (first + between + last) + backward)


def _flops(spec: NetworkSpec, facts: DatasetFacts, settings: Settings) -> float:
    # what is right, and the common temperature, come of a forward pass of their own
    points = min(settings["points"], facts.test_size)
    forward = 2.0 * facts.test_size * sum(weights_between(spec, facts))
    return forward + jacobian_flops(spec, facts, points + settings["training_points"])


JACOBIAN = Measure(
    name="jacobian",
    title="Jacobian norms at test points",
    section="Jacobian norms at test points, and at some training points.",
    settings=(
        Setting(
            name="points",
            kind=int,
            text="test points, the first of the seeded order that transitions go by too; null: "
            "all. A class more is a row more of each Jacobian, so that 100 classes take ten times "
            "as long as 10",
            unit="test images",
            default=None,
            by_dataset="test_size",
            bounds={"ge": 2, "le": 100_000_000},
        ),
        Setting(
            name="training_points",
            kind=int,
            text="training points, a seeded subset of each network's, at which the mean norm is "
            "measured too; all of them if there are fewer",
            unit="training images",
            default=300,
            bounds={"ge": 1, "le": 100_000_000},
        ),
        seed_setting("seed of the order of test points, and of the choice of training points"),
    ),
    schema=Schema(
        NETWORK | SAMPLE,
        {
            "jacobian_norm": Variable(
                _POINT, "float", "||J||_F of the softmax output; 0 where J = 0"
            ),
            "jacobian_norm_log10": Variable(
                _POINT, "float", "log10 ||J||_F of the softmax output; -inf where J = 0"
            ),
            "logit_jacobian_norm": Variable(_POINT, "float", "||A||_F of the logits"),
            "jacobian_zero": Variable(
                ("network",), "int", "test points at which J = 0 exactly; -1: not measured"
            ),
            "train_sensitivity": Variable(
                ("network",),
                "float",
                "mean of ||J||_F over the chosen training points",
            ),
            "loss": Variable(_POINT, "float", "cross-entropy at the point", "nat"),
            "margin": Variable(_POINT, "float", "true logit minus the best other"),
            "confidence": Variable(_POINT, "float", "largest class probability"),
            "log_doubt": Variable(
                _POINT, "float", "ln(1 - largest class probability), without cancellation"
            ),
            "target_probability": Variable(_POINT, "float", "probability of the true class"),
            "squared_probabilities": Variable(
                _POINT, "float", "sum_i f_i^2 (1 - 2 f_i + sum_j f_j^2)"
            ),
            "prediction": Variable(_POINT, "int", "class of the largest logit; -1: not measured"),
            "correct": Variable(
                ("network", "test_image"),
                "int",
                "whether each image of the whole test set is classified rightly, 1 or 0; -1: not "
                "measured",
            ),
        }
        | by_network(
            {
                "mean_doubt": "mean over test points of 1 - largest class probability",
                "low_confidence": "share of test points with a largest class probability below "
                f"{LOW_CONFIDENCE:g}",
                "logit_jacobian_over_margin": "mean ||A||_F of the logits over the mean of the "
                "largest logit minus the second",
                "logit_jacobian_over_scale": "mean ||A||_F of the logits over their root mean "
                "square about each point's mean",
                "tempered_sensitivity": "mean of ||J||_F of the softmax of z / T, T such that the "
                f"largest logit minus the second is {TEMPERED_MARGIN:g} on average",
            }
        ),
    ),
    module="sensigap.measures.cohort.jacobian",
    # C2 on test error is about all that did not diverge: 'fitted' selects
    unfitted=True,
    summaries=(
        Summary(
            name="sensitivity",
            of="jacobian_norm",
            long_name="mean of ||J||_F over the test points",
        ),
    ),
    predictors=(
        Predictor(
            name="sensitivity",
            label="Jacobian norm",
            variable="sensitivity_log10",
            sees="test inputs",
            own=True,
        ),
        Predictor(
            name="train_sensitivity",
            label="Jacobian norm at training points",
            variable="train_sensitivity",
            sees="training set",
            own=True,
        ),
        Predictor(
            name="logit_jacobian",
            label="logit Jacobian norm",
            variable="logit_jacobian_norm",
            sees="test inputs",
            own=True,
        ),
        Predictor(
            name="logit_jacobian_over_margin",
            label="logit Jacobian norm / top-two margin",
            variable="logit_jacobian_over_margin",
            sees="test inputs",
            own=True,
        ),
        Predictor(
            name="logit_jacobian_over_scale",
            label="logit Jacobian norm / logit scale",
            variable="logit_jacobian_over_scale",
            sees="test inputs",
            own=True,
        ),
        Predictor(
            name="tempered_sensitivity",
            label="Jacobian norm at one temperature",
            variable="tempered_sensitivity",
            sees="test inputs",
            own=True,
        ),
        Predictor(
            name="mean_doubt", label="1 - confidence", variable="mean_doubt", sees="test inputs"
        ),
        Predictor(
            name="low_confidence",
            label="share of low confidence",
            variable="low_confidence",
            sees="test inputs",
        ),
        Predictor(
            name="disagreement",
            label="disagreement of two seeds",
            variable="prediction",
            sees="test inputs",
            between_seeds=True,
        ),
    ),
    flops=_flops,
    stored=lambda facts, settings: (
        8.0 * 10 * min(settings["points"], facts.test_size) + facts.test_size
    ),
)
