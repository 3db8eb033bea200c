"""Figure for C3, C4 and C6: pairs of networks that differ in one factor."""

import dataclasses
import itertools
import math
from collections.abc import Mapping

import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sensigap.analysis.factors import pairs
from sensigap.factors import FACTORS
from sensigap.figure_names import Caption
from sensigap.figures.captions import Counts, counts_sentence, titled
from sensigap.figures.style import (
    COLOURS,
    GREY,
    MARKERS,
    Drawn,
    Layout,
    Marks,
    Painted,
    empty_panel,
    legend,
    log_axis,
    message,
    note,
    panels,
    scatter,
    styled,
)

#: quantity -> name on the axes
QUANTITIES = {
    "gap": "generalization gap",
    "sensitivity": "Jacobian norm",
    "transitions": "transitions",
}
#: quantity -> how its two sides are compared: a difference of gaps, ratios of the others
_COMPARED = {
    "gap": "worse − better",
    "sensitivity": "worse / better",
    "transitions": "worse / better",
}
#: factors side by side on a page and in a column; further ones stand below
_BESIDE = {False: 4, True: 2}
COLUMNS = [
    *("dataset", "factor", "pair", "worse_network", "better_network"),
    *("quantity", "worse", "better"),
]


@styled
def figure(surveys: Mapping[str, xr.Dataset]) -> Drawn:
    """What the sides of each pair differ by in gap, Jacobian norm and transitions.

    Args:
        surveys: survey root group by dataset.

    Returns:
        Numbers: one row a pair and quantity; its value at the side presumed `worse` and at the one
        presumed `better`.
    """
    frames, counts = [], {}
    for name, survey in surveys.items():
        for factor, record in FACTORS.items():
            table, left_out = pairs(survey, factor)
            if not left_out.total:
                continue
            counts[f"{name}, {record.title}"] = (len(table), left_out)
            frames += [
                pd.DataFrame(
                    {
                        "dataset": name,
                        "factor": factor,
                        "pair": table.index,
                        "worse_network": table["worse_network"].to_numpy(),
                        "better_network": table["better_network"].to_numpy(),
                        "quantity": quantity,
                        "worse": table[f"worse_{quantity}"].to_numpy(float),
                        "better": table[f"better_{quantity}"].to_numpy(float),
                    }
                )
                for quantity in QUANTITIES
            ]
    numbers = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)
    caption = _caption(counts, numbers)
    if numbers.empty:
        text = "no pair of networks" if not frames else "no pair whose two sides are both fitted"
        return Drawn(message(f"This study has {text}."), numbers, caption)
    shown = [name for name in FACTORS if (numbers["factor"] == name).any()]

    @styled
    def paint(layout: Layout) -> Painted:
        most = _BESIDE[layout.stacked]
        # two columns at least: a single one is too narrow for a legend
        columns = min(max(len(shown), 2), most)
        blocks = [shown[start : start + columns] for start in range(0, len(shown), columns)]
        size = len(blocks) * len(QUANTITIES), columns
        beside = dataclasses.replace(layout, width=layout.width * columns / most, stacked=False)
        drawn, axes = panels(beside, *size, 1.8)
        marks = []
        *_, last = QUANTITIES
        rows = itertools.product(blocks, QUANTITIES)
        for row, (block, quantity) in zip(axes, rows, strict=True):
            for panel in row[len(block) :]:
                panel.set_axis_off()
            for panel, factor in zip(row, block, strict=False):
                chosen = numbers[(numbers["factor"] == factor) & (numbers["quantity"] == quantity)]
                record = FACTORS[factor]
                what = f"{record.title}, {QUANTITIES[quantity]}"
                marks += _panel(panel, chosen, list(surveys), what, log=quantity != "gap")
                words = record.better.words
                if quantity == last:
                    words += f"\n(worse: {record.worse.words})"
                panel.set_xlabel(words, labelpad=1)
                if quantity == "gap":
                    panel.set_title(record.title)
            row[0].set_ylabel(f"{QUANTITIES[quantity]}\n{_COMPARED[quantity]}")
        if len(surveys) > 1:
            handles = [
                Line2D([], [], linestyle="none", marker=MARKERS[i], color=COLOURS[i], label=name)
                for i, name in enumerate(surveys)
            ]
            legend(layout, drawn, handles, len(surveys))
        return Painted(drawn, marks)

    return Drawn(paint, numbers, caption)


