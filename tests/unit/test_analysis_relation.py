"""The analytic relation and its bounds, against Jacobians and against a search of the simplex."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

import synthetic
from sensigap.analysis.relation import bounds, logit_gradient_norm, relation
from sensigap.seeds import generator


def test_relation_is_the_norm_of_the_softmax_jacobian_with_orthogonal_gradients():
    rng = generator(0, "relation")
    for classes in (2, 5, 10):
        f = rng.dirichlet(np.ones(classes))
        gradients = 1.7 * np.linalg.qr(rng.normal(size=(20, classes)))[0].T
        jacobian = (np.diag(f) - np.outer(f, f)) @ gradients
        assert 1.7**2 * relation(f) == pytest.approx((jacobian**2).sum())


def simplex_grid(classes, steps):
    """All probabilities that are multiples of 1 / steps (point, class)."""
    bars = itertools.combinations(range(steps + classes - 1), classes - 1)
    cuts = np.array([(-1, *cut, steps + classes - 1) for cut in bars])
    return (np.diff(cuts, axis=1) - 1) / steps


@pytest.mark.parametrize(("classes", "steps"), [(2, 50), (3, 40), (4, 24), (5, 20)])
def test_bounds_hold_and_are_reached_on_the_whole_simplex(classes, steps):
    others = simplex_grid(classes - 1, steps) if classes > 2 else np.ones((1, 1))
    for p in np.linspace(0, 1, 21):
        f = np.column_stack([np.full(len(others), p), (1 - p) * others])
        value = np.sqrt(np.maximum(relation(f), 0))
        low, high = bounds(np.array([p]), classes)
        assert low[0] <= value.min() + 1e-12
        assert high[0] >= value.max() - 1e-12
        # the grid comes near both
        assert value.min() - low[0] < 0.01
        assert high[0] - value.max() < 0.01


@pytest.mark.parametrize("p", [0.02, 0.1, 0.3, 0.6])
def test_bounds_of_ten_classes_against_descent_from_many_starts(p):
    rng = generator(0, "descent")

    def value(raw, sign):
        weights = raw**2
        others = (1 - p) * weights / weights.sum()
        return sign * relation(np.r_[p, others])

    low, high = bounds(np.array([p]), 10)
    for sign, expected in ((1, low[0]), (-1, high[0])):
        starts = [rng.dirichlet(np.full(9, 0.3)) + 1e-6 for _ in range(25)]
        best = min(minimize(value, start, args=(sign,)).fun for start in starts)
        assert np.sqrt(sign * best) == pytest.approx(expected, rel=1e-3)


def test_upper_bound_puts_the_rest_on_one_class_from_one_over_root_seven():
    edge = 1 / np.sqrt(7)
    p = np.array([edge + 0.005, 0.6, 0.9, edge - 0.03, 0.1])
    single = np.zeros((len(p), 10))
    single[:, 0], single[:, 1] = p, 1 - p
    found = bounds(p, 10)[1] / np.sqrt(relation(single))
    assert found[:3] == pytest.approx(1)
    assert (found[3:] > 1 + 1e-4).all()


def test_bounds_meet_where_nothing_is_left_and_with_two_classes():
    low, high = bounds(np.array([1.0]), 10)
    assert low[0] == high[0] == 0
    p = np.linspace(0, 1, 11)
    low, high = bounds(p, 2)
    assert low == pytest.approx(high)
    assert low == pytest.approx(2 * p * (1 - p))


def test_bounds_refuse_what_is_no_probability():
    with pytest.raises(ValueError, match=r"within 0 and 1, found 0.5 to 1.5"):
        bounds(np.array([0.5, 1.5]), 10)
    with pytest.raises(ValueError, match="at least 2, found 1"):
        bounds(np.array([0.5]), 1)


def test_logit_gradient_norm_is_the_root_mean_square_over_classes():
    survey = synthetic.survey(networks=20, pairs=1, samples=40)
    names = list(survey["network"].to_numpy()[survey["status"].to_numpy() == "fitted"][:3])
    found = logit_gradient_norm(survey, names)
    for name, value in zip(names, found, strict=True):
        norms = survey["logit_jacobian_norm"].sel(network=name).to_numpy()
        assert value**2 * synthetic.CLASSES == pytest.approx((norms**2).mean())


@pytest.mark.parametrize("rest", [1e-150, 1e-170, 1e-300])
def test_bounds_keep_their_digits_where_their_squares_underflow(rest):
    """Near p = 1 the bounds are proportional to what the target leaves."""
    expected = [float(bound[0]) / 1e-50 for bound in bounds(np.ones(1), 10, np.array([1e-50]))]
    found = [float(bound[0]) / rest for bound in bounds(np.ones(1), 10, np.array([rest]))]
    assert found == pytest.approx(expected, rel=1e-12)
    # all on one class, f = (1 - rest, rest): S = 2 rest^2 (1 + 1); spread evenly over nine: less
    assert found == pytest.approx([math.sqrt(12 / 9), 2.0], rel=1e-12)
