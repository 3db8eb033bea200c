"""Which networks a figure draws, and how their values stand on its axes."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from sensitivity.figures.captions import status_counts


def fitted_table(survey: xr.Dataset) -> pd.DataFrame:
    """The fitted members of the survey: one row a network, every variable on `network` alone."""
    return network_table(survey)[lambda table: table["in_survey"] & (table["status"] == "fitted")]


def network_table(survey: xr.Dataset) -> pd.DataFrame:
    """One row a network, with column `network` and every variable and coordinate on it alone."""
    names = [str(name) for name, array in survey.variables.items() if array.dims == ("network",)]
    return pd.DataFrame({name: survey[name].values for name in names})


def left_out(survey: xr.Dataset) -> dict[str, int]:
    """How many members of the survey are not fitted, and how many diverged."""
    return status_counts(survey["status"].values[survey["in_survey"].values.astype(bool)])


def on_log_axis(values: pd.Series) -> pd.Series:
    """The values with zeros moved to half the smallest positive one: the edge of a log axis."""
    positive = values[values > 0]
    edge = positive.min() / 2 if len(positive) else 1.0
    return values.where(values > 0, edge)


def spearman_text(x: pd.Series, y: pd.Series) -> str:
    """'ρ = 0.80, n = 312', or why there is no correlation."""
    if len(x) < 3 or x.nunique() < 2 or y.nunique() < 2:
        return f"ρ: not defined, n = {len(x):,}"
    return f"ρ = {stats.spearmanr(x, y).statistic:.2f}, n = {len(x):,}".replace("-", "−")


def factor_pairs(survey: xr.Dataset, factor: str) -> pd.DataFrame:
    raise NotImplementedError
