"""Region boundaries over the plane of three training points."""

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
from sensigap.selection import by_name
from sensigap.spec import NetworkSpec

_ENDS = {
    f"{axis}{end}": Variable(
        ("network", "state", "edge"),
        "float",
        f"{axis} of the segment's {name}, standardised inputs; NaN beyond `edges`",
    )
    for end, name in enumerate(("start", "end"))
    for axis in "xy"
}


def _flops(spec: NetworkSpec, facts: DatasetFacts, settings: Settings) -> float:
    # regions grow like the square of the units, a vertex of each is followed to the last layer
    units = spec.width * spec.depth
    return 2.0 * 3e3 * units**2 + 4.0 * units**2 * spec.width


SLICES = Measure(
    name="slices",
    title="Region boundaries over a plane of training points",
    section="Region boundaries of the last hidden layer over the plane of three training points.",
    settings=(
        Setting(
            name="networks",
            kind="rows",
            text="networks, as rows of the survey; trained if the survey does not hold them; []: "
            "no slices",
            default=[],
            only_chooses=True,
        ),
        Setting(
            name="margin",
            kind=float,
            text="what the window shows beyond the data: it reaches (1 + margin) sqrt(d), d "
            "inputs, each way from the plane's point closest to the origin; standardised "
            "images are at sqrt(d)",
            default=0.25,
            bounds={"ge": 0, "le": 10},
        ),
        seed_setting("seed of the choice of the three training points"),
    ),
    schema=Schema(
        NETWORK
        | {
            "state": Variable(("state",), "str", "initial or trained weights"),
            # an index, so that cohorts with different numbers of edges are put together padded
            "edge": Variable(("edge",), "int", "number of a boundary segment"),
            "x": Variable(("x",), "float", "first coordinate in the plane, standardised inputs"),
            "y": Variable(("y",), "float", "second coordinate in the plane, standardised inputs"),
        },
        # float32: a millionth of the window, enough to draw; measured in float64
        _ENDS
        | {
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
    module="sensigap.measures.cohort.slices",
    device=False,
    group="slices",
    chosen=by_name,
    chosen_text="chosen for the slices",
    flops=_flops,
    stored=lambda facts, settings: 16.0 * 200_000,
)
