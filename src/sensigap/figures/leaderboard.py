"""Figure of the leaderboard: how well sensitivity and other measures predict the gap."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sensigap.analysis.bootstrap import level_text
from sensigap.analysis.leaderboard import STATISTICS
from sensigap.analysis.survey_table import LeftOut, survey_members
from sensigap.analysis.verdicts import Settings
from sensigap.figures.captions import counts_sentence, titled
from sensigap.figures.style import (
    COLOURS,
    GREY,
    Drawn,
    empty_panel,
    message_figure,
    panels,
    styled,
)

#: family -> colour and words
FAMILIES = {
    "sensitivity": (COLOURS[0], "sensitivity"),
    "complexity": (COLOURS[1], "measures of the literature"),
}
#: statistic -> marker, whether it is filled, place within a row, words
MARKS = {
    "within": ("o", True, 0.0, "within hyper-parameters"),
    "raw": ("o", False, -0.26, "all networks"),
    "kendall": ("D", False, 0.26, "granulated Kendall"),
}
COLUMNS = [
    *("dataset", "measure", "family", "n"),
    *(column for name in ("within", "raw", "kendall", "behind") for column in STATISTICS[name]),
]
_ROW_INCHES = 0.25


@styled
def figure(surveys: Mapping[str, xr.Dataset], board: pd.DataFrame, settings: Settings) -> Drawn:
    """Each measure's correlations with the gap as dots with intervals, a panel a dataset.

    Args:
        surveys: survey root group by dataset.
        board: their leaderboard, as `sensigap.analysis.leaderboard` makes it.
        settings: of the analysis that made it.

    Returns:
        Numbers: one row a measure and dataset, of those with a value; in the order drawn.
    """
    names = [STATISTICS[statistic][0] for statistic in MARKS]
    board = board[board[names].notna().any(axis=1)]
    # one order for all panels: by the mean over the data sets
    mean = board.groupby("measure")["within"].mean()
    order = mean.sort_values(ascending=False, kind="stable", na_position="last").index.tolist()
    place = {measure: row for row, measure in enumerate(order)}
    board = board.assign(place=board["measure"].map(place))
    board = pd.concat(
        [board[board["dataset"] == name].sort_values("place") for name in surveys],
        ignore_index=True,
    )
    numbers = board[COLUMNS]
    caption = _caption(surveys, settings)
    if board.empty:
        text = "Too few networks of the survey are fitted to compare measures."
        return Drawn(message_figure(text), numbers, caption)
    height = 0.9 + _ROW_INCHES * len(order)
    drawn, axes = panels(1, len(surveys), height, sharey=True)
    labels = board.drop_duplicates("measure").set_index("measure")["label"]
    for panel, name in zip(axes[0], surveys, strict=True):
        panel.set_title(name)
        rows = board[board["dataset"] == name]
        if rows.empty:
            empty_panel(panel, "too few networks\nare fitted")
        else:
            _panel(panel, rows)
            panel.set_xlabel("rank correlation\nwith the gap")
    for panel in axes[0]:
        panel.set_ylim(len(order) - 0.5, -0.5)
        panel.set_yticks(range(len(order)), [labels[measure] for measure in order])
        panel.tick_params(axis="y", length=0)
    drawn.legend(handles=_legend(), loc="outside lower center", ncols=3)
    return Drawn(drawn, numbers, caption)


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    for line in range(0, int(rows["place"].max()) + 1, 2):
        panel.axhspan(line - 0.5, line + 0.5, color="#f4f4f4", lw=0, zorder=0)
    panel.axvline(0, color=GREY, lw=0.8, zorder=1)
    for family, (colour, _) in FAMILIES.items():
        of_family = rows[rows["family"] == family]
        for statistic, (marker, filled, shift, _) in MARKS.items():
            middle, low, high = (of_family[name].to_numpy(float) for name in STATISTICS[statistic])
            y = of_family["place"].to_numpy(float) + shift
            panel.hlines(y, low, high, color=colour, lw=1.6 if filled else 0.8, zorder=2)
            panel.plot(
                middle,
                y,
                linestyle="none",
                marker=marker,
                color=colour,
                markerfacecolor=colour if filled else "white",
                markersize=4 if filled else 2.8,
                markeredgewidth=0.8,
                zorder=3,
            )
    ends = rows[[name for statistic in MARKS for name in STATISTICS[statistic]]].to_numpy(float)
    reach = [min(np.nanmin(ends), 0) - 0.05, max(np.nanmax(ends), 0) + 0.05]
    panel.set_xlim(*reach)
    panel.locator_params(axis="x", nbins=5)
    panel.grid(visible=False, axis="y")


def _legend() -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="-", label=words)
        for colour, words in FAMILIES.values()
    ]
    return handles + [
        Line2D(
            [],
            [],
            color=GREY,
            marker=marker,
            linestyle="none",
            markerfacecolor=GREY if filled else "white",
            markersize=4 if filled else 3,
            label=words,
        )
        for marker, filled, _, words in MARKS.values()
    ]


def _caption(surveys: Mapping[str, xr.Dataset], settings: Settings) -> str:
    counts: dict[str, tuple[int, LeftOut]] = {}
    for name, survey in surveys.items():
        table, left_out = survey_members(survey)
        counts[name] = (len(table), left_out)
    return titled(
        "leaderboard",
        "Rank correlation of each "
        "measure with the generalization gap over the networks of the survey that fit their "
        "training set: among all networks (Spearman), within equal hyper-parameters (Spearman of "
        "rank residuals after dummies for each hyper-parameter), and the granulated Kendall "
        "coefficient of Jiang et al. (pairs of networks that differ in one hyper-parameter alone, "
        "averaged over hyper-parameters). All measures are proposed as larger where the gap is "
        "larger, so 1 is best and below 0 a measure fails; those of sensitivity look at test "
        "inputs unless they say otherwise, the others at weights and training set. Ordered by the "
        "correlation within hyper-parameters. Lines: intervals that hold "
        f"{level_text(settings.alpha)}, bootstrap over architectures. Norms 'over margin' are "
        "divided by the 10th percentile of the training margins. "
        + counts_sentence("fitted network", counts),
    )
