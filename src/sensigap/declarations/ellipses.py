"""Jacobian norms and transitions along ellipses through training points (C1)."""

from sensigap.datasets.known import DatasetFacts
from sensigap.declarations.base import (
    NETWORK,
    Measure,
    Schema,
    Setting,
    Settings,
    Variable,
    seed_setting,
)
from sensigap.declarations.jacobian import jacobian_flops
from sensigap.declarations.transitions import crossing_flops
from sensigap.kinds import ELLIPSE_KINDS, STATES
from sensigap.selection import by_share
from sensigap.spec import NetworkSpec

_ALONG = ("network", "state", "kind", "ellipse", "angle")


def _flops(spec: NetworkSpec, facts: DatasetFacts, settings: Settings) -> float:
    ellipses = len(STATES) * len(ELLIPSE_KINDS) * settings["count"]
    # measured: an ellipse meets a threshold about four times, and takes some 2 ms beside that
    along = crossing_flops(spec, facts, 4.0) + 2e8
    return ellipses * (jacobian_flops(spec, facts, settings["angles"]) + along)


ELLIPSES = Measure(
    name="ellipses",
    title="Jacobian norms and transitions along ellipses",
    section="Ellipses through training points, near the data and away from them (C1).",
    settings=(
        Setting(
            name="share",
            kind=float,
            text="share of the survey's networks that are measured, chosen by a seeded hash of "
            "their id; 0: none",
            default=0.1,
            only_chooses=True,
            bounds={"ge": 0, "le": 1},
        ),
        Setting(
            name="count",
            kind=int,
            text="ellipses of each kind for each network",
            unit="ellipses",
            default=8,
            bounds={"ge": 1, "le": 10_000},
        ),
        Setting(
            name="angles",
            kind=int,
            text="equally spaced angles on an ellipse, a multiple of 24, so that anchors and "
            "midpoints are among them",
            unit="angles",
            default=192,
            bounds={"ge": 24, "le": 98_304, "multiple_of": 24},
        ),
        seed_setting("seed of the networks and of the ellipses"),
    ),
    schema=Schema(
        NETWORK
        | {
            "state": Variable(("state",), "str", "initial or trained weights"),
            "kind": Variable(("kind",), "str", "anchors of the ellipse"),
            "angle": Variable(("angle",), "float", "angle on the ellipse", "rad"),
        },
        {
            "jacobian_norm": Variable(_ALONG, "float", "||J||_F at the angle"),
            "transitions": Variable(_ALONG, "int", "transitions from this angle to the next"),
            "arc_length": Variable(
                ("network", "kind", "ellipse", "angle"),
                "float",
                "length of the arc from this angle to the next, in standardised inputs",
            ),
        },
    ),
    module="sensigap.measures.cohort.ellipses",
    group="ellipses",
    chosen=by_share,
    chosen_text="chosen for the ellipses (C1)",
    flops=_flops,
    stored=lambda facts, settings: (
        8.0 * 5 * len(ELLIPSE_KINDS) * settings["count"] * settings["angles"]
    ),
)
