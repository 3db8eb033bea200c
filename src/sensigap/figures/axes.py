"""How values stand on a figure's axes, and the correlation that a panel shows."""

import pandas as pd
from scipy import stats


def on_log_axis(values: pd.Series) -> pd.Series:
    """The values with zeros moved to half the smallest positive one: the edge of a log axis."""
    positive = values[values > 0]
    edge = positive.min() / 2 if len(positive) else 1.0
    return values.where(values > 0, edge)


def spearman_text(x: pd.Series, y: pd.Series) -> str:
    """'ρ = 0.80, n = 312', or why there is no correlation."""
    if len(x) < 3 or x.nunique() < 2 or y.nunique() < 2:
        return f"ρ not defined, n = {len(x):,}"
    return f"ρ = {stats.spearmanr(x, y).statistic:.2f}, n = {len(x):,}".replace("-", "−")
