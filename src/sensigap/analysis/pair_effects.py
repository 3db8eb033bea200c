"""Mean differences of pairs of networks, with architectures and test points in their error."""

import dataclasses

import numpy as np

from sensigap.analysis.bootstrap import DoesNotApply
from sensigap.analysis.errors import Estimate, halving_variance

#: architectures up to which all patterns of signs are counted; above, so many are drawn
_ALL_SIGNS = 12
_SIGNS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class PairEffect:
    """Differences of pairs; their effect is the mean of architecture means.

    Equal weights make it the balanced cluster bootstrap in closed form (STATISTICS, section 2).
    """

    #: (pair,), finite
    differences: np.ndarray
    #: the same over each half of the test points (pair, 2 halvings)
    halves: np.ndarray
    #: architecture of each, any integers (pair,)
    architecture: np.ndarray
    #: how many test points a pair is compared on, the fewest of any
    points: int

    def some(self, chosen: np.ndarray) -> "PairEffect":
        """The same of some pairs (pair,) bool."""
        return dataclasses.replace(
            self,
            differences=self.differences[chosen],
            halves=self.halves[chosen],
            architecture=self.architecture[chosen],
        )

    @property
    def means(self) -> np.ndarray:
        """Mean difference of each architecture (architecture,)."""
        return self._by_architecture(self.differences[:, None])[:, 0]

    def _by_architecture(self, values: np.ndarray) -> np.ndarray:
        """(pair, column) -> means (architecture, column)."""
        codes = np.unique(self.architecture, return_inverse=True)[1]
        member = np.eye(codes.max() + 1)[codes]
        return (member.T @ values) / member.sum(axis=0)[:, None]

    def estimate(self) -> Estimate:
        """The effect with its error: variance of architecture means / G, and halvings.

        Raises:
            DoesNotApply: one architecture, all differences are alike, or halves lack a value.
        """
        means = self.means
        if len(means) < 2:
            raise DoesNotApply(f"{len(means)} architectures")
        with np.errstate(invalid="ignore"):
            halves = self._by_architecture(
                np.where(np.isfinite(self.halves), self.halves, np.nan)
            ).mean(axis=0)
        return Estimate(
            float(means.mean()),
            float(means.var(ddof=1)) / len(means),
            len(means),
            halving_variance(halves),
            self.points,
        )

    def resampled(self, counts: np.ndarray) -> np.ndarray:
        """The effect in resamples of architectures, from counts of pairs (pair, resample)."""
        codes = np.unique(self.architecture, return_inverse=True)[1]
        first = np.unique(codes, return_index=True)[1]
        weights = counts[first].astype(float)
        total = weights.sum(axis=0)
        return np.divide(
            self.means @ weights, total, out=np.full(len(total), np.nan), where=total > 0
        )

    def sign_flip_p(self, rng: np.random.Generator) -> float:
        """P of the mean of architecture means under flips of their signs (two-sided).

        All 2^G patterns up to 12 architectures, 4,096 drawn ones above.
        """
        means = self.means
        G = len(means)
        if G <= _ALL_SIGNS:
            patterns = 1 - 2 * ((np.arange(2**G)[:, None] >> np.arange(G)) & 1)
        else:
            patterns = np.concatenate([np.ones((1, G)), rng.choice([-1, 1], (_SIGNS - 1, G))])
        flipped = np.abs(patterns @ means)
        return float((flipped >= abs(means.sum()) * (1 - 1e-12)).mean())
