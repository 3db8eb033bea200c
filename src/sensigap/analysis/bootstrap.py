"""Resampling, and what the leaderboard makes of it: an estimate, its interval and its p.

(The claims have test points in their errors too: `sensigap.analysis.errors`.) The interval and p of
a bootstrap come from one thing, the standard error of the resampled statistic on a scale on which
it is about normal, with Student's t for the number of resampled units. Counting resamples beyond
the null instead could not give a p below 2 / (resamples + 1), which Holm's correction over a table
of four data sets would always lift above 0.05. The percentile interval stands in the note, for
comparison.
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
#: units drawn at once, which bounds the memory
_DRAWS = 1 << 20

_Transform = Callable[[np.ndarray], np.ndarray]
#: name -> (to the scale on which a statistic is about normal, back)
SCALES: dict[str, tuple[_Transform, _Transform]] = {
    "identity": (np.asarray, np.asarray),
    "correlation": (np.arctanh, np.tanh),
    "probability": (logit, expit),
}
#: name -> least and greatest value that the scale takes
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


def to_scale(name: str, values: np.ndarray | float) -> np.ndarray:
    """Values on the scale (a key of `SCALES`) on which they are about normal."""
    return np.asarray(SCALES[name][0](np.clip(values, *_LIMITS[name])))


def from_scale(name: str, value: float) -> float:
    """Back from `to_scale`."""
    return float(SCALES[name][1](np.asarray(value)))


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
    centre = float(to_scale(scale, estimate))
    error = math.sqrt(cluster_variance(to_scale(scale, defined), units))
    low, high = np.quantile(defined, [alpha / 2, 1 - alpha / 2])
    note = f"percentile interval {low:.3g} to {high:.3g}"
    if undefined:
        note += f"; no value in {undefined} of {len(resampled)} resamples"
    if error <= 1e-9 * max(1.0, abs(centre)):
        p = 1.0 if estimate == null else 2 / (len(resampled) + 1)
        return Result(estimate, estimate, estimate, p, f"{note}; all resamples agree")
    half = float(stats.t.ppf(1 - alpha / 2, units - 1)) * error
    distance = abs(centre - float(to_scale(scale, null))) / error
    return Result(
        estimate,
        from_scale(scale, centre - half),
        from_scale(scale, centre + half),
        float(2 * stats.t.sf(distance, units - 1)),
        note,
    )


def cluster_variance(resampled: np.ndarray, clusters: int) -> float:
    """Variance over networks, from a bootstrap: times G / (G - 1).

    Args:
        resampled: the statistic of each resample, on its scale (resample,); NaN where it has none.
        clusters: what was resampled.

    Raises:
        DoesNotApply: more than 5% of the resamples have no value.
    """
    missing = float(np.isnan(resampled).mean())
    if missing > UNDEFINED:
        raise DoesNotApply(f"no value in {missing:.0%} of the resamples")
    return float(np.nanvar(resampled)) * clusters / (clusters - 1)
