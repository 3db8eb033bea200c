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


def crossing_flops(spec: NetworkSpec, facts: DatasetFacts, turns: float) -> float:
    """Operations of following a closed path on which each threshold is met about `turns` times."""
    first, between, _ = weights_between(spec, facts)
    thresholds = sum(abs(bound) < float("inf") for bound in UNITS[spec.unit][1:])
    crossings = spec.width * spec.depth * thresholds * turns
    return 2.0 * crossings * between + 2.0 * facts.width * first + _A_CROSSING * crossings


def _flops(spec: NetworkSpec, facts: DatasetFacts, settings: Settings) -> float:
    # measured: a path of w translations meets a threshold about w / 2 times
    return settings["points"] * crossing_flops(spec, facts, facts.width / 2)


TRANSITIONS = Measure(
    name="transitions",
    title="Exact transitions around test points",
    section="Transitions on closed paths of translated test images.",
    settings=(
        Setting(
            name="points",
            kind=int,
            text="test points, a seeded subset; null: 300 for digits, 1000 elsewhere",
            unit="test images",
            default=None,
            by_dataset="transition_points",
            bounds={"ge": 1, "le": 10_000},
        ),
        seed_setting("seed of the choice of test points"),
    ),
    schema=Schema(
        NETWORK | SAMPLE,
        {
            "transitions": Variable(
                ("network", "sample"),
                "float",
                "exact transitions on the translation polygon; NaN: not measured",
            )
        },
    ),
    module="sensigap.measures.cohort.transitions",
    summaries=(
        Summary(
            name="mean_transitions",
            of="transitions",
            long_name="mean transitions over the chosen test points",
            every_point=False,
        ),
    ),
    predictors=(
        Predictor(
            name="transitions",
            label="transitions",
            variable="mean_transitions",
            family="sensitivity",
        ),
    ),
    flops=_flops,
    stored=lambda facts, settings: 8.0 * settings["points"],
)
