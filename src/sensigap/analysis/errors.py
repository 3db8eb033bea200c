"""The error of an estimate in two parts: networks, and the test points that they share.

STATISTICS, sections 1 and 6. Resamples give standard deviations alone, never quantiles or means:
resampling points adds their noise a second time, and pulls correlations towards 0. The points'
part comes from halvings of them, which add nothing: the difference of two disjoint halves has four
times the variance of the whole.
"""

import copy
import dataclasses
import math

import numpy as np
from scipy import stats

from sensigap.analysis.bootstrap import UNDEFINED, DoesNotApply, from_scale, to_scale

#: half the width of where medians of halves are sought, in square roots of the number of points:
#: six standard deviations of a half's median's place
_MEDIAN_WINDOW = 3


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An effect with the two parts of its error, which are variances on its scale.

    Raises:
        DoesNotApply: it has no value, or no error.
    """

    #: on its own scale
    value: float
    #: variance over networks, and how many units it is from (architectures, or networks)
    networks: float
    clusters: int
    #: variance over test points, and how many these are; 0 of 0 where none enters
    points: float = 0.0
    point_count: int = 0
    #: a key of `bootstrap.SCALES`
    scale: str = "identity"
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise DoesNotApply("the statistic has no value on these data")
        if not math.isfinite(self.networks + self.points):
            raise DoesNotApply("the statistic has no error on these data")
        if self.error <= 1e-9 * max(1.0, abs(self.centre)):
            raise DoesNotApply("no spread over networks or test points, so no error")

    @property
    def centre(self) -> float:
        """The estimate on its scale."""
        return float(to_scale(self.scale, self.value))

    @property
    def error(self) -> float:
        """Standard error on the scale."""
        return math.sqrt(self.networks + self.points)

    @property
    def freedom(self) -> float:
        """Degrees of freedom after Welch and Satterthwaite."""
        parts = self.networks**2 / (self.clusters - 1)
        if self.points:
            parts += self.points**2 / (self.point_count - 1)
        return (self.networks + self.points) ** 2 / parts

    def p(self, null: float = 0.0) -> float:
        """Two-sided p of Student's t, `null` being on the estimate's own scale."""
        distance = abs(self.centre - float(to_scale(self.scale, null))) / self.error
        return float(2 * stats.t.sf(distance, self.freedom))

    def interval(self, level: float) -> tuple[float, float]:
        """The interval that holds `level`, on the estimate's own scale."""
        half = self.quantile((1 + level) / 2) * self.error
        return (
            from_scale(self.scale, self.centre - half),
            from_scale(self.scale, self.centre + half),
        )

    def quantile(self, probability: float) -> float:
        """Of Student's t with the estimate's degrees of freedom."""
        return float(stats.t.ppf(probability, self.freedom))

    def equivalence_p(self, limit: float) -> float:
        """P of two one-sided tests that the effect lies within +-`limit` (STATISTICS, 6)."""
        z0 = float(to_scale(self.scale, limit))
        above = stats.t.sf((self.centre + z0) / self.error, self.freedom)
        below = stats.t.cdf((self.centre - z0) / self.error, self.freedom)
        return float(max(above, below))

    def parts(self) -> str:
        """The two parts of the error, in words."""
        text = f"SE {math.sqrt(self.networks):.2g} over {self.clusters} clusters of networks"
        if self.point_count:
            text += f", {math.sqrt(self.points):.2g} over {self.point_count:,} points"
        return f"{text}, {self.freedom:.3g} degrees of freedom"


def halving_variance(halves: np.ndarray) -> float:
    """Variance over test points: mean of (s_A - s_B)^2 / 4 over halvings.

    Args:
        halves: the statistic of all first halves, then of all second ones, on its scale
            (2 halvings,); NaN where it has none.

    Raises:
        DoesNotApply: more than 5% of the halvings have no value.
    """
    first, second = np.split(halves, 2)
    squares = (first - second) ** 2 / 4
    missing = float(np.isnan(squares).mean())
    if missing > UNDEFINED:
        raise DoesNotApply(f"no value in {missing:.0%} of the halvings of the test points")
    return float(np.nanmean(squares))


