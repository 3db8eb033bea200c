"""Figure for C3 and C4: pairs of networks that differ in one factor."""

import dataclasses
import itertools
from collections.abc import Mapping

import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sensigap.analysis.factors import pairs
from sensigap.factors import FACTORS
from sensigap.figures.captions import Counts, counts_sentence, titled
from sensigap.figures.style import (
    COLOURS,
    GREY,
    MARKERS,
    Caption,
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
#: factors side by side on a page and in a column; further ones stand below
_BESIDE = {False: 4, True: 2}
COLUMNS = [
    *("dataset", "factor", "pair", "worse_network", "better_network"),
    *("quantity", "worse", "better"),
]


@styled
def figure(surveys: Mapping[str, xr.Dataset]) -> Drawn:
    """Gap, Jacobian norm and transitions of one side of each pair against the other.

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
        rows = itertools.product(blocks, QUANTITIES)
        for row, (block, quantity) in zip(axes, rows, strict=True):
            for panel in row[len(block) :]:
                panel.set_axis_off()
            for panel, factor in zip(row, block, strict=False):
                chosen = numbers[(numbers["factor"] == factor) & (numbers["quantity"] == quantity)]
                record = FACTORS[factor]
                what = f"{record.title}, {QUANTITIES[quantity]}"
                marks += _panel(panel, chosen, list(surveys), what, log=quantity != "gap")
                panel.set_ylabel(record.worse.words, labelpad=1)
                panel.set_xlabel(record.better.words, labelpad=1)
                if quantity == "gap":
                    panel.set_title(record.title)
            row[0].annotate(
                QUANTITIES[quantity],
                (0, 0.5),
                xytext=(-46, 0),
                xycoords="axes fraction",
                textcoords="offset points",
                rotation="vertical",
                ha="center",
                va="center",
                fontweight="bold",
            )
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
    panel.set_aspect("equal", adjustable="box")
    if drawn.empty:
        empty_panel(panel, "no pair")
        return []
    marks = []
    for i, name in enumerate(datasets):
        chosen = drawn[drawn["dataset"] == name]
        look = {"marker": MARKERS[i % len(MARKERS)], "color": COLOURS[i % len(COLOURS)]}
        scatter(panel, chosen["better"], chosen["worse"], s=12, alpha=0.75, **look)
        ids = list(zip(chosen["worse_network"], chosen["better_network"], strict=True))
        x, y = chosen["better"].to_numpy(float), chosen["worse"].to_numpy(float)
        marks.append(Marks(panel, f"{name}: {what}", name, ids, x, y))
    values = drawn[["better", "worse"]].to_numpy(float)
    low, high = values.min(), values.max()
    if log:
        pad = max((high / low) ** 0.08, 1.1)
        limits = (low / pad, high * pad)
    else:
        pad = max(0.08 * (high - low), 0.01)
        limits = (low - pad, high + pad)
    if log:
        log_axis(panel, "x", *limits)
        log_axis(panel, "y", *limits)
    else:
        panel.set(xlim=limits, ylim=limits)
        panel.locator_params(nbins=4)
    panel.plot(limits, limits, color=GREY, lw=0.8, zorder=1)
    # in the corner away from most pairs
    above = _above(drawn)
    corner = "lower right" if 2 * above >= len(drawn) else "upper left"
    note(panel, f"{above} of {len(drawn)} above", corner=corner)
    return marks


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
        "Rows: generalization gap (difference of accuracies), mean Jacobian norm over the test "
        "points, mean transitions over the network's own test points. "
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
        "and both fit their training set. Above the diagonal, the side presumed to generalize "
        "worse (vertical axis) has the larger value.",
        details,
        " ".join(finding),
    )
