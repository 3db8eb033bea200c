"""How values stand on a figure's axes, and the correlation that a panel shows."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from sensigap.figures.style import log_axis

#: a linear axis is given up where this share of the values lies in a tenth of it
_CROWDED = 2 / 3


def on_log_axis(values: pd.Series) -> pd.Series:
    """The values with zeros moved to half the smallest positive one: the edge of a log axis."""
    positive = values[values > 0]
    edge = positive.min() / 2 if len(positive) else 1.0
    return values.where(values > 0, edge)


def crowded(values: pd.Series) -> bool:
    """Whether two thirds of the values lie within a tenth of their range, and most are above 0."""
    ordered = np.sort(values.to_numpy(float))
    positive = int((ordered > 0).sum())
    if len(ordered) < 10 or positive < 0.9 * len(ordered):
        return False
    count = int(np.ceil(_CROWDED * len(ordered)))
    spans = ordered[count - 1 :] - ordered[: len(ordered) - count + 1]
    return bool(spans.min() < 0.1 * (ordered[-1] - ordered[0]))


def gap_axis(panel: Axes, gaps: pd.Series) -> pd.Series:
    """Makes the panel's y axis one of gaps, logarithmic where they are `crowded`.

    Returns:
        Where the gaps stand on it: on a logarithmic axis those of 0 and below at its edge.
    """
    if not crowded(gaps):
        panel.margins(y=0.14)
        return gaps
    moved = on_log_axis(gaps)
    log_axis(panel, "y", moved.min(), moved.max(), margin=0.1)
    return moved


def spearman_text(x: pd.Series, y: pd.Series) -> str:
    """'ρ = 0.80, n = 312', or that there is no correlation."""
    if len(x) < 3 or x.nunique() < 2 or y.nunique() < 2:
        return f"ρ not defined, n = {len(x):,}"
    return f"ρ = {stats.spearmanr(x, y).statistic:.2f}, n = {len(x):,}".replace("-", "−")
