"""Rank correlations within hyper-parameters of many resamples, or of many columns, at once."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from sensigap.analysis.resampled import Ranking

#: values worked on at once, a few arrays of which fit the second-level cache
_CHUNK = 1 << 17
#: what rounding and the ridge leave of ranks that the design explains is no variance
_EXPLAINED = 1e-7


class RankResamples:
    """Resamples of networks within which variables are ranked and regressed on a design.

    The design's part is solved once, whatever is ranked. A resample may lack a level of a dummy:
    its column is then empty, and a ridge of 1e-10 of the diagonal keeps the system solvable.
    """

    def __init__(self, counts: np.ndarray, design: np.ndarray) -> None:
        """Solves the design's part.

        Args:
            counts: how often each network is in each resample (network, resample).
            design: dummies with the constant (network, column).
        """
        self.design = design
        self.counts = counts
        columns = design.shape[1]
        products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
        weights = counts.astype(float)
        gram = (weights.T @ products).reshape(-1, columns, columns)
        place = np.arange(columns)
        filled = gram[:, place, place]
        gram[:, place, place] += np.where(filled > 0, 1e-10 * weights.sum(axis=0)[:, None], 1.0)
        self.inverse = np.linalg.inv(gram)

    def covariances(self, variables: Sequence[np.ndarray]) -> np.ndarray:
        """Products of rank residuals, summed: (resample, variable, variable).

        Args:
            variables: (network,) each, finite.
        """
        rankings = [Ranking(values) for values in variables]
        resamples = self.counts.shape[1]
        result = np.empty((resamples, len(rankings), len(rankings)))
        size = max(32, _CHUNK // len(self.design))
        for start in range(0, resamples, size):
            part = slice(start, start + size)
            weights = self.counts[:, part].astype(float)
            ranks = [ranking.centred(weights) for ranking in rankings]
            weighted = [weights * rank for rank in ranks]
            moments = np.stack([each.T @ self.design for each in weighted], axis=1)
            total = np.empty((weights.shape[1], len(ranks), len(ranks)))
            for i, first in enumerate(weighted):
                for j in range(i + 1):
                    total[:, i, j] = total[:, j, i] = np.einsum("nr,nr->r", first, ranks[j])
            explained = moments @ self.inverse[part] @ moments.transpose(0, 2, 1)
            result[part] = _rest(total, explained)
        return result


def _rest(total: np.ndarray, explained: np.ndarray) -> np.ndarray:
    """What a design leaves of products of ranks; exactly 0 where it explains a variable."""
    rest = total - explained
    place = np.arange(total.shape[-1])
    own = rest[:, place, place]
    own[own <= _EXPLAINED * total[:, place, place]] = 0
    rest[:, place, place] = own
    return rest


def correlation(products: np.ndarray, i: int, j: int, given: int | None = None) -> np.ndarray:
    """Correlation of variables i and j, given another: from (case, variable, variable) to (case,).

    NaN where one of them has no variance left.
    """
    cov, first, second = products[:, i, j], products[:, i, i], products[:, j, j]
    if given is not None:
        own = products[:, given, given]
        safe = np.where(own > 0, own, np.inf)
        with_i, with_j = products[:, i, given], products[:, j, given]
        cov = cov - with_i * with_j / safe
        rest_i, rest_j = first - with_i**2 / safe, second - with_j**2 / safe
        first = np.where(rest_i > _EXPLAINED * first, rest_i, 0.0)
        second = np.where(rest_j > _EXPLAINED * second, rest_j, 0.0)
    result = np.full(len(cov), np.nan)
    varies = (first > 0) & (second > 0)
    result[varies] = cov[varies] / np.sqrt(first[varies] * second[varies])
    return np.clip(result, -1, 1)


def partial_rank_correlation(
    x: np.ndarray, y: np.ndarray, design: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Correlation of the ranks of x and y after regressing both on `design`, in each resample.

    Args:
        x: (observation,).
        y: (observation,).
        design: (observation, column), with the constant.
        counts: (observation, resample).

    Returns:
        (resample,); NaN where the design leaves nothing of one of them.
    """
    return correlation(RankResamples(counts, design).covariances([x, y]), 0, 1)


def column_products(variables: Sequence[np.ndarray], design: np.ndarray) -> np.ndarray:
    """As `RankResamples.covariances`, of columns of values in place of resamples.

    Args:
        variables: (network, column) each; a column with NaN gives NaN.
        design: (network, dummy), of full rank.

    Returns:
        (column, variable, variable).
    """
    basis = np.linalg.qr(design)[0]
    ranks = []
    for values in variables:
        rank = stats.rankdata(values, axis=0)
        ranks.append(np.where(np.isnan(values).any(axis=0), np.nan, rank - rank.mean(axis=0)))
    moments = np.stack([(basis.T @ rank).T for rank in ranks], axis=1)
    total = np.stack(
        [np.stack([np.einsum("nc,nc->c", a, b) for b in ranks], axis=-1) for a in ranks], axis=-2
    )
    return _rest(total, moments @ moments.transpose(0, 2, 1))
