"""Figure for C0: number of parameters and training loss against the generalization gap."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.cm import ScalarMappable

from sensigap.analysis.survey_table import survey_members
from sensigap.figures.axes import on_log_axis, spearman_text
from sensigap.figures.captions import Counts, counts_sentence, plural, titled
from sensigap.figures.style import (
    GAP,
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

AXES = {"parameters": "number of parameters", "train_loss": "training loss (nat)"}
COLUMNS = ["dataset", "network", "parameters", "train_loss", "gap", "depth", "test_accuracy"]


@styled
def figure(surveys: Mapping[str, xr.Dataset]) -> Drawn:
    """Gap against size and against training loss, one row of panels a dataset.

    Args:
        surveys: survey root group by dataset.

    Returns:
        Numbers: one row a fitted network of the survey.
    """
    members = {name: survey_members(survey) for name, survey in surveys.items()}
    tables = {name: table.reset_index() for name, (table, _) in members.items()}
    numbers = pd.concat(
        [table.assign(dataset=name)[COLUMNS] for name, table in tables.items()],
        ignore_index=True,
    )
    counts = {name: (len(table), left_out) for name, (table, left_out) in members.items()}
    zeros = int((numbers["train_loss"] == 0).sum())
    caption = _caption(counts, zeros)
    if numbers.empty:
        return Drawn(message_figure("No network of the survey is fitted."), numbers, caption)
    drawn, axes = panels(len(tables), len(AXES), 2.5)
    colours, norm, depths = levels(numbers["depth"])
    for row, (name, table) in zip(axes, tables.items(), strict=True):
        for panel, (column, label) in zip(row, AXES.items(), strict=True):
            panel.set_xlabel(label)
            if table.empty:
                empty_panel(panel, "no network is fitted")
                continue
            x = on_log_axis(table[column])
            log_axis(panel, "x", x.min(), x.max(), margin=0.06)
            shade = np.searchsorted(depths, table["depth"])
            panel.scatter(
                x,
                table["gap"],
                c=shade,
                cmap=colours,
                norm=norm,
                s=marker_size(len(table)),
                lw=0,
                alpha=0.8,
            )
            note(panel, spearman_text(table[column], table["gap"]))
            panel.margins(y=0.14)
        row[0].set_ylabel(GAP)
        row[0].set_title(name)
    bar = drawn.colorbar(ScalarMappable(norm, colours), ax=axes, aspect=30 * len(tables), pad=0.01)
    bar.set_ticks(range(len(depths)), labels=[str(depth) for depth in depths])
    bar.set_label("hidden layers")
    return Drawn(drawn, numbers, caption)


def _caption(counts: Counts, zeros: int) -> str:
    edge = (
        f" {plural(zeros, 'network')} with a training loss of exactly 0 at the left edge."
        if zeros
        else ""
    )
    return titled(
        "parameters",
        "Each mark is one network of the survey that fits its training set: its generalization gap "
        "against its number of weights and biases (left) and its cross-entropy over the whole "
        "training set (right); colour: number of hidden layers. ρ: Spearman's rank correlation "
        f"over the marks of the panel.{edge} " + counts_sentence("fitted network", counts),
    )
