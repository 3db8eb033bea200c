"""Exact transitions on paths through test points."""

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
    seed_setting,
    weights_between,
)
from sensigap.spec import NetworkSpec
from sensigap.units import UNITS

#: operations beside matrix products that a crossing takes: finding, sorting, counting
_A_CROSSING = 1e4
#: points after which the mean has a standard error of 1%: on the digits, STATISTICS, section 4
_POINTS_TO_A_PERCENT = 140


def crossing_flops(spec: NetworkSpec, facts: DatasetFacts, turns: float) -> float:
    """Operations of following a closed path on which each threshold is met about `turns` times."""
    first, between, _ = weights_between(spec, facts)
    thresholds = sum(abs(bound) < float("inf") for bound in UNITS[spec.unit][1:])
    crossings = spec.width * spec.depth * thresholds * turns
    return 2.0 * crossings * between + 2.0 * facts.width * first + _A_CROSSING * crossings


def _points(settings: Settings) -> float:
    """Points that a network is expected to get."""
    enough = _POINTS_TO_A_PERCENT * (0.01 / settings["precision"]) ** 2
    return min(settings["points"], max(settings["least"], enough))


def _flops(spec: NetworkSpec, facts: DatasetFacts, settings: Settings) -> float:
    # measured: a path of w translations meets a threshold about w / 2 times
    return _points(settings) * crossing_flops(spec, facts, facts.width / 2)


TRANSITIONS = Measure(
    name="transitions",
    title="Exact transitions around test points",
    section="Transitions on closed paths of translated test images.",
    settings=(
        Setting(
            name="points",
            kind=int,
            text="test points that a network gets at most, the first of a seeded order; null: 300 "
            "for digits, 1000 elsewhere, or all if they are fewer",
            unit="test images",
            default=None,
            by_dataset="transition_points",
            bounds={"ge": 1, "le": 100_000_000},
        ),
        Setting(
            name="precision",
            kind=float,
            text="a network gets no more test points once the standard error of its mean "
            "transitions, relative to the mean, is at most this",
            default=0.01,
            bounds={"ge": 1e-4, "le": 0.5},
        ),
        Setting(
            name="least",
            kind=int,
            text="test points that a network gets at least, if `points` are not fewer; pairs are "
            "compared on the points that both sides have",
            unit="test images",
            default=150,
            bounds={"ge": 25, "le": 10_000},
        ),
        seed_setting("seed of the order of test points"),
    ),
    schema=Schema(
        NETWORK | SAMPLE,
        {
            "transitions": Variable(
                ("network", "sample"),
                "float",
                "exact transitions on the translation polygon; NaN: not measured",
            ),
            "transitions_points": Variable(
                ("network",), "int", "test points with transitions; -1: not measured"
            ),
            "transitions_error": Variable(
                ("network",),
                "float",
                "standard error of mean_transitions over test points, relative to it; NaN: it is 0",
            ),
        },
    ),
    module="sensigap.measures.cohort.transitions",
    kept_by=("seed",),
    summaries=(
        Summary(
            name="mean_transitions",
            of="transitions",
            long_name="mean transitions over the network's test points",
            every_point=False,
        ),
    ),
    predictors=(
        Predictor(
            name="transitions",
            label="transitions",
            variable="mean_transitions",
            sees="test inputs",
            own=True,
        ),
    ),
    flops=_flops,
    stored=lambda facts, settings: 8.0 * settings["points"],
)
