"""C2 cross-fitted: sensitivity over one half of the test points, accuracy over the other.

STATISTICS, section 7. Sensitivity and gap share their test points otherwise, and a point that is
hard for all networks moves both.
"""

import numpy as np
import pandas as pd

from sensigap.analysis.bootstrap import (
    DoesNotApply,
    cluster_variance,
    from_scale,
    resample_counts,
    to_scale,
)
from sensigap.analysis.errors import Estimate, Halvings
from sensigap.analysis.ranks import RankResamples, column_products, correlation
from sensigap.analysis.relations import architecture_resamples, check, dummies_or_refusal
from sensigap.analysis.shared_points import SharedPoints, unbroken
from sensigap.analysis.survey_table import varying
from sensigap.analysis.verdicts import Question

#: fewest resamples of the points of a split
_RESAMPLES = 50


def crossfitted(question: Question, table: pd.DataFrame, points: SharedPoints) -> Estimate:
    """Partial Spearman of gap and log10 sensitivity, averaged over splits and both directions.

    Training accuracy is whole in both. A half of the test set has half of the points with norms and
    half of the other images. The variance over points is from resampling within each half
    (resampling before the split would put copies of a point on both sides), these and those by
    themselves, averaged over splits.

    Args:
        question: whose draws these are.
        table: the networks.
        points: of the survey.

    Raises:
        DoesNotApply: see `sensigap.analysis.relations`.
    """
    settings = points.settings
    gap = table["gap"].to_numpy(float)
    check(gap=gap, sensitivity=table["sensitivity"].to_numpy(float))
    counts, levels = architecture_resamples(table, question.draws(settings), settings)
    names = varying(table)
    design = dummies_or_refusal(table, names)
    networks = table.index.tolist()
    norm, right = points.values("jacobian_norm", networks), points.right(networks)
    # over a half the gap is this minus the share that is right
    base = table["train_accuracy"].to_numpy(float)
    splits = Halvings(
        question.draws(settings, what="splits"), settings.crossfit_splits, points.count
    )
    of_images = points.of_images(splits, question.draws(settings, what="splits of other images"))
    x, y = _logarithm(splits.means(norm)), unbroken(base[:, None] - of_images.means(right))
    found = correlation(column_products([x, _swapped(y)], design), 0, 1)
    if np.isnan(found).any():
        raise DoesNotApply("a split's correlation has no value")
    value = from_scale("correlation", float(to_scale("correlation", found).mean()))

    ranked = RankResamples(counts, design)
    total = np.zeros(settings.bootstrap)
    for split in range(settings.crossfit_splits):
        first, second = split, split + settings.crossfit_splits
        products = ranked.covariances([x[:, first], y[:, second], x[:, second], y[:, first]])
        total += to_scale("correlation", correlation(products, 0, 1))
        total += to_scale("correlation", correlation(products, 2, 3))
    over_networks = cluster_variance(total / (2 * settings.crossfit_splits), levels)

    rng = question.draws(settings, what="points")
    rng_of_others = question.draws(settings, what="other images")
    resamples = max(_RESAMPLES, settings.bootstrap // settings.crossfit_splits)
    variances = []
    for split in range(settings.crossfit_splits):
        halves = []
        for column in (split, split + settings.crossfit_splits):
            member = np.flatnonzero(splits.member[:, column])
            drawn = resample_counts(rng, len(member), resamples)
            accurate = right[:, points.places[member]] @ drawn
            others = np.setdiff1d(np.flatnonzero(of_images.member[:, column]), points.places)
            if len(others):
                accurate += right[:, others] @ resample_counts(
                    rng_of_others, len(others), resamples
                )
            accurate /= len(member) + len(others)
            halves.append(
                (
                    _logarithm(norm[:, member] @ (drawn / len(member))),
                    unbroken(base[:, None] - accurate),
                )
            )
        (x_a, y_a), (x_b, y_b) = halves
        both = [
            to_scale("correlation", correlation(column_products(pair, design), 0, 1))
            for pair in ([x_a, y_b], [x_b, y_a])
        ]
        # a bootstrap shows (n - 1) / n of the variance, as over networks
        variances.append(cluster_variance(np.mean(both, axis=0), points.count // 2))
    remarks = (
        f"{settings.crossfit_splits} splits, both directions; each norm is over half of the "
        "points, which costs reliability: a lower bound, not an unbiased value",
        f"dummies for {', '.join(names) or 'nothing: none varies'}",
    )
    return Estimate(
        value,
        over_networks,
        levels,
        float(np.mean(variances)),
        points.count,
        "correlation",
        remarks,
    )


def _swapped(halves: np.ndarray) -> np.ndarray:
    """Second halves in the place of the first ones (network, 2 splits)."""
    first, second = np.split(halves, 2, axis=1)
    return np.concatenate([second, first], axis=1)


def _logarithm(values: np.ndarray) -> np.ndarray:
    """log10, -inf at 0."""
    with np.errstate(divide="ignore"):
        return np.log10(values)
