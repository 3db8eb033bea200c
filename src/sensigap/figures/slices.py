"""Figure: the last hidden layer's linear regions over the plane of three training points."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D

from sensigap.analysis.survey_table import LeftOut
from sensigap.figure_names import Caption
from sensigap.figures.captions import Counts, chosen_counts, counts_sentence, plural, titled
from sensigap.figures.style import (
    RIM,
    Drawn,
    Layout,
    Painted,
    legend,
    message,
    note,
    panels,
    styled,
)
from sensigap.kinds import STATES

#: slices drawn at most, so that the figure stays on a page
LIMIT = 4
#: segments in a panel above which the PDF holds them as pixels
RASTER_ABOVE = 20_000
#: colours of classes; further classes use them again
_PALETTE = np.array([to_rgb(colour) for colour in color_sequences["tab20"]])
#: inches: panels are square, two a page
_HEIGHT = 3.27
_TITLES = {"initial": "before training", "trained": "after training"}


@styled
def figure(surveys: Mapping[str, xr.Dataset], slices: Mapping[str, xr.Dataset]) -> Drawn:
    """Region boundaries before and after training, one row of panels a network.

    Args:
        surveys: survey root group by dataset.
        slices: its group 'slices', where slices were measured.

    Returns:
        Numbers: one row a panel; linear `regions` of all hidden layers, `edges` (boundary
        segments) of the last one and their total `boundary_length` in standardised inputs; NaN
        where there are too many regions. The segments are in the store.
    """
    measured = {name: slices[name] for name in surveys if name in slices}
    networks = [
        (name, group.isel(network=[position]).squeeze("network"))
        for name, group in measured.items()
        for position in range(group.sizes["network"])
    ]
    shown = _spread(networks)
    counts = {name: _counts(name, surveys[name], networks, shown) for name in surveys}
    numbers = _numbers(shown)
    if not shown:
        nothing = message("No slices were measured in this study.")
        return Drawn(nothing, numbers, _caption([], counts))

    @styled
    def paint(layout: Layout) -> Painted:
        drawn, axes = panels(layout, len(shown), len(STATES), _HEIGHT)
        for row, (name, group) in zip(axes, shown, strict=True):
            survey = surveys[name].sel(network=group["network"].item())
            for panel, state in zip(row, STATES, strict=True):
                _slice(panel, group.sel(state=state), group)
                panel.set_title(f"{name}, {_describe(survey)}: {_TITLES[state]}", fontsize=8)
                note(panel, _regions(group.sel(state=state)))
                panel.set_xlabel("first coordinate in the plane (standardised inputs)")
                if layout.stacked or panel is row[0]:
                    panel.set_ylabel("second coordinate in the plane\n(standardised inputs)")
        key = _key(shown)
        if key:
            legend(layout, drawn, key, min(len(key), 10))
        return Painted(drawn)

    return Drawn(paint, numbers, _caption(shown, counts))


def _key(shown: list[tuple[str, xr.Dataset]]) -> list[Line2D]:
    """The colours of the classes predicted anywhere; none where two classes share one."""
    classes = sorted({int(k) for _, group in shown for k in np.unique(group["predicted"])} - {-1})
    if not classes or len(classes) > len(_PALETTE) or classes[-1] >= len(_PALETTE):
        return []
    look: dict[str, Any] = {
        "linestyle": "none",
        "marker": "s",
        "markersize": 6,
        "markeredgecolor": RIM,
    }
    return [
        Line2D(
            [],
            [],
            markerfacecolor=to_hex(_pale(k).tolist()),
            markeredgewidth=0.4,
            label=f"class {k}",
            **look,
        )
        for k in classes
    ]


def _pale(classes: np.ndarray | int) -> np.ndarray:
    """Pale class colours, for beneath dark boundaries (..., RGB)."""
    return 1 - 0.38 * (1 - _PALETTE[np.asarray(classes) % len(_PALETTE)])


def _spread(networks: list[tuple[str, xr.Dataset]]) -> list[tuple[str, xr.Dataset]]:
    """At most `LIMIT` networks: the first of each dataset, then the second, and so on."""
    seen: dict[str, int] = {}
    ranked = []
    for position, (name, group) in enumerate(networks):
        seen[name] = seen.get(name, 0) + 1
        ranked.append((seen[name], position, (name, group)))
    kept = sorted(ranked, key=lambda item: item[:2])[:LIMIT]
    return [entry for _, _, entry in sorted(kept, key=lambda item: item[1])]


def _slice(panel: Axes, state: xr.Dataset, group: xr.Dataset) -> None:
    predicted = state["predicted"].transpose("y", "x").to_numpy()
    image = _pale(predicted)
    x, y = group["x"].to_numpy(), group["y"].to_numpy()
    half_x, half_y = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    panel.imshow(image, origin="lower", extent=extent, interpolation="nearest", aspect="equal")
    segments = _segments(state)
    window = group["window"].item()
    width, alpha = _line(_length(segments) / (2 * window))
    lines = LineCollection(
        list(segments),
        colors="#1a1a1a",
        linewidths=width,
        alpha=alpha,
        capstyle="butt",
        rasterized=len(segments) > RASTER_ABOVE,
    )
    panel.add_collection(lines, autolim=False)
    panel.set(xlim=(-window, window), ylim=(-window, window))
    panel.grid(visible=False)
    panel.locator_params(nbins=5)
    anchors = zip(
        group["anchor_x"].to_numpy(),
        group["anchor_y"].to_numpy(),
        group["anchor_label"].to_numpy(),
        strict=True,
    )
    for anchor_x, anchor_y, label in anchors:
        panel.plot(anchor_x, anchor_y, "o", color="white", mec="black", mew=1.2, ms=11, zorder=4)
        panel.text(
            anchor_x, anchor_y, str(label), ha="center", va="center_baseline", fontsize=7, zorder=5
        )


def _segments(state: xr.Dataset) -> np.ndarray:
    """Both ends of the boundary segments of one network and state: (segment, 2, 2)."""
    ends = np.stack([state[name].to_numpy() for name in ("x0", "y0", "x1", "y1")], axis=1)
    return ends[: state["edges"].item()].reshape(-1, 2, 2)


def _length(segments: np.ndarray) -> float:
    along = segments[:, 1].astype(np.float64) - segments[:, 0]
    return float(np.hypot(along[:, 0], along[:, 1]).sum())


def _line(crossings: float) -> tuple[float, float]:
    """Width in points and opacity: thinner and paler where there are more lines.

    Args:
        crossings: length of all lines, in sides of the panel.
    """
    more = max(crossings / 60, 1.0)
    return max(0.7 / more**0.5, 0.15), max(0.9 / more**0.25, 0.2)


def _regions(state: xr.Dataset) -> str:
    count = state["regions"].item()
    return plural(count, "linear region") if count >= 0 else "too many regions to draw"


def _describe(network: xr.Dataset) -> str:
    return f"{network['depth'].item()} × {network['width'].item()} {network['unit'].item()}"


def _numbers(shown: list[tuple[str, xr.Dataset]]) -> pd.DataFrame:
    rows = []
    for name, group in shown:
        for state in STATES:
            panel = group.sel(state=state)
            known = panel["regions"].item() >= 0
            rows.append(
                {
                    "dataset": name,
                    "network": group["network"].item(),
                    "state": state,
                    "regions": panel["regions"].item() if known else np.nan,
                    "edges": panel["edges"].item() if known else np.nan,
                    "boundary_length": _length(_segments(panel)) if known else np.nan,
                }
            )
    columns = ["dataset", "network", "state", "regions", "edges", "boundary_length"]
    return pd.DataFrame(rows, columns=columns)


def _counts(
    name: str,
    survey: xr.Dataset,
    networks: list[tuple[str, xr.Dataset]],
    shown: list[tuple[str, xr.Dataset]],
) -> tuple[int, LeftOut]:
    status = survey["status"].to_numpy()[survey["in_slices"].to_numpy().astype(bool)]
    measured = sum(other == name for other, _ in networks)
    drawn = sum(other == name for other, _ in shown)
    left_out = chosen_counts(status, measured, "networks chosen")
    left_out.add("measured but not drawn, to keep the figure on a page", measured - drawn)
    return drawn, left_out


def _caption(
    shown: list[tuple[str, xr.Dataset]],
    counts: Counts,
) -> Caption:
    said = []
    for name, group in shown:
        states = ", ".join(_TITLES[state] + f" {_said(group.sel(state=state))}" for state in STATES)
        said.append(f"{name}, network {group['network'].item()}: {states}.")
    return titled(
        "slices",
        "Each panel is the plane through three training points (white discs with their class): "
        "dark lines are where a unit of the last hidden layer passes a threshold, the colour is "
        "the predicted class. The note counts the linear regions of all hidden layers.",
        "The plane's origin is its point closest to 0, in standardised inputs; lines are exact to "
        f"float32. Classes beyond {len(_PALETTE)} use the colours of others again, without a key. "
        + " ".join([*said, counts_sentence("network", counts)]),
        " ".join(said),
    )


def _said(state: xr.Dataset) -> str:
    """Regions and boundary segments in words."""
    if state["regions"].item() < 0:
        return "too many regions, boundaries left out"
    return f"{_regions(state)} and {plural(state['edges'].item(), 'boundary segment')}"
