"""Rank correlations over networks, raw and within hyper-parameters, with their two errors."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sensigap.analysis.bootstrap import (
    MINIMUM_CLUSTERS,
    DoesNotApply,
    cluster_variance,
    resample_counts,
    to_scale,
)
from sensigap.analysis.errors import Estimate, halving_variance
from sensigap.analysis.ranks import RankResamples, column_products, correlation
from sensigap.analysis.survey_table import dummies
from sensigap.analysis.verdicts import Settings

#: a value of each network, and of each half of the test points; None: it has no test points
Quantity = tuple[np.ndarray, np.ndarray | None]


def gap_and(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Gap and another column (network,).

    Raises:
        DoesNotApply: one of them is not finite, or the same for all.
    """
    gap, x = table["gap"].to_numpy(float), table[column].to_numpy(float)
    check(gap=gap, **{column: x})
    return gap, x


def check(**named: np.ndarray) -> None:
    """Raises a `DoesNotApply` where values (network,) are not finite, or the same for all."""
    for name, values in named.items():
        if not np.isfinite(values).all():
            raise DoesNotApply(f"{name} is not finite for {(~np.isfinite(values)).sum()} networks")
        if np.ptp(values) == 0:
            raise DoesNotApply(f"{name} is the same for all networks")


def architecture_codes(table: pd.DataFrame) -> tuple[np.ndarray, int]:
    """The architecture of each network as a number from 0 (network,), and how many there are.

    Raises:
        DoesNotApply: too few for a bootstrap over them.
    """
    codes, levels = pd.factorize(table["architecture"], sort=True)
    if len(levels) < MINIMUM_CLUSTERS:
        raise DoesNotApply(f"{len(levels)} architectures, fewer than {MINIMUM_CLUSTERS} clusters")
    return codes, len(levels)


def architecture_resamples(
    table: pd.DataFrame, rng: np.random.Generator, settings: Settings
) -> tuple[np.ndarray, int]:
    """How often each network is in each resample of architectures, and how many these are.

    Args:
        table: the networks.
        rng: draws the resamples.
        settings: of the analysis.

    Returns:
        (network, resample), and the number of architectures.

    Raises:
        DoesNotApply: too few architectures.
    """
    codes, levels = architecture_codes(table)
    return resample_counts(rng, levels, settings.bootstrap)[codes], levels


def dummies_or_refusal(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """`dummies` of the named hyper-parameters (network, column).

    Raises:
        DoesNotApply: they leave fewer than 10 degrees of freedom.
    """
    design = dummies(table, list(names))
    spare = len(table) - design.shape[1] - 1
    if spare < 10:
        raise DoesNotApply(
            f"{design.shape[1]} dummies leave {spare} degrees of freedom, fewer than 10"
        )
    return design


@dataclasses.dataclass(frozen=True, eq=False)
class Relation:
    """Two quantities of the networks of a table, and what their rank correlation is within.

    STATISTICS, section 6: Spearman's rho of x and y, or of their rank residuals after dummies.
    """

    table: pd.DataFrame
    x: Quantity
    y: Quantity
    #: how many test points there are
    points: int
    #: hyper-parameters with dummies
    names: tuple[str, ...] = ()
    #: a quantity whose rank joins the dummies
    given: Quantity | None = None
    #: what they are called where a test does not apply
    words: tuple[str, str] = ("x", "gap")

    def some(self, chosen: np.ndarray) -> "Relation":
        """The same of some networks (network,) bool."""

        def part(quantity: Quantity) -> Quantity:
            halves = quantity[1]
            return quantity[0][chosen], None if halves is None else halves[chosen]

        return dataclasses.replace(
            self,
            table=self.table[chosen],
            x=part(self.x),
            y=part(self.y),
            given=None if self.given is None else part(self.given),
        )

    @property
    def quantities(self) -> list[Quantity]:
        """x, y and what is given."""
        return [self.x, self.y] + ([] if self.given is None else [self.given])

    @functools.cached_property
    def design(self) -> np.ndarray:
        """Dummies of the names that vary, with the constant (network, column)."""
        names = [name for name in self.names if len(self.table[name].unique()) > 1]
        return dummies_or_refusal(self.table, names)

    @functools.cached_property
    def architectures(self) -> tuple[np.ndarray, int]:
        """The architecture of each network as a number (network,), and how many there are."""
        return architecture_codes(self.table)

    def resampled(self, counts: np.ndarray) -> np.ndarray:
        """Rho's arctanh in each resample (resample,), from counts (network, resample)."""
        ranked = RankResamples(counts, self.design)
        products = ranked.covariances([values for values, _ in self.quantities])
        return to_scale("correlation", correlation(products, 0, 1, self._given))

    @property
    def _given(self) -> int | None:
        return None if self.given is None else 2

    def value(self) -> float:
        """The correlation of the data.

        Raises:
            DoesNotApply: a quantity is not finite or constant, or the dummies are too many.
        """
        check(**dict(zip((*self.words, "what is given"), (v for v, _ in self.quantities),
                         strict=False)))  # fmt: skip
        columns = [values[:, None] for values, _ in self.quantities]
        value = correlation(column_products(columns, self.design), 0, 1, self._given)[0]
        if np.isnan(value):
            raise DoesNotApply("the statistic has no value: the hyper-parameters determine a side")
        return float(value)

    def halves(self) -> np.ndarray:
        """Rho's arctanh over each half of the test points (2 halvings,)."""
        width = max(1 if halves is None else halves.shape[1] for _, halves in self.quantities)
        columns = [
            np.repeat(values[:, None], width, axis=1) if halves is None else halves
            for values, halves in self.quantities
        ]
        found = correlation(column_products(columns, self.design), 0, 1, self._given)
        return to_scale("correlation", found)

    def estimate(self, rng: np.random.Generator, settings: Settings) -> Estimate:
        """The correlation with both parts of its error.

        Args:
            rng: draws the resamples of architectures.
            settings: of the analysis.

        Raises:
            DoesNotApply: see `value`, and `errors`.
        """
        value = self.value()
        counts, levels = architecture_resamples(self.table, rng, settings)
        with_points = any(halves is not None for _, halves in self.quantities)
        return Estimate(
            value,
            cluster_variance(self.resampled(counts), levels),
            levels,
            halving_variance(self.halves()) if with_points else 0.0,
            self.points if with_points else 0,
            "correlation",
            (f"dummies for {', '.join(self.names)}",) if self.names else (),
        )
