"""Resampling, and what is made of it: an estimate, its interval and its p.

The interval and p of a bootstrap come from one thing, the standard error of the resampled
statistic on a scale on which it is about normal, with Student's t for the number of resampled
units. Counting resamples beyond the null instead could not give a p below 2 / (resamples + 1),
which Holm's correction over a table of four data sets would always lift above 0.05. The percentile
interval stands in the note, for comparison.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.special import expit, logit

#: share of the resamples that may lack a value
UNDEFINED = 0.05
#: with fewer clusters a bootstrap over them says nothing
MINIMUM_CLUSTERS = 5
#: skewness of paired differences from which the sign test is reported beside the Wilcoxon test
SKEWED = 1.0
#: units drawn at once, which bounds the memory
_DRAWS = 1 << 20

_Transform = Callable[[np.ndarray], np.ndarray]
#: name -> (to the scale on which a statistic is about normal, back)
SCALES: dict[str, tuple[_Transform, _Transform]] = {
    "identity": (np.asarray, np.asarray),
    "correlation": (np.arctanh, np.tanh),
    "probability": (logit, expit),
}
_LIMITS = {
    "identity": (-math.inf, math.inf),
    "correlation": (-1 + 1e-12, 1 - 1e-12),
    "probability": (1e-12, 1 - 1e-12),
}


class DoesNotApply(ValueError):  # noqa: N818 - an answer, not a fault
    """A test that cannot be made on the data at hand; the message says why."""


@dataclasses.dataclass(frozen=True)
class Result:
    """An effect with its interval and its two-sided p."""

    estimate: float
    low: float
    high: float
    p: float
    note: str


def level_text(alpha: float) -> str:
    """What an interval at level `alpha` holds, in words: '95%' for 0.05."""
    return f"{100 * (1 - alpha):.4g}%"


def resample_counts(rng: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    """How often each unit is in each resample: uint16 (unit, resample).

    Each resample draws `units` units with replacement, so the columns sum to `units`.
    """
    counts = np.empty((units, resamples), np.uint16)
    size = max(1, _DRAWS // units)
    for start in range(0, resamples, size):
        part = min(size, resamples - start)
        drawn = rng.integers(0, units, size=(part, units))
        drawn += (np.arange(part) * units)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=part * units)
        counts[:, start : start + part] = counted.reshape(part, units).T
    return counts


def summarise(
    estimate: float,
    resampled: np.ndarray,
    *,
    units: int,
    alpha: float,
    null: float = 0.0,
    scale: str = "identity",
) -> Result:
    """Interval and p of a bootstrapped statistic.

    Args:
        estimate: the statistic of the data.
        resampled: the statistic of each resample (resample,); NaN where it has none.
        units: what was resampled (networks, architectures, ...); Student's t has one degree less.
        alpha: the interval holds 1 - alpha.
        null: value of the statistic under the null hypothesis.
        scale: a key of `SCALES`.

    Raises:
        DoesNotApply: the estimate, or more than 5% of the resamples, have no value.
    """
    if not math.isfinite(estimate):
        raise DoesNotApply("the statistic has no value on these data")
    undefined = int(np.isnan(resampled).sum())
    if undefined > UNDEFINED * len(resampled):
        raise DoesNotApply(
            f"the statistic has no value in {undefined} of {len(resampled)} resamples"
        )
    defined = resampled[~np.isnan(resampled)]
    to_scale, back = SCALES[scale]
    limits = _LIMITS[scale]
    centre = float(to_scale(np.clip(estimate, *limits)))
    spread = to_scale(np.clip(defined, *limits))
    error = _standard_error(spread, units)
    low, high = np.quantile(defined, [alpha / 2, 1 - alpha / 2])
    note = f"percentile interval {low:.3g} to {high:.3g}"
    if undefined:
        note += f"; no value in {undefined} of {len(resampled)} resamples"
    if error <= 1e-9 * max(1.0, abs(centre)):
        p = 1.0 if estimate == null else 2 / (len(resampled) + 1)
        return Result(estimate, estimate, estimate, p, f"{note}; all resamples agree")
    half = float(stats.t.ppf(1 - alpha / 2, units - 1)) * error
    distance = abs(centre - float(to_scale(np.asarray(null)))) / error
    return Result(
        estimate,
        float(back(np.asarray(centre - half))),
        float(back(np.asarray(centre + half))),
        float(2 * stats.t.sf(distance, units - 1)),
        note,
    )


def _standard_error(resampled: np.ndarray, units: int) -> float:
    """Of a bootstrapped statistic: resampling n units shows (n - 1) / n of the variance."""
    return float(np.std(resampled)) * math.sqrt(units / (units - 1))


def signed_rank(
    differences: np.ndarray,
    rng: np.random.Generator,
    *,
    resamples: int,
    alpha: float,
    clusters: np.ndarray | None = None,
) -> Result:
    """Wilcoxon's signed-rank test of paired differences; their mean with a bootstrapped interval.

    Zeros are kept in the ranking (Pratt) since accuracies tie. The test asks for differences that
    are symmetric about their median; the note reports their skewness, and where that is large the
    sign test, which does not ask for it.

    Args:
        differences: (pair,), finite.
        rng: draws the resamples.
        resamples: how many.
        alpha: the interval holds 1 - alpha.
        clusters: architecture of each pair (pair,), integers from 0, where pairs of one are alike:
            then the bootstrap is over pairs or over architectures, whichever has the larger
            standard error. The test is over pairs all the same.

    Raises:
        DoesNotApply: all differences are zero.
    """
    count = len(differences)
    positive, negative = int((differences > 0).sum()), int((differences < 0).sum())
    if positive + negative == 0:
        raise DoesNotApply(f"all {count} differences are zero")
    p = float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
    resampled, units, of = differences @ resample_counts(rng, count, resamples) / count, count, ""
    if clusters is not None:
        resampled, units, of = _larger_error(differences, clusters, resampled, rng)
    bootstrapped = summarise(float(differences.mean()), resampled, units=units, alpha=alpha)
    note = f"{positive} above 0, {negative} below, {count - positive - negative} at 0"
    if np.ptp(differences) > 0:
        skewness = float(stats.skew(differences))
        note += f"; skewness {skewness:.2g}"
        if abs(skewness) > SKEWED:
            sign = float(stats.binomtest(positive, positive + negative).pvalue)
            note += f", so not symmetric as the test assumes: sign test p {sign:.2g}"
    return dataclasses.replace(bootstrapped, p=p, note=f"{note}; {bootstrapped.note}{of}")


def _larger_error(
    differences: np.ndarray, clusters: np.ndarray, over_pairs: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, int, str]:
    """Resampled means over pairs or architectures, how many units, and what was done, in words."""
    pairs, architectures = len(differences), int(clusters.max()) + 1
    if architectures < MINIMUM_CLUSTERS:
        words = f"; {architectures} architectures, fewer than {MINIMUM_CLUSTERS} clusters: pairs "
        return over_pairs, pairs, words + "are taken as independent"
    counts = resample_counts(rng, architectures, len(over_pairs)).astype(float)
    sizes = np.bincount(clusters)
    over_architectures = (np.bincount(clusters, differences) @ counts) / (sizes @ counts)
    errors = (
        _standard_error(over_pairs, pairs),
        _standard_error(over_architectures, architectures),
    )
    words = (
        f"; interval over {{}}, whose standard error is the larger: {errors[0]:.2g} over {pairs} "
        f"pairs, {errors[1]:.2g} over {architectures} architectures"
    )
    if errors[1] > errors[0]:
        return over_architectures, architectures, words.format("architectures")
    return over_pairs, pairs, words.format("pairs")
