"""The test points that all networks of a survey share, whole and in halves."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

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
#: values of a variable that are worked on at once, which bounds the memory
_VALUES = 1 << 23

#: of each network over all points (network,), and over each half of them (network, 2 halvings)
Summary = tuple[np.ndarray, np.ndarray]


class SharedPoints:
    """Quantities of networks over test points, and over the halves of them.

    Halves stand as columns: all first halves, then all second ones (network, 2 halvings). What a
    survey says of all its networks is read and summed up once, a few networks at a time.

    The gap is over the whole test set, norms may be over a part of it, the points: a half of the
    test set holds half of the points and half of the other images, so that a gap and a norm over
    one half share what they share over the whole.
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
        names = survey["network"].to_numpy().tolist()
        self._places = {name: place for place, name in enumerate(names)}

    @property
    def images(self) -> int:
        """Images of the whole test set."""
        return self.survey.sizes["test_image"]

    @property
    def places(self) -> np.ndarray:
        """Where the points stand among them (point,)."""
        return self.survey["sample"].to_numpy()

    @functools.cached_property
    def halvings(self) -> Halvings:
        """Of all test points."""
        rng = draws(self.settings, self.dataset, "halvings of the test points")
        return Halvings(rng, self.settings.halvings, self.count)

    def of_images(self, halvings: Halvings, rng: np.random.Generator) -> Halvings:
        """Halvings of the whole test set from those of the points; `rng` draws the others'."""
        return halvings.within(rng, self.places, self.images)

    @functools.cached_property
    def _image_halvings(self) -> Halvings:
        rng = draws(self.settings, self.dataset, "halvings of the other test images")
        return self.of_images(self.halvings, rng)

    @functools.cached_property
    def path_points(self) -> np.ndarray:
        """The test points at which any network has transitions (point,)."""
        measured = np.zeros(self.count, bool)
        for counts in self._blocks("transitions"):
            measured |= ~np.isnan(counts).all(axis=0)
        return np.flatnonzero(measured)

    @functools.cached_property
    def path_halvings(self) -> Halvings:
        """Of `path_points`."""
        rng = draws(self.settings, self.dataset, "halvings of the transitions' points")
        return Halvings(rng, self.settings.halvings, len(self.path_points))

    def _blocks(self, name: str) -> Iterator[np.ndarray]:
        """A variable of all networks, some at a time, in order (network, point or image)."""
        variable = self.survey[name].transpose("network", ...)
        size = max(1, _VALUES // variable.shape[1])
        # one block, an empty one, where there are no networks
        for start in range(0, max(len(self._places), 1), size):
            yield variable[start : start + size].to_numpy().astype(float)

    def _summary(self, name: str, of_block: Callable[[np.ndarray], Summary]) -> Summary:
        """A summary of a variable of all networks."""
        return _joined(map(of_block, self._blocks(name)))

    def _of(self, summary: Summary, networks: Sequence[str]) -> Summary:
        """The rows of some networks."""
        rows = self._rows(networks)
        return summary[0][rows], summary[1][rows]

    def _rows(self, networks: Sequence[str]) -> list[int]:
        return [self._places[network] for network in networks]

    def values(self, name: str, networks: Sequence[str]) -> np.ndarray:
        """A variable at all test points, or images of the test set (network, point or image)."""
        rows = self.survey[name].transpose("network", ...)[self._rows(networks)]
        return rows.to_numpy().astype(float)

    def right(self, networks: Sequence[str]) -> np.ndarray:
        """Whether each image of the test set is classified rightly, 0 or 1 (network, image)."""
        return _right(self.values("correct", networks))

    @functools.cached_property
    def _accuracy(self) -> Summary:
        def of_block(correct: np.ndarray) -> Summary:
            right = _right(correct)
            return right.mean(axis=1), self._image_halvings.means(right)

        return self._summary("correct", of_block)

    def _means(self, values: np.ndarray) -> Summary:
        """Means over what is not NaN (network, point)."""
        return _nanmean(values), self.halvings.means(values)

    def accuracy_shift(self, networks: Sequence[str]) -> np.ndarray:
        """Test accuracy over each half minus that over all images (network, 2 halvings)."""
        whole, halves = self._of(self._accuracy, networks)
        return halves - whole[:, None]

    def gap(self, table: pd.DataFrame) -> np.ndarray:
        """The gap over each half of the networks of a table with their `gap`."""
        halves = table["gap"].to_numpy(float)[:, None] - self.accuracy_shift(table.index.tolist())
        return unbroken(halves)

    @functools.cached_property
    def _norms(self) -> dict[str, Summary]:
        """Aggregate but for the geometric mean -> that of the Jacobian norm."""
        found: dict[str, list[Summary]] = {"arithmetic": [], "rms": [], "median": []}
        for norm in self._blocks("jacobian_norm"):
            found["arithmetic"].append((norm.mean(axis=1), self.halvings.means(norm)))
            square, squares = (norm**2).mean(axis=1), self.halvings.means(norm**2)
            found["rms"].append((np.sqrt(square), np.sqrt(squares)))
            found["median"].append((np.median(norm, axis=1), self.halvings.medians(norm)))
        return {name: _joined(parts) for name, parts in found.items()}

    @functools.cached_property
    def _geometric(self) -> Summary:
        """log10 of the geometric mean over points with J > 0."""
        return self._summary(
            "jacobian_norm_log10",
            lambda log10: self._means(np.where(np.isneginf(log10), np.nan, log10)),
        )

    def sensitivity_log10(self, networks: Sequence[str], aggregate: str = "arithmetic") -> Summary:
        """log10 of an aggregate of the Jacobian norm, over all points and over each half.

        Args:
            networks: which.
            aggregate: a key of `AGGREGATES`; the geometric mean leaves out points with J = 0.

        Returns:
            (network,) and (network, 2 halvings), -inf where it is 0.
        """
        if aggregate == "geometric":
            return self._of(self._geometric, networks)
        whole, halves = self._of(self._norms[aggregate], networks)
        with np.errstate(divide="ignore"):
            return np.log10(whole), np.log10(halves)

    @functools.cached_property
    def _doubt(self) -> Summary:
        return self._summary("log_doubt", lambda log_doubt: self._means(np.exp(log_doubt)))

    def doubt_log10(self, networks: Sequence[str]) -> Summary:
        """log10 of the mean of 1 - confidence, over all points and over each half."""
        whole, halves = self._of(self._doubt, networks)
        with np.errstate(divide="ignore"):
            return np.log10(whole), np.log10(halves)

    def transitions_by_halves(self, networks: Sequence[str]) -> np.ndarray:
        """Mean transitions over those of their points in each half of all test points.

        Returns:
            (network, 2 halvings), NaN where there are none.
        """
        return self.halvings.means(self.values("transitions", networks))

    def transitions(self, networks: Sequence[str], beside: Sequence[str] | None = None) -> Summary:
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


def _joined(parts: Iterable[Summary]) -> Summary:
    """Summaries of some networks each, one after another."""
    wholes, halves = zip(*parts, strict=True)
    return np.concatenate(wholes), np.concatenate(halves)


def _right(correct: np.ndarray) -> np.ndarray:
    # -1: not measured
    return (correct == 1).astype(float)


def unbroken(shares: np.ndarray) -> np.ndarray:
    """Shares of points without the rounding of their sums, so that equal ones tie in ranks."""
    return np.round(shares, 12)


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean along the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    sums = np.where(known, values, 0.0).sum(axis=-1)
    return np.divide(sums, count, out=np.full(count.shape, np.nan), where=count > 0)
