"""The test points that all networks of a survey share, whole and in halves."""

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from sensigap.analysis.errors import Halvings
from sensigap.analysis.verdicts import Settings, draws

#: aggregate -> what it is, in words; of the Jacobian norm over test points
AGGREGATES = {
    "arithmetic": "arithmetic mean",
    "rms": "root mean square",
    "median": "median",
    "geometric": "geometric mean",
}
#: variables held at once, which bounds the memory
_HELD = 4


class SharedPoints:
    """Quantities of networks over test points, and over the halves of them.

    Halves stand as columns: all first halves, then all second ones (network, 2 halvings).
    """

    def __init__(self, survey: xr.Dataset, dataset: str, settings: Settings) -> None:
        """Nothing is read until it is asked for.

        Args:
            survey: a survey.
            dataset: its data set, of which the halvings are.
            settings: of the analysis.
        """
        self.survey, self.dataset, self.settings = survey, dataset, settings
        self.count = survey.sizes["sample"]
        self._held: dict[str, np.ndarray] = {}
        self._places = {name: k for k, name in enumerate(survey["network"].to_numpy().tolist())}

    @functools.cached_property
    def halvings(self) -> Halvings:
        """Of all test points."""
        rng = draws(self.settings, self.dataset, "halvings of the test points")
        return Halvings(rng, self.settings.halvings, self.count)

    @functools.cached_property
    def path_points(self) -> np.ndarray:
        """The test points at which any network has transitions (point,)."""
        measured = self._variable("transitions")
        return np.flatnonzero(~np.isnan(measured).all(axis=0))

    @functools.cached_property
    def path_halvings(self) -> Halvings:
        """Of `path_points`."""
        rng = draws(self.settings, self.dataset, "halvings of the transitions' points")
        return Halvings(rng, self.settings.halvings, len(self.path_points))

    def _variable(self, name: str) -> np.ndarray:
        """A variable of all networks (network, point); the last few are held."""
        if name not in self._held:
            while len(self._held) >= _HELD:
                del self._held[next(iter(self._held))]
            variable = self.survey[name].transpose("network", "sample")
            self._held[name] = variable.to_numpy().astype(float)
        return self._held[name]

    def values(self, name: str, networks: Sequence[str]) -> np.ndarray:
        """A variable at all test points (network, point)."""
        return self._variable(name)[[self._places[network] for network in networks]]

    def right(self, networks: Sequence[str]) -> np.ndarray:
        """Whether each point is classified rightly, 0 or 1 (network, point)."""
        return (self.values("margin", networks) > 0).astype(float)

    def accuracy_shift(self, networks: Sequence[str]) -> np.ndarray:
        """Test accuracy over each half minus that over all points (network, 2 halvings)."""
        right = self.right(networks)
        return self.halvings.means(right) - right.mean(axis=1, keepdims=True)

    def gap(self, table: pd.DataFrame) -> np.ndarray:
        """The gap over each half of the networks of a table with their `gap`."""
        halves = table["gap"].to_numpy(float)[:, None] - self.accuracy_shift(table.index.tolist())
        return unbroken(halves)

    def sensitivity_log10(
        self, networks: Sequence[str], aggregate: str = "arithmetic"
    ) -> tuple[np.ndarray, np.ndarray]:
        """log10 of an aggregate of the Jacobian norm, over all points and over each half.

        Args:
            networks: which.
            aggregate: a key of `AGGREGATES`; the geometric mean leaves out points with J = 0.

        Returns:
            (network,) and (network, 2 halvings), -inf where it is 0.
        """
        with np.errstate(divide="ignore"):
            if aggregate == "geometric":
                log10 = self.values("jacobian_norm_log10", networks)
                positive = np.where(np.isneginf(log10), np.nan, log10)
                return _nanmean(positive), self.halvings.means(positive)
            norm = self.values("jacobian_norm", networks)
            if aggregate == "median":
                halves = np.empty((len(norm), self.halvings.member.shape[1]))
                for column, member in enumerate(self.halvings.member.T):
                    halves[:, column] = np.median(norm[:, member > 0], axis=1)
                return np.log10(np.median(norm, axis=1)), np.log10(halves)
            power = {"arithmetic": 1, "rms": 2}[aggregate]
            raised = norm**power
            return (
                np.log10(raised.mean(axis=1)) / power,
                np.log10(self.halvings.means(raised)) / power,
            )

    def doubt_log10(self, networks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """log10 of the mean of 1 - confidence, over all points and over each half."""
        doubt = np.exp(self.values("log_doubt", networks))
        with np.errstate(divide="ignore"):
            return np.log10(doubt.mean(axis=1)), np.log10(self.halvings.means(doubt))

    def transitions(
        self, networks: Sequence[str], beside: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean transitions over their points, and over each half of these; NaN: not measured.

        Networks have the first so many of one random order of points, not all equally many. Halves
        are those of all points that any network has: each is a random half of a network's own too,
        and what two networks share of their points they share of their halves.

        Args:
            networks: which.
            beside: other sides of pairs: the means are over the points that both sides have.

        Returns:
            (network,) and (network, 2 halvings).
        """
        counts = self._transitions(networks, beside)
        return _nanmean(counts), self.path_halvings.means(counts)

    def transition_points(
        self, networks: Sequence[str], beside: Sequence[str] | None = None
    ) -> np.ndarray:
        """How many points each mean of `transitions` is over (network,)."""
        known: np.ndarray = ~np.isnan(self._transitions(networks, beside))
        return known.sum(axis=1)

    def _transitions(self, networks: Sequence[str], beside: Sequence[str] | None) -> np.ndarray:
        counts = self.values("transitions", networks)[:, self.path_points]
        if beside is None:
            return counts
        other = self.values("transitions", beside)[:, self.path_points]
        return np.where(np.isnan(other), np.nan, counts)


def unbroken(shares: np.ndarray) -> np.ndarray:
    """Shares of points without the rounding of their sums, so that equal ones tie in ranks."""
    return np.round(shares, 12)


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean along the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    sums = np.where(known, values, 0.0).sum(axis=-1)
    return np.divide(sums, count, out=np.full(count.shape, np.nan), where=count > 0)
