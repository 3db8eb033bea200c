"""Figure for C0: number of parameters and training loss against the generalization gap."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.cm import ScalarMappable

from sensigap import seeds
from sensigap.analysis.survey_table import survey_members
from sensigap.figure_names import Caption
from sensigap.figures.axes import crowded, gap_axis, on_log_axis, spearman_text
from sensigap.figures.captions import Counts, counts_sentence, plural, titled
from sensigap.figures.style import (
    GAP,
    Drawn,
    Layout,
    Marks,
    Painted,
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

#: sizes are moved sideways by up to this share of the axis, since many networks have the same
_JITTER = 0.015
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
    caption = _caption(counts, tables, zeros)
    if numbers.empty:
        return Drawn(message("No network of the survey is fitted."), numbers, caption)

    @styled
    def paint(layout: Layout) -> Painted:
        drawn, axes = panels(layout, len(tables), len(AXES), 2.5)
        colours, norm, depths = levels(numbers["depth"])
        marks = []
        for row, (name, table) in zip(axes, tables.items(), strict=True):
            title(layout, row, name)
            ids = [(network,) for network in table["network"]]
            for panel, (column, label) in zip(row, AXES.items(), strict=True):
                panel.set_xlabel(label)
                panel.set_ylabel(GAP if layout.stacked or panel is row[0] else "")
                if table.empty:
                    empty_panel(panel, "no network is fitted")
                    continue
                x = on_log_axis(table[column])
                if column == "parameters":
                    x = _moved(x)
                log_axis(panel, "x", x.min(), x.max(), margin=0.06)
                y = gap_axis(panel, table["gap"])
                shade = np.searchsorted(depths, table["depth"])
                scatter(panel, x, y, c=shade, cmap=colours, norm=norm)
                note(panel, spearman_text(table[column], table["gap"]))
                what = f"{name}: {label} and gap"
                marks.append(Marks(panel, what, name, ids, x.to_numpy(), y.to_numpy()))
        bar = drawn.colorbar(
            ScalarMappable(norm, colours), ax=axes, aspect=15 * axes[:, 0].size, pad=0.01
        )
        bar.set_ticks(range(len(depths)), labels=[str(depth) for depth in depths])
        bar.set_label("hidden layers")
        return Painted(drawn, marks)

    return Drawn(paint, numbers, caption)


def _moved(sizes: pd.Series) -> pd.Series:
    """Sizes, each moved a little to a side, so that equal ones do not hide one another."""
    rng = seeds.generator(0, "figure: parameters")
    axis = max(float(np.log10(sizes.max() / sizes.min())), 0.1)
    return sizes * 10 ** (axis * _JITTER * rng.uniform(-1, 1, len(sizes)))


def _caption(counts: Counts, tables: Mapping[str, pd.DataFrame], zeros: int) -> Caption:
    edge = (
        f" {plural(zeros, 'network')} with a training loss of exactly 0 at the left edge."
        if zeros
        else ""
    )
    logarithmic = [name for name, table in tables.items() if crowded(table["gap"])]
    if logarithmic:
        edge += f" Gaps of {', '.join(logarithmic)} on a logarithmic axis."
    return titled(
        "parameters",
        "Each mark is a network that fits its training set: its generalization gap against its "
        "number of weights and biases, and against its training loss. Colours tell the number of "
        "hidden layers; ρ is Spearman's rank correlation of the marks.",
        "The training loss is the cross-entropy over the whole training set. Sizes are moved "
        f"sideways by up to {100 * _JITTER:g}% of the axis, since many networks have the same."
        f"{edge} " + counts_sentence("fitted network", counts),
        " ".join(
            f"{name}: the gap goes with the number of parameters by "
            f"{spearman_text(table['parameters'], table['gap'])} networks, with the training loss "
            f"by {spearman_text(table['train_loss'], table['gap'])}."
            for name, table in tables.items()
            if len(table)
        ),
    )
