"""Complexity measures that the literature proposes."""

from sensigap.datasets.known import DatasetFacts
from sensigap.declarations.base import (
    NETWORK,
    Measure,
    Predictor,
    Schema,
    Setting,
    Settings,
    by_network,
    seed_setting,
    weights_between,
)
from sensigap.spec import NetworkSpec

#: levels of noise at which the sharpness is tried, for each of its two kinds: the search may take
#: 20, and took 4 on average over the 1,740 networks of config/four.yaml
_LEVELS = 4


def _flops(spec: NetworkSpec, facts: DatasetFacts, settings: Settings) -> float:
    weights = sum(weights_between(spec, facts))
    points = min(settings["points"], spec.train_size)
    noisy = 2 * _LEVELS * settings["draws"] * points * 2.0 * weights
    # singular values of each layer, some ten times a product of its own shape
    spectral = 20.0 * spec.width * weights
    return noisy + spectral + 2.0 * weights * spec.train_size


COMPLEXITY = Measure(
    name="complexity",
    title="Complexity measures",
    section="Complexity measures that the literature proposes, beside the sensitivity "
    "(leaderboard).",
    settings=(
        Setting(
            name="points",
            kind=int,
            text="training points, a seeded subset of each network's, for the Fisher-Rao norm and "
            "the sharpness; all of them if there are fewer",
            unit="training images",
            default=200,
            bounds={"ge": 1, "le": 60_000},
        ),
        Setting(
            name="draws",
            kind=int,
            text="draws of weight noise behind the sharpness",
            unit="draws",
            default=10,
            bounds={"ge": 1, "le": 10_000},
        ),
        Setting(
            name="drop",
            kind=float,
            text="training accuracy that the noise may cost; the sharpness is 1 / sigma^2 of the "
            "largest noise sigma that costs no more",
            default=0.1,
            bounds={"ge": 1e-4, "le": 0.99},
        ),
        seed_setting("seed of the points and the noise"),
    ),
    schema=Schema(
        NETWORK,
        by_network(
            {
                "frobenius_product_log10": "log10 of the product over layers of ||W||_F",
                "spectral_product_log10": "log10 of the product over layers of the largest "
                "singular values",
                "distance": "Frobenius distance of weights and biases from initialisation",
                "spectral_distance": "root of summed squared spectral distances of the layers' "
                "weights",
                "path_norm_log10": "log10 of the path norm: root of the sum of squared paths",
                "fisher_rao_log10": "log10 of the Fisher-Rao norm, training points and labels",
                "inverse_margin": "1 / m^2, m the 10th percentile of the training margins; NaN: "
                "m <= 0",
                "sharpness": "1 / sigma^2, sigma the weight noise that costs the allowed accuracy",
                "sharpness_magnitude": "the same, noise in proportion to each weight",
            }
        ),
    ),
    module="sensigap.measures.cohort.complexity",
    predictors=(
        Predictor(
            name="frobenius_product",
            label="Frobenius norm product",
            variable="frobenius_product_log10",
            sees="weights",
        ),
        Predictor(
            name="frobenius_product_over_margin",
            label="Frobenius norm product / margin",
            variable="frobenius_product_log10",
            over_margin=True,
            sees="training set",
        ),
        Predictor(
            name="spectral_product",
            label="spectral norm product",
            variable="spectral_product_log10",
            sees="weights",
        ),
        Predictor(
            name="spectral_product_over_margin",
            label="spectral norm product / margin",
            variable="spectral_product_log10",
            over_margin=True,
            sees="training set",
        ),
        Predictor(
            name="distance",
            label="distance from initialisation",
            variable="distance",
            sees="weights",
        ),
        Predictor(
            name="spectral_distance",
            label="spectral distance from initialisation",
            variable="spectral_distance",
            sees="weights",
        ),
        Predictor(
            name="path_norm",
            label="path norm",
            variable="path_norm_log10",
            sees="weights",
        ),
        Predictor(
            name="path_norm_over_margin",
            label="path norm / margin",
            variable="path_norm_log10",
            over_margin=True,
            sees="training set",
        ),
        Predictor(
            name="fisher_rao",
            label="Fisher-Rao norm",
            variable="fisher_rao_log10",
            sees="training set",
        ),
        Predictor(
            name="inverse_margin",
            label="inverse margin",
            variable="inverse_margin",
            sees="training set",
        ),
        Predictor(
            name="sharpness",
            label="sharpness",
            variable="sharpness",
            sees="training set",
        ),
        Predictor(
            name="sharpness_magnitude",
            label="PAC-Bayes sharpness at matched scale",
            variable="sharpness_magnitude",
            sees="training set",
        ),
    ),
    flops=_flops,
    stored=lambda facts, settings: 8.0 * 9,
)
