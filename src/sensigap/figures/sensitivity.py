"""Figure for C2: the Jacobian norm at test points against the generalization gap."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from sensigap.analysis.survey_table import sensitive, survey_members
from sensigap.figures.axes import spearman_text
from sensigap.figures.captions import Counts, counts_sentence, titled
from sensigap.figures.style import (
    GAP,
    SENSITIVITY,
    Drawn,
    empty_panel,
    levels,
    log_axis,
    marker_size,
    message_figure,
    note,
    panels,
    styled,
)
from sensigap.schema import SCHEMAS


@styled
def figure(surveys: Mapping[str, xr.Dataset], *, hyperparameter: str = "gain") -> Drawn:
    """Gap against sensitivity, coloured by test accuracy and by a hyper-parameter.

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
    columns = ["dataset", "network", "sensitivity", "gap", "test_accuracy", hyperparameter]
    members = {name: sensitive(*survey_members(survey)) for name, survey in surveys.items()}
    tables = {name: table.reset_index() for name, (table, _) in members.items()}
    numbers = pd.concat(
        [table.assign(dataset=name)[columns] for name, table in tables.items()],
        ignore_index=True,
    )
    counts = {name: (len(table), left_out) for name, (table, left_out) in members.items()}
    caption = _caption(counts, hyperparameter)
    if numbers.empty:
        return Drawn(message_figure("No network of the survey is fitted."), numbers, caption)
    drawn, axes = panels(len(tables), 2, 2.7)
    for row, (name, table) in zip(axes, tables.items(), strict=True):
        row[0].set_title(name)
        row[0].set_ylabel(GAP)
        for panel in row:
            panel.set_xlabel(SENSITIVITY)
        if table.empty:
            for panel in row:
                empty_panel(panel, "no network is fitted")
            continue
        _by_accuracy(drawn, row[0], table)
        _by_level(drawn, row[1], table, hyperparameter)
    return Drawn(drawn, numbers, caption)


def _by_accuracy(drawn: Figure, panel: Axes, table: pd.DataFrame) -> None:
    marks = _scatter(panel, table, c=table["test_accuracy"], cmap="cividis")
    drawn.colorbar(marks, ax=panel, label="test accuracy", pad=0.02)


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
    panel.margins(y=0.14)
    note(panel, spearman_text(table["sensitivity"], table["gap"]))
    return panel.scatter(
        table["sensitivity"], table["gap"], s=marker_size(len(table)), lw=0, alpha=0.8, **colour
    )


def _caption(counts: Counts, hyperparameter: str) -> str:
    return titled(
        "sensitivity",
        "Each mark is one network of the survey that fits its training set: its generalization gap "
        "against the mean over the test points of the norm of its softmax output's Jacobian "
        "(inputs standardised; logarithmic axis). Left: coloured by test accuracy; right: by "
        f"{hyperparameter.replace('_', ' ')}. ρ: Spearman's rank correlation over the marks of the "
        "panel. " + counts_sentence("fitted network", counts),
    )
