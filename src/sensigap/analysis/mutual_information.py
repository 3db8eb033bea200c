"""Jiang et al.'s conditional mutual information of a measure's order and the gap's.

Jiang et al. (2020), "Fantastic generalization measures and where to find them", ICLR, section 2
(STATISTICS, section 7): over ordered pairs of different networks V_m and V_g are the signs of the
differences of measure and gap, and U_S the two networks' values on the axes S. A measure that only
stands for hyper-parameters tells nothing of the gap's order once those are given:

    K = min over S, |S| <= 2, of I(V_m; V_g | U_S) / H(V_g | U_S)
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from sensigap.analysis.kendall import grouped

#: axes given at once, at most
MOST_GIVEN = 2
#: pairs, and resamples, worked on at once
_CHUNK = 1 << 9
_RESAMPLES = 1 << 7


@dataclasses.dataclass(frozen=True, eq=False)
class Information:
    """What `conditional_information` found.

    Attributes:
        sets: the sets of axes that were given, the empty one first.
        value: K (measure, resample), in [0, 1]; NaN where no pair is ordered by measure and gap.
        least: index in `sets` of the one that gave K (measure, resample); the first of equals.
        association: sign of concordant minus discordant pairs, nothing given (measure, resample):
            K does not know direction.
    """

    sets: list[tuple[str, ...]]
    value: np.ndarray
    least: np.ndarray
    association: np.ndarray


def conditional_information(
    measures: np.ndarray, gap: np.ndarray, axes: Mapping[str, np.ndarray], counts: np.ndarray
) -> Information:
    """K of each measure in each resample.

    Pairs that measure or gap tie are left out, as are those with a network without a value of the
    measure. In a resample a pair counts as often as both its networks are in it, together; copies
    of one network are no pair. Each set of values of U_S weighs as it has pairs; K of a set is 0
    where it leaves nothing of the gap's order to be told (H = 0).

    Args:
        measures: (measure, network), NaN where a measure has no value.
        gap: (network,).
        axes: hyper-parameter -> its level, a number from 0 (network,).
        counts: how often each network is in each resample (network, resample).
    """
    i, j = np.triu_indices(len(gap), 1)
    untied = gap[i] != gap[j]
    i, j = i[untied], j[untied]
    rises = gap[j] > gap[i]
    signs = np.sign(measures[:, j] - measures[:, i]) * np.where(rises, 1.0, -1.0)
    # concordant, then discordant pairs of each measure: the same in both orders of a pair
    ordered = np.concatenate([signs > 0, signs < 0])
    sets = [given for size in range(MOST_GIVEN + 1) for given in itertools.combinations(axes, size)]
    shape = len(measures), counts.shape[1]
    shares, association = np.empty((len(sets), *shape)), np.empty(shape)
    parts = [slice(k, k + _RESAMPLES) for k in range(0, shape[1], _RESAMPLES)]
    for k, given in enumerate(sets):
        levels = np.zeros(len(gap), np.int64)
        for name in given:
            levels = levels * (int(axes[name].max(initial=0)) + 1) + axes[name]
        cells = _Cells(levels, i, j, rises)
        for part in parts:
            tables = cells.tables(ordered, counts[:, part].astype(float))
            shares[k][:, part] = cells.share(tables)
            if not given:
                discordant, concordant = tables.sum(axis=(0, 1))
                association[:, part] = np.sign(concordant - discordant)
    return Information(sets, shares.min(axis=0), shares.argmin(axis=0), association)


class _Cells:
    """The values of U_S: ordered pairs of levels, and which pairs of networks have them.

    Of the two orders of a pair one is taken, from the lower level to the higher: the other fills
    the mirror image of its cell, which has the same I and H. Within one level both fill one cell.
    """

    def __init__(self, levels: np.ndarray, i: np.ndarray, j: np.ndarray, rises: np.ndarray) -> None:
        """Sorts the pairs.

        Args:
            levels: of the networks on the axes S together (network,).
            i: one network of each pair (pair,).
            j: the other one.
            rises: whether the gap of j is the larger one.
        """
        self.i, self.j = i, j
        low, high = np.minimum(levels[i], levels[j]), np.maximum(levels[i], levels[j])
        values, cell = np.unique(low * (int(levels.max(initial=0)) + 1) + high, return_inverse=True)
        self.count = len(values)
        self.same = np.zeros(self.count, bool)
        self.same[cell] = low == high
        self.groups = list(_groups(2 * cell + (rises ^ (levels[i] > levels[j]))))

    def tables(self, ordered: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """How many pairs, both orders counted, each cell has of each kind.

        Args:
            ordered: which pairs are concordant, then discordant, by each measure (either, pair).
            weights: how often each network counts (network, resample).

        Returns:
            (cell, whether the gap rises, whether the measure's order is the gap's, measure,
            resample), whole numbers, so that no order of summation changes a digit.
        """
        found = np.zeros((self.count, 2, len(ordered), weights.shape[1]))
        for group, pairs in self.groups:
            of_pairs = weights[self.i[pairs]] * weights[self.j[pairs]]
            found[group // 2, group % 2] += ordered[:, pairs].astype(float) @ of_pairs
        # with the last size by name: where no pair has different gaps there are no cells to count
        kinds = self.count, 2, 2, len(ordered) // 2, weights.shape[1]
        found = found.reshape(kinds)[:, :, ::-1]
        return np.where(self.same[:, None, None, None, None], found + found[:, ::-1], 2 * found)

    def share(self, tables: np.ndarray) -> np.ndarray:
        """I / H (measure, resample), of what `tables` returned."""
        # (cell, whether the gap rises, whether the measure rises, ...)
        joint = np.stack([tables[:, 0, ::-1], tables[:, 1]], axis=1)
        cells = _xlogx(joint.sum(axis=(1, 2))).sum(axis=0)
        # entropies given U_S, times the number of pairs
        of_gap, of_measure = (
            cells - _xlogx(joint.sum(axis=axis)).sum(axis=(0, 1)) for axis in (2, 1)
        )
        of_both = cells - _xlogx(joint).sum(axis=(0, 1, 2))
        total = joint.sum(axis=(0, 1, 2))
        # what rounding leaves of logarithms of equal counts is no entropy
        some = of_gap > 1e-12 * _xlogx(total)
        told = of_gap + of_measure - of_both
        share = np.divide(told, of_gap, out=np.zeros_like(told), where=some)
        return np.where(total > 0, np.clip(share, 0, 1), np.nan)


def _xlogx(counts: np.ndarray) -> np.ndarray:
    """Whole numbers times their logarithms (scipy's xlogy takes several times as long)."""
    return np.asarray(counts * np.log(np.maximum(counts, 1)))


def _groups(group: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The pairs of each group (pair,), not too many at once."""
    for pairs in grouped(group):
        for first in range(0, len(pairs), _CHUNK):
            yield int(group[pairs[0]]), pairs[first : first + _CHUNK]