def mean_of_halves(values: np.ndarray) -> np.ndarray:
    """Means over networks of a statistic of half of the points, (network, 2 halvings) to (2 H,).

    A network that lacks a value in one half is left out of the other half's mean too, so that the
    two are of the same networks.

    Raises:
        DoesNotApply: more than 5% of the values are missing.
    """
    first, second = np.split(values, 2, axis=1)
    defined = np.isfinite(first) & np.isfinite(second)
    missing = 1 - float(defined.mean())
    if missing > UNDEFINED:
        raise DoesNotApply(f"no value in {missing:.0%} of the halved networks")
    count = defined.sum(axis=0)
    sums = np.stack([np.where(defined, half, 0.0).sum(axis=0) for half in (first, second)])
    return np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0).ravel()


def _halved(rng: np.random.Generator, halvings: int, points: int) -> np.ndarray:
    """Whether each point is in each first half, then in each second one (point, 2 halvings)."""
    places = np.tile(np.arange(points), (halvings, 1))
    first = (rng.permuted(places, axis=1) < points // 2).T
    return np.concatenate([first, ~first], axis=1).astype(float)


class Halvings:
    """Seeded halvings of points, the same for all networks."""

    def __init__(self, rng: np.random.Generator, halvings: int, points: int) -> None:
        """Draws them.

        Args:
            rng: draws.
            halvings: how many halvings.
            points: of how many points.

        Raises:
            DoesNotApply: fewer than two points.
        """
        if points < 2:
            raise DoesNotApply(f"{points} points cannot be halved")
        #: whether a point is in each first half, then in each second half (point, 2 halvings)
        self.member = _halved(rng, halvings, points)

    def within(self, rng: np.random.Generator, places: np.ndarray, points: int) -> "Halvings":
        """Halvings of more points, which halve these as they are and the others by themselves.

        Args:
            rng: draws the halvings of the others.
            places: of these points among all.
            points: how many there are in all.
        """
        whole = copy.copy(self)
        whole.member = np.empty((points, self.member.shape[1]))
        others = np.ones(points, bool)
        others[places] = False
        whole.member[places] = self.member
        whole.member[others] = _halved(rng, self.member.shape[1] // 2, int(others.sum()))
        return whole

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means over each half, (row, point) to (row, 2 halvings); NaN values are skipped."""
        known = ~np.isnan(values)
        if known.all():
            return (values @ self.member) / self.member.sum(axis=0)
        counts = known.astype(float) @ self.member
        sums = np.where(known, values, 0.0) @ self.member
        return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)

    def medians(self, values: np.ndarray) -> np.ndarray:
        """Medians over each half, (row, point) to (row, 2 halvings); NaN in a row gives NaN.

        A row is sorted once. The median of a random half lies within some square roots of the
        number of points about the middle, and only there the half's points are counted one by one.
        """
        rows, points = values.shape
        width = math.ceil(_MEDIAN_WINDOW * math.sqrt(points))
        low, high = max(0, points // 2 - width), min(points, points // 2 + width)
        order = np.argsort(values, axis=1)
        ordered = np.take_along_axis(values, order, axis=1)
        outside = np.zeros((rows, points))
        np.put_along_axis(outside, order[:, :low], 1.0, axis=1)
        below = (outside @ self.member).astype(np.int32)
        inside = self.member.astype(np.int8)
        size = self.member.sum(axis=0).astype(np.int32)
        result = np.empty((rows, self.member.shape[1]))
        for row in range(rows):
            counted = np.cumsum(inside[order[row, low:high]], axis=0, dtype=np.int32)
            counted += below[row]
            # places, in the row's order, of the half's middle value, or of its two
            places = [low + (counted <= rank).sum(axis=0) for rank in ((size - 1) // 2, size // 2)]
            beyond = (places[1] >= high) | (below[row] > (size - 1) // 2)
            middle = [ordered[row, np.minimum(place, points - 1)] for place in places]
            result[row] = (middle[0] + middle[1]) / 2
            for half in np.flatnonzero(beyond):
                result[row, half] = np.median(values[row, inside[:, half] > 0])
        result[np.isnan(values).any(axis=1)] = np.nan
        return result

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over each half, (row, point) to (row, 2 halvings)."""
        return values @ self.member
