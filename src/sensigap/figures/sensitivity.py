"""Figure for C2: the Jacobian norm at test points against the generalization gap."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from sensigap.analysis.survey_table import sensitive, survey_members
from sensigap.figure_names import Caption
from sensigap.figures.axes import crowded, gap_axis, spearman_text
from sensigap.figures.captions import Counts, counts_sentence, titled
from sensigap.figures.style import (
    GAP,
    SENSITIVITY,
    Drawn,
    Layout,
    Marks,
    Painted,
    between,
    empty_panel,
    levels,
    log_axis,
    message,
    note,
    panels,
    scatter,
    styled,
    title,
)
from sensigap.schema import SCHEMAS


@styled
def figure(surveys: Mapping[str, xr.Dataset], *, hyperparameter: str = "gain") -> Drawn:
    """Gap against sensitivity, coloured by size and by a hyper-parameter.

    Args:
        surveys: survey root group by dataset.
        hyperparameter: colours the right-hand panels; a coordinate of the survey.

    Returns:
        Numbers: one row a fitted network of the survey whose sensitivity is not 0.

    Raises:
        ValueError: `hyperparameter` is no coordinate on `network`.
    """
    known = [n for n, v in SCHEMAS["survey"].coordinates.items() if v.dims == ("network",)]
    if hyperparameter not in known:
        raise ValueError(
            f"hyperparameter: expected a coordinate on 'network', one of {', '.join(known)}; "
            f"found {hyperparameter!r}"
        )
    columns = ["dataset", "network", "sensitivity", "gap", "parameters", hyperparameter]
    members = {name: sensitive(*survey_members(survey)) for name, survey in surveys.items()}
    tables = {name: table.reset_index() for name, (table, _) in members.items()}
    numbers = pd.concat(
        [table.assign(dataset=name)[columns] for name, table in tables.items()],
        ignore_index=True,
    )
    counts = {name: (len(table), left_out) for name, (table, left_out) in members.items()}
    caption = _caption(counts, tables, hyperparameter)
    if numbers.empty:
        return Drawn(message("No network of the survey is fitted."), numbers, caption)

    @styled
    def paint(layout: Layout) -> Painted:
        drawn, axes = panels(layout, len(tables), 2, 2.7)
        marks = []
        for row, (name, table) in zip(axes, tables.items(), strict=True):
            title(layout, row, name)
            for panel in row:
                panel.set_xlabel(SENSITIVITY)
                panel.set_ylabel(GAP if layout.stacked or panel is row[0] else "")
            if table.empty:
                for panel in row:
                    empty_panel(panel, "no network is fitted")
                continue
            _by_size(drawn, row[0], table)
            _by_level(drawn, row[1], table, hyperparameter)
            ids = [(network,) for network in table["network"]]
            for panel, by in zip(row, ("parameters", hyperparameter), strict=True):
                x, y = np.asarray(panel.collections[0].get_offsets()).T
                label = f"{name}: norm and gap, by {by.replace('_', ' ')}"
                marks.append(Marks(panel, label, name, ids, x, y))
        return Painted(drawn, marks)

    return Drawn(paint, numbers, caption)


def _by_size(drawn: Figure, panel: Axes, table: pd.DataFrame) -> None:
    sizes = table["parameters"]
    low, high = float(sizes.min()), max(float(sizes.max()), 1.01 * float(sizes.min()))
    marks = _scatter(panel, table, c=sizes, cmap=between("cividis"), norm=LogNorm(low, high))
    bar = drawn.colorbar(marks, ax=panel, label="number of parameters", pad=0.02)
    log_axis(bar.ax, "y", low, high)


def _by_level(drawn: Figure, panel: Axes, table: pd.DataFrame, name: str) -> None:
    colours, norm, found = levels(table[name])
    _scatter(panel, table, c=np.searchsorted(found, table[name]), cmap=colours, norm=norm)
    bar = drawn.colorbar(ScalarMappable(norm, colours), ax=panel, pad=0.02)
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in found]
    bar.set_ticks(range(len(found)), labels=texts)
    bar.set_label({"gain": "gain of the initial weights"}.get(name, name.replace("_", " ")))


def _scatter(panel: Axes, table: pd.DataFrame, **colour: Any) -> PathCollection:
    x = table["sensitivity"]
    log_axis(panel, "x", x.min(), x.max(), margin=0.06)
    y = gap_axis(panel, table["gap"])
    note(panel, spearman_text(x, table["gap"]))
    return scatter(panel, x, y, **colour)


def _caption(counts: Counts, tables: Mapping[str, pd.DataFrame], hyperparameter: str) -> Caption:
    logarithmic = [name for name, table in tables.items() if crowded(table["gap"])]
    edge = (
        f" The gaps of {', '.join(logarithmic)} are on a logarithmic axis, since most lie close "
        "together; those of 0 and below at its lower edge."
        if logarithmic
        else ""
    )
    return titled(
        "sensitivity",
        "Each mark is a network that fits its training set: its generalization gap against the "
        "mean norm of its Jacobian at the test points. Colours tell the number of parameters and "
        f"the {hyperparameter.replace('_', ' ')}; ρ is Spearman's rank correlation of the marks.",
        "The Jacobian is that of the softmax output with respect to standardised inputs; its norm "
        f"is on a logarithmic axis.{edge} " + counts_sentence("fitted network", counts),
        " ".join(
            f"{name}: the gap goes with the norm by "
            f"{spearman_text(table['sensitivity'], table['gap'])} networks."
            for name, table in tables.items()
            if len(table)
        ),
    )