def _panel(
    panel: Axes, pairs: pd.DataFrame, datasets: list[str], what: str, *, log: bool
) -> list[Marks]:
    drawn = pairs[_drawable(pairs, log=log)]
    if drawn.empty:
        empty_panel(panel, "no pair")
        return []
    better, worse = drawn["better"], drawn["worse"]
    moved = worse / better if log else worse - better
    marks = []
    for i, name in enumerate(datasets):
        here = drawn["dataset"] == name
        look = {"marker": MARKERS[i % len(MARKERS)], "color": COLOURS[i % len(COLOURS)]}
        x, y = better[here], moved[here]
        scatter(panel, x, y, s=12, alpha=0.75, **look)
        ids = list(zip(drawn["worse_network"][here], drawn["better_network"][here], strict=True))
        marks.append(Marks(panel, f"{name}: {what}", name, ids, x.to_numpy(), y.to_numpy()))
    above = _above(drawn)
    # the note has a strip of its own, away from most pairs
    below = 2 * above >= len(drawn)
    low, high = _limits(
        min(moved.min(), float(log)), max(moved.max(), float(log)), log=log, below=below
    )
    if log:
        log_axis(panel, "x", better.min(), better.max(), margin=0.08)
        log_axis(panel, "y", low, high)
    else:
        panel.margins(x=0.08)
        panel.set_ylim(low, high)
        panel.locator_params(axis="x", nbins=3)
        panel.locator_params(axis="y", nbins=4)
    panel.axhline(float(log), color=GREY, lw=0.8, zorder=1)
    corner = "lower right" if below else "upper left"
    note(panel, f"{above} of {len(drawn)} above", corner=corner)
    return marks


def _limits(low: float, high: float, *, log: bool, below: bool) -> tuple[float, float]:
    """Limits with room for marks at both ends, and for a line of text at one."""
    if log:
        low, high = math.log(low), math.log(high)
    size = max(high - low, 1e-3)
    low -= (0.24 if below else 0.08) * size
    high += (0.08 if below else 0.24) * size
    return (math.exp(low), math.exp(high)) if log else (low, high)


def _above(pairs: pd.DataFrame) -> int:
    return int((pairs["worse"] > pairs["better"]).sum())


def _drawable(pairs: pd.DataFrame, *, log: bool) -> pd.Series:
    values = pairs[["worse", "better"]]
    return values.gt(0).all(axis=1) if log else values.notna().all(axis=1)


def _caption(counts: Counts, numbers: pd.DataFrame) -> Caption:
    missing = []
    for quantity, name in QUANTITIES.items():
        rows = numbers[numbers["quantity"] == quantity]
        count = int((~_drawable(rows, log=quantity != "gap")).sum())
        if count:
            missing.append(
                f"{count} in the panels on the {name}, where a side was not measured or 0"
            )
    details = (
        "Rows: generalization gap (its difference), mean Jacobian norm over the test points and "
        "mean transitions over the network's own test points (their ratios); each against its "
        "value at the better side. "
    )
    details += "".join(f"{record.caption} " for record in FACTORS.values() if record.caption)
    details += counts_sentence("pair", counts) if counts else "The study has no pairs."
    details += f" Further left out: {'; '.join(missing)}." if missing else ""
    finding = []
    for (dataset, factor), of_factor in numbers.groupby(["dataset", "factor"], sort=False):
        said = [
            f"the {QUANTITIES[str(quantity)]} in {_above(rows)} of {len(rows)}"
            for quantity, rows in of_factor.groupby("quantity", sort=False)
        ]
        finding.append(
            f"{dataset}, {FACTORS[str(factor)].title}: the worse side has more of "
            f"{', '.join(said)}."
        )
    return titled(
        "factors",
        "Each mark is a pair of networks that share every hyper-parameter and seed but the factor, "
        "and both fit their training set. Above the line, the side presumed to generalize worse "
        "has more than the better one, whose value is on the horizontal axis.",
        details,
        " ".join(finding),
    )
