"""Figure that compares the data sets: the claims' effects, the factors, the measures."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sensigap.analysis.bootstrap import level_text
from sensigap.analysis.survey_table import survey_members
from sensigap.analysis.verdicts import NONE, Settings
from sensigap.factors import FACTORS
from sensigap.figure_names import Caption
from sensigap.figures.captions import counts_sentence, titled
from sensigap.figures.style import (
    BAND,
    COLOURS,
    GREY,
    MARKERS,
    Drawn,
    Layout,
    Painted,
    empty_panel,
    legend,
    message,
    panels,
    styled,
)

#: key of a row of the claims -> what it is, in words; all are correlations
_CORRELATIONS = {
    "C2.raw": "norm and gap (C2)",
    "C2.within": "… within hyper-parameters",
    "C2.within.crossfit": "… and cross-fitted",
    "C2.given_confidence": "… given confidence",
    "C2.test_error.within": "norm and test error, within",
    "C2.transitions.within": "transitions and gap, within",
    "C0.size": "parameters and gap (C0)",
    "C0.loss": "training loss and gap (C0)",
    "C5.loss": "norm and loss at a point (C5)",
    "C5.loss.given_confidence": "… given confidence",
}
#: measures of the leaderboard shown, the best
_MEASURES = 12
_ROW_INCHES = 0.24
COLUMNS = ("dataset", "panel", "name", "label", "estimate", "low", "high", "n", "verdict")


@styled
def figure(
    surveys: Mapping[str, xr.Dataset],
    claims: pd.DataFrame,
    board: pd.DataFrame,
    settings: Settings,
) -> Drawn:
    """Effects with their intervals, a row each, the data sets side by side within it.

    Args:
        surveys: survey root group by dataset, in the order of their colours.
        claims: their table of claims.
        board: their leaderboard.
        settings: of the analysis that made them.

    Returns:
        Numbers: one row an effect and data set, of those with a value; in the order drawn.
    """
    datasets = list(surveys)
    parts = {
        "correlations": _correlations(claims),
        "gap": _factors(claims, "gap"),
        "norm": _factors(claims, "norm"),
        "measures": _measures(board),
    }
    numbers = pd.concat(
        [part.assign(panel=panel) for panel, part in parts.items()], ignore_index=True
    )[list(COLUMNS)]
    caption = _caption(surveys, numbers, settings)
    if numbers.empty:
        return Drawn(message("No effect has enough networks."), numbers, caption)
    left = max(_rows(parts["correlations"]), _rows(parts["measures"]), 3)
    below = max(_rows(parts["gap"]), _rows(parts["norm"]), 2)
    unit = _ROW_INCHES * (1 + 0.25 * (len(datasets) - 1))
    heights = [unit * rows + 0.5 for rows in (left, below)]
    words = {
        "correlations": ("Correlations", "rank correlation"),
        "measures": ("Measures, within", "rank correlation with the gap"),
        "gap": ("Factors: gap", "gap, worse − better side"),
        "norm": ("Factors: Jacobian norm", "ln ratio, worse / better side"),
    }

    @styled
    def paint(layout: Layout) -> Painted:
        drawn, axes = panels(layout, 2, 2, heights)
        for panel, name in zip(axes.flat, words, strict=True):
            title, label = words[name]
            panel.set_title(title)
            panel.set_xlabel(label)
            _panel(panel, parts[name], datasets)
        if len(datasets) > 1:
            handles = [
                Line2D([], [], color=_colour(i), marker=_marker(i), markersize=4, label=name)
                for i, name in enumerate(datasets)
            ]
            legend(layout, drawn, handles, len(datasets))
        return Painted(drawn)

    return Drawn(paint, numbers, caption)


def _rows(part: pd.DataFrame) -> int:
    return int(part["name"].nunique())


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]


def _correlations(claims: pd.DataFrame) -> pd.DataFrame:
    rows = claims[claims["key"].isin(_CORRELATIONS) & claims["estimate"].notna()]
    order = {key: place for place, key in enumerate(_CORRELATIONS)}
    rows = rows.sort_values("key", key=lambda keys: keys.map(order), kind="stable")
    return rows.assign(name=rows["key"], label=rows["key"].map(_CORRELATIONS))


def _factors(claims: pd.DataFrame, quantity: str) -> pd.DataFrame:
    keys = {}
    for name, factor in FACTORS.items():
        key = f"{factor.claim}.{name}"
        # the gap of random labels is large by construction, so the claim's row is the norm's
        alone = f"{key}.norm" not in {*claims["key"]}
        if alone and quantity == "gap":
            continue
        keys[key if alone else f"{key}.{quantity}"] = factor.title
    rows = claims[claims["key"].isin(keys) & claims["estimate"].notna()]
    return rows.assign(name=rows["key"], label=rows["key"].map(keys))


def _measures(board: pd.DataFrame) -> pd.DataFrame:
    rows = board[board["within"].notna()]
    mean = rows.groupby("measure")["within"].mean().sort_values(ascending=False, kind="stable")
    order = {measure: place for place, measure in enumerate(mean.index[:_MEASURES])}
    rows = rows[rows["measure"].isin(order)]
    rows = rows.sort_values("measure", key=lambda names: names.map(order), kind="stable")
    return pd.DataFrame(
        {
            "dataset": rows["dataset"],
            "name": rows["measure"],
            "label": rows["label"],
            "estimate": rows["within"],
            "low": rows["within_low"],
            "high": rows["within_high"],
            "n": rows["n"],
            "verdict": NONE,
        }
    )


def _panel(panel: Axes, part: pd.DataFrame, datasets: Sequence[str]) -> None:
    if part.empty:
        empty_panel(panel, "too few networks")
        return
    names = list(dict.fromkeys(part["name"]))
    labels = part.drop_duplicates("name").set_index("name")["label"]
    panel.axvline(0, color=GREY, lw=0.8, zorder=1)
    for line in range(0, len(names), 2):
        panel.axhspan(line - 0.5, line + 0.5, color=BAND, lw=0, zorder=0)
    place = {name: row for row, name in enumerate(names)}
    for i, dataset in enumerate(datasets):
        rows = part[part["dataset"] == dataset]
        shift = 0.7 * ((i + 0.5) / len(datasets) - 0.5)
        y = rows["name"].map(place).to_numpy(float) + shift
        low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
        panel.hlines(y, low, high, color=_colour(i), lw=1.2, zorder=2)
        panel.plot(
            rows["estimate"].to_numpy(float),
            y,
            linestyle="none",
            marker=_marker(i),
            color=_colour(i),
            markersize=3.6,
            zorder=3,
        )
    ends = part[["estimate", "low", "high"]].to_numpy(float)
    ends = ends[np.isfinite(ends)]
    pad = 0.05 * max(ends.max(initial=0) - ends.min(initial=0), 1e-6)
    panel.set_xlim(ends.min(initial=0) - pad, ends.max(initial=0) + pad)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_yticks(range(len(names)), [labels[name] for name in names])
    panel.tick_params(axis="y", length=0)
    panel.locator_params(axis="x", nbins=5)
    panel.grid(visible=False, axis="y")


def _caption(
    surveys: Mapping[str, xr.Dataset], numbers: pd.DataFrame, settings: Settings
) -> Caption:
    members = {name: survey_members(survey) for name, survey in surveys.items()}
    counts = {name: (len(table), left_out) for name, (table, left_out) in members.items()}
    finding = []
    for name, rows in numbers.groupby("dataset", sort=False):
        above, below = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
        finding.append(
            f"{name}: of {len(rows)} effects, {above} lie above 0 with their interval and {below} "
            "below it."
        )
    return titled(
        "effects",
        "Correlations over networks, the measures of the leaderboard that go best with the gap, "
        "and what differs between the sides of pairs, above 0 where the side presumed to "
        f"generalize worse has more. Lines are intervals that hold {level_text(settings.alpha)}.",
        "Correlations are over the networks of the survey that fit their training set, or over the "
        "points of single networks; those of the measures are within equal hyper-parameters. Rows "
        "without a mark had too few networks. Intervals of primary rows stand by themselves, not "
        "adjusted; they count errors of networks and of the shared test points, those of measures "
        "of networks alone. " + counts_sentence("fitted network", counts),
        " ".join(finding),
    )
