"""Figure of the leaderboard: how well sensitivity and other measures predict the gap."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sensigap.analysis.bootstrap import level_text
from sensigap.analysis.leaderboard import COLUMNS as BOARD_COLUMNS
from sensigap.analysis.leaderboard import STATISTICS
from sensigap.analysis.survey_table import LeftOut, survey_members
from sensigap.analysis.verdicts import Settings
from sensigap.declarations import SEES
from sensigap.figure_names import Caption
from sensigap.figures.captions import counts_sentence, titled
from sensigap.figures.style import (
    BAND,
    COLOURS,
    GREY,
    Drawn,
    Layout,
    Painted,
    empty_panel,
    legend,
    message,
    panels,
    styled,
)

#: what a measure sees -> colour
SEEN = dict(zip(SEES, (COLOURS[1], COLOURS[2], COLOURS[0]), strict=True))
#: of each panel, statistic -> marker, whether it is filled, place within a row, words
MARKS = (
    {
        "within": ("o", True, 0.0, "within hyper-parameters"),
        "raw": ("o", False, -0.26, "all networks"),
        "kendall": ("D", False, 0.26, "granulated Kendall"),
    },
    {
        "information": ("s", True, -0.16, "conditional information"),
        "sign_error": ("v", False, 0.2, "worst sign error"),
    },
)
#: of each panel: what its x axis is
AXES = ("rank correlation\nwith the gap", "information,\nsign error")
COLUMNS = [name for name in BOARD_COLUMNS if name not in ("label", "left_out", "note")]
_ROW_INCHES = 0.25

Marks = Mapping[str, tuple[str, bool, float, str]]


@styled
def figure(surveys: Mapping[str, xr.Dataset], board: pd.DataFrame, settings: Settings) -> Drawn:
    """Each measure's scores as dots with intervals: correlations, and what is not one beside them.

    Two panels a dataset: side by side for one, one below the other for several.

    Args:
        surveys: survey root group by dataset.
        board: their leaderboard, as `sensigap.analysis.leaderboard` makes it.
        settings: of the analysis that made it.

    Returns:
        Numbers: one row a measure and dataset, of those with a value; in the order drawn.
    """
    board = board[board[[*MARKS[0]]].notna().any(axis=1)]
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
    caption = _caption(surveys, board, settings)
    if board.empty:
        text = "Too few networks of the survey are fitted to compare measures."
        return Drawn(message(text), numbers, caption)
    height = 0.9 + _ROW_INCHES * len(order)
    shape = (1, 2) if len(surveys) == 1 else (2, len(surveys))
    named = board.drop_duplicates("measure").set_index("measure")

    @styled
    def paint(layout: Layout) -> Painted:
        drawn, axes = panels(layout, *shape, height, sharey=True)
        for row, marks, words in zip(axes.reshape(2, len(surveys)), MARKS, AXES, strict=True):
            for panel, name in zip(row, surveys, strict=True):
                panel.set_title(name)
                rows = board[board["dataset"] == name]
                if rows.empty:
                    empty_panel(panel, "too few networks\nare fitted")
                else:
                    _panel(panel, rows, marks)
                    panel.set_xlabel(words)
        for panel in axes.flat:
            panel.set_ylim(len(order) - 0.5, -0.5)
            panel.set_yticks(range(len(order)), [named["label"][measure] for measure in order])
            panel.tick_params(axis="y", length=0)
        for panel in axes.flat if layout.stacked else axes[:, 0]:
            for text, measure in zip(panel.get_yticklabels(), order, strict=True):
                text.set_fontweight("bold" if named["own"][measure] else "normal")
        legend(layout, drawn, _legend(board), 3)
        return Painted(drawn)

    return Drawn(paint, numbers, caption)


def _panel(panel: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    for line in range(0, int(rows["place"].max()) + 1, 2):
        panel.axhspan(line - 0.5, line + 0.5, color=BAND, lw=0, zorder=0)
    panel.axvline(0, color=GREY, lw=0.8, zorder=1)
    for sees, colour in SEEN.items():
        seen = rows[rows["sees"] == sees]
        for statistic, (marker, filled, shift, _) in marks.items():
            middle, low, high = (seen[name].to_numpy(float) for name in STATISTICS[statistic])
            y = seen["place"].to_numpy(float) + shift
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
    ends = rows[[name for statistic in marks for name in STATISTICS[statistic]]].to_numpy(float)
    ends = ends[np.isfinite(ends)]
    panel.set_xlim(ends.min(initial=0) - 0.05, ends.max(initial=0) + 0.05)
    panel.locator_params(axis="x", nbins=3)
    panel.grid(visible=False, axis="y")


def _legend(board: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="-", label=f"sees {SEES[sees]}")
        for sees, colour in SEEN.items()
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
        for marks in MARKS
        for statistic, (marker, filled, _, words) in marks.items()
        # a statistic may apply to no data set
        if board[statistic].notna().any()
    ]


def _caption(surveys: Mapping[str, xr.Dataset], board: pd.DataFrame, settings: Settings) -> Caption:
    counts: dict[str, tuple[int, LeftOut]] = {}
    for name, survey in surveys.items():
        table, left_out = survey_members(survey)
        counts[name] = (len(table), left_out)
    finding = []
    for shown, rows in board.groupby("dataset", sort=False):
        best = rows.iloc[int(rows["within"].fillna(-np.inf).to_numpy().argmax())]
        finding.append(
            f"{shown}: of {len(rows)} measures, {best['label']} goes best with the gap within "
            f"equal hyper-parameters, by {best['within']:.2f}.".replace("-0.", "−0.")
        )
    return titled(
        "leaderboard",
        "How each measure goes with the generalization gap over the networks that fit their "
        "training set: 1 is best for all but the worst sign error, for which it is 0. Measures of "
        "sensitivity are in bold, colours tell what a measure looks at beside the weights, and "
        f"lines are intervals that hold {level_text(settings.alpha)}.",
        "Rank correlations among all networks (Spearman), within equal "
        "hyper-parameters (Spearman of rank residuals after dummies for each hyper-parameter), and "
        "the granulated Kendall coefficient of Jiang et al. (pairs of networks that differ in one "
        f"hyper-parameter alone, averaged over hyper-parameters{_axes_words(board)}). All measures "
        "are proposed as larger where the gap is larger, so 1 is best and below 0 a measure fails. "
        "Conditional information (Jiang et al.): what share of the order of two networks' gaps the "
        "measure's order tells, given at most two hyper-parameters of both, the least; 1 is best, "
        "and it knows no direction. Worst sign error (Dziugaite et al.): share of pairs that the "
        "measure puts in the wrong order where two values of one hyper-parameter are compared, of "
        "the two values for which it is largest; 0 is best, and the report says what a coin gets. "
        "No measure sees a test label. Ordered by the correlation within hyper-parameters. "
        "Intervals are from a bootstrap over architectures, that of "
        "the sign error binomial in its pairs of values. Norms 'over margin' are divided by the "
        "10th percentile of the training margins. " + counts_sentence("fitted network", counts),
        " ".join(finding),
    )


def _axes_words(board: pd.DataFrame) -> str:
    """Which hyper-parameters the granulated Kendall coefficients are over, data set by data set."""
    axes = board.dropna(subset=["kendall"]).groupby("dataset", sort=False)["kendall_axes"].first()
    words = "; ".join(f"{name}: {text.replace('_', ' ')}" for name, text in axes.items())
    return f" — {words}" if words else ""
