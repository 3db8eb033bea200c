"""Jiang et al.'s granulated Kendall coefficient: a measure against one hyper-parameter at a time.

Jiang, Neyshabur, Mobahi, Krishnan and Bengio (2020), "Fantastic generalization measures and where
to find them", ICLR, section 4: for each hyper-parameter, Kendall's tau of measure and gap among
networks that differ in it alone; then the mean over hyper-parameters.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

#: with fewer pairs a hyper-parameter is left out of the mean
MINIMUM_PAIRS = 20
#: (pair, resample) values worked on at once
_CHUNK = 1 << 20

#: hyper-parameter -> rows (pair,) and (pair,) of the networks in each pair
Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]


def axis_pairs(
    table: pd.DataFrame, names: Sequence[str], least: int = MINIMUM_PAIRS
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs of networks that differ in one hyper-parameter and agree in all others (seeds apart).

    Args:
        table: the networks.
        names: hyper-parameters, columns of it.
        least: those with fewer pairs are left out.
    """
    codes = {name: pd.factorize(table[name], sort=True)[0] for name in names}
    found = {}
    for name in names:
        others = [codes[other] for other in names if other != name]
        group = np.zeros(len(table), np.int64)
        if others:
            group = np.unique(np.column_stack(others), axis=0, return_inverse=True)[1].ravel()
        firsts, seconds = [], []
        for members in grouped(group):
            i, j = (members[side] for side in np.triu_indices(len(members), 1))
            differ = codes[name][i] != codes[name][j]
            firsts.append(i[differ])
            seconds.append(j[differ])
        pairs = np.concatenate(firsts), np.concatenate(seconds)
        if len(pairs[0]) >= least:
            found[name] = pairs
    return found


def grouped(group: np.ndarray) -> list[np.ndarray]:
    """The rows of each group, in its order; one without rows where there are none."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def granulated_kendall(
    measures: np.ndarray, gap: np.ndarray, pairs: Pairs, counts: np.ndarray
) -> np.ndarray:
    """The coefficient of each measure in each resample, float64 (measure, resample).

    A pair counts +1 where measure and gap order its networks alike, -1 where they do not, 0 where
    either ties. In a resample it counts as often as both its networks are in it, together.
    ASSUME: the tau of a hyper-parameter is over all its pairs at once, where Jiang et al. average
    it over groups of networks that share the other hyper-parameters: a random search leaves two or
    three networks a group. On their full grids the two are the same.

    Args:
        measures: (measure, network); pairs with a NaN do not count for that measure.
        gap: (network,).
        pairs: of `axis_pairs`.
        counts: how often each network is in each resample (network, resample).

    Returns:
        NaN where no hyper-parameter has a pair.
    """
    total = np.zeros((len(measures), counts.shape[1]))
    axes = np.zeros_like(total)
    for i, j in pairs.values():
        signs = np.sign(measures[:, i] - measures[:, j])
        known = np.isfinite(signs).astype(float)
        signs = np.nan_to_num(signs) * np.sign(gap[i] - gap[j])
        size = max(1, _CHUNK // len(i))
        for start in range(0, counts.shape[1], size):
            part = slice(start, start + size)
            weights = counts[i, part].astype(float) * counts[j, part]
            there = known @ weights
            defined = there > 0
            total[:, part][defined] += (signs @ weights)[defined] / there[defined]
            axes[:, part] += defined
    return np.divide(total, axes, out=np.full_like(total, np.nan), where=axes > 0)
