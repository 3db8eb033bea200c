"""The analytic relation between the Jacobian norm and the probabilities at a point (STUDY, C5).

If the logit gradients of the C classes were orthogonal with equal norm M, then
||J||^2 = M^2 S(f) with S(f) = sum_i f_i^2 (1 - 2 f_i + sum_j f_j^2).
"""

import numpy as np
import xarray as xr


def relation(probabilities: np.ndarray) -> np.ndarray:
    """S(f) of probabilities (..., class): (...)."""
    squares = (probabilities**2).sum(axis=-1, keepdims=True)
    return (probabilities**2 * (1 - 2 * probabilities + squares)).sum(axis=-1)


def classes_of(survey: xr.Dataset) -> int:
    """C, the number of a network's logits; where a survey does not say, that of its test labels."""
    return int(survey.attrs.get("classes", len(np.unique(survey["label"].to_numpy()))))


def logit_gradient_norm(survey: xr.Dataset, networks: list[str]) -> np.ndarray:
    """M of each network (network,): M^2 is the mean of ||A||_F^2 / C over its test points."""
    norms = survey["logit_jacobian_norm"].sel(network=networks).transpose("network", "sample")
    return np.sqrt((norms.to_numpy().astype(float) ** 2).mean(axis=1) / classes_of(survey))


def bounds(
    target_probability: np.ndarray, classes: int, rest: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest ||J|| / M = sqrt(S) for a given probability of the true class.

    For a given sum of squares, an extreme makes every other probability that is not zero a root of
    one quadratic: they have at most two values. With a in k classes and b in m, where k a + m b is
    what the target leaves, S is stationary at a = b and where 1 + 2 sum_j f_j^2 = 3 (a + b), a
    quadratic in a. All such k and m are scanned.

    Args:
        target_probability: (point,), within 0 and 1.
        classes: number of classes, at least 2.
        rest: 1 - target_probability (point,), where it is known better than the difference, which
            has no digits left where the target's probability is within 1e-16 of 1.

    Returns:
        Lower and upper bound, (point,) each.

    Raises:
        ValueError: a probability outside [0, 1], or fewer than two classes.
    """
    p = np.asarray(target_probability, float)
    if classes < 2:
        raise ValueError(f"classes must be at least 2, found {classes}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"probabilities must lie within 0 and 1, found {p.min()} to {p.max()}")
    rest = 1 - p if rest is None else np.asarray(rest, float)
    others = classes - 1
    low, high = np.full(p.shape, np.inf), np.full(p.shape, -np.inf)
    # S is found in units of rest^2, which is 0 in float64 from 1e-162 on
    unit = np.where(rest > 0, rest, 1.0)

    def consider(k: int, a: np.ndarray, m: int, b: np.ndarray) -> None:
        valid = (a >= 0) & (b >= 0)
        a, b = np.where(valid, a, 0.0), np.where(valid, b, 0.0)
        # f_i^2 (1 - 2 f_i + sum_j f_j^2) = f_i^2 ((1 - f_i)^2 + sum_{j != i} f_j^2), 1 - f_i being
        # what the others hold: sums of what is not negative, so nothing cancels
        others_squared = k * (a / unit) ** 2 + m * (b / unit) ** 2
        value = p**2 * ((rest / unit) ** 2 + others_squared)
        for count, one, other_count, other in ((k, a, m, b), (m, b, k, a)):
            if count:
                without = p + (count - 1) * one + other_count * other
                squares = p**2 + (count - 1) * one**2 + other_count * other**2
                value = value + count * (one / unit) ** 2 * (without**2 + squares)
        np.copyto(low, np.minimum(low, value), where=valid)
        np.copyto(high, np.maximum(high, value), where=valid)

    nothing = np.zeros_like(p)
    for k in range(1, others + 1):
        consider(k, rest / k, 0, nothing)
        # S is symmetric in (k, a) and (m, b)
        for m in range(k, others - k + 1):
            # 1 + 2 (p^2 + k a^2 + m b^2) - 3 (a + b) = 0 with b = (rest - k a) / m
            square = 2 * k + 2 * k**2 / m
            linear = -4 * k * rest / m - 3 + 3 * k / m
            constant = 1 + 2 * p**2 + 2 * rest**2 / m - 3 * rest / m
            discriminant = linear**2 - 4 * square * constant
            root = np.sqrt(np.maximum(discriminant, 0))
            for sign in (-1, 1):
                a = np.where(discriminant >= 0, (-linear + sign * root) / (2 * square), -1.0)
                consider(k, a, m, (rest - k * a) / m)
    return unit * np.sqrt(low), unit * np.sqrt(high)
