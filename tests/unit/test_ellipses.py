from functools import partial

import numpy as np
import pytest
import torch

from measure_helpers import check_parity, digits, fitted, untrained
from sensigap.kinds import ELLIPSE_KINDS
from sensigap.measures import ellipses as module
from sensigap.measures import paths
from sensigap.measures.ellipses import ellipse_crossings, ellipse_transitions
from sensigap.units import UNITS


def ellipses(count=2):
    """Ellipses of the three kinds, `count` each, through standardised digits."""
    images, labels = digits()
    rng = np.random.default_rng(3)
    made = []
    for _ in range(count):
        for kind in paths.ELLIPSE_KINDS[:2]:
            made.append(paths.ellipse(images[paths.anchors_of(kind, labels, rng)]))
        made.append(paths.random_ellipse(64, rng))
    return np.stack(made)


def test_ellipse_passes_through_its_anchors():
    assert paths.ELLIPSE_KINDS == ELLIPSE_KINDS
    anchors = digits()[0][:3].astype(np.float64)
    found = paths.ellipse_points(paths.ellipse(anchors)[None], np.array(paths.ANCHOR_ANGLES))[0]
    np.testing.assert_allclose(found, anchors, atol=1e-12)


def test_anchors_are_of_the_kind_asked_for():
    labels = np.array([0, 0, 0, 1, 2, 2, 3])
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert len(set(labels[paths.anchors_of("different classes", labels, rng)])) == 3
        chosen = paths.anchors_of("one class", labels, rng)
        assert len(set(chosen)) == 3
        assert set(labels[chosen]) == {0}
    with pytest.raises(ValueError, match="needs three, the training set has 2"):
        paths.anchors_of("different classes", labels[:4], rng)
    with pytest.raises(ValueError, match="largest class has 2"):
        paths.anchors_of("one class", labels[3:], rng)


def test_arc_lengths_add_up():
    circle = np.zeros((1, 3, 4))
    circle[0, 1, 0] = circle[0, 2, 1] = 2.0
    np.testing.assert_allclose(paths.arc_lengths(circle, 24), 2 * 2 * np.pi / 24)
    made = ellipses(1)
    fine = paths.ellipse_points(made, np.linspace(0, 2 * np.pi, 24 * 2000 + 1))
    chords = np.linalg.norm(np.diff(fine, axis=1), axis=2).reshape(3, 24, 2000).sum(2)
    np.testing.assert_allclose(paths.arc_lengths(made, 24), chords, rtol=1e-6)


def test_translations_wrap_around():
    images = np.arange(12.0).reshape(1, 1, 2, 6)
    found = paths.translations(images)
    assert found.shape == (1, 6, 12)
    assert found[0, 0].tolist() == list(range(12))
    assert found[0, 1].tolist() == [5, 0, 1, 2, 3, 4, 11, 6, 7, 8, 9, 10]
    np.testing.assert_array_equal(np.sort(found[0], axis=1), np.tile(np.arange(12.0), (6, 1)))


def test_products_on_a_device_change_nothing(monkeypatch):
    # the device's route, taken here on the processor
    stack = untrained(units=["hardtanh"], depth=3)
    made = ellipses(1)
    alone = ellipse_crossings(stack, made)
    usual = module.network_layers
    on_device = partial(usual, device=torch.device("cpu"))
    assert all(layer.on_device is not None for layer in on_device(stack, 0))
    assert all(layer.on_device is None for layer in usual(stack, 0))
    monkeypatch.setattr(module, "network_layers", on_device)
    found = ellipse_crossings(stack, made)
    for name in ("path", "layer", "unit", "threshold"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
    np.testing.assert_allclose(found.position, alone.position, atol=1e-9)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("trained", [True, False])
def test_parity_of_each_unit_and_interval(unit, trained):
    stack = fitted(unit) if trained else untrained(units=[unit], gain=2.0)
    made = ellipses(1)
    found = ellipse_crossings(stack, made)
    place = (np.arange(2**15) + 0.5) * (2 * np.pi / 2**15)
    for path in range(len(made)):
        points = torch.from_numpy(paths.ellipse_points(made[path : path + 1], place)[0])
        total, sampled = check_parity(
            stack, found, path, points=points, place=place, period=2 * np.pi
        )
        assert total >= sampled > 0


def test_first_layer_in_closed_form():
    stack = untrained(depth=1, width=300)
    made = ellipses(1)
    c, a, b = (made[:, i] @ stack.weights[0][0].numpy() for i in range(3))
    reached = np.abs(c + stack.biases[0][0].numpy()) < np.hypot(a, b)
    found = ellipse_crossings(stack, made)
    assert np.bincount(found.path).tolist() == (2 * reached.sum(1)).tolist()
    z = (c + stack.biases[0][0].numpy())[found.path, found.unit]
    z += a[found.path, found.unit] * np.cos(found.position)
    z += b[found.path, found.unit] * np.sin(found.position)
    np.testing.assert_allclose(z, 0, atol=1e-12)


def test_counts_between_angles_add_up_and_do_not_depend_on_the_company():
    stack = untrained(units=sorted(UNITS))
    made = ellipses(4)
    counts = ellipse_transitions(stack, made, 48)
    assert counts.shape == (4, 12, 48)
    for k in range(4):
        found = ellipse_crossings(stack, made[3:5], network=k)
        totals = np.bincount(found.path, minlength=2)
        np.testing.assert_array_equal(counts[k, 3:5].sum(1), totals)
    coarse = ellipse_transitions(stack, made, 24)
    np.testing.assert_array_equal(coarse, counts.reshape(4, 12, 24, 2).sum(3))


def test_degenerate_ellipses():
    stack = untrained(width=20)
    x1, x2 = digits()[0][:2].astype(np.float64)
    made = np.stack([paths.ellipse(np.stack([x1, x2, x1])), paths.ellipse(np.stack([x1, x1, x1]))])
    counts = ellipse_transitions(stack, made, 24)[0]
    # the first runs along a segment and back, so each crossing is passed twice, mirrored in angle
    assert counts[0].sum() > 0
    np.testing.assert_array_equal(counts[0], counts[0][::-1])
    assert counts[1].sum() == 0, "an ellipse that is a point"
    stack.biases[0].fill_(-1000.0)
    stack.biases[1].zero_()
    assert ellipse_transitions(stack, made, 24).sum() == 0, "a dead layer, then z = 0 everywhere"


def test_touching_circle_counts_nothing():
    from torch import nn

    from sensigap.networks import from_sequential

    circle = np.zeros((1, 3, 2))
    circle[0, 1, 0] = circle[0, 2, 1] = 1.0
    layer = nn.Linear(2, 3).double()
    with torch.no_grad():
        # x + y touches sqrt(2), x touches 1 at the start of the path; x - 0.3 is passed twice
        layer.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]))
        layer.bias.copy_(torch.tensor([-np.sqrt(2.0), -1.0, -0.3]))
    stack = from_sequential(nn.Sequential(layer, nn.ReLU(), nn.Linear(3, 2).double()))
    found = ellipse_crossings(stack, circle)
    assert found.unit.tolist() == [2, 2]


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"expected shape \(ellipse, 3, 64\), found \(3, 64\)"):
        ellipse_crossings(untrained(), np.zeros((3, 64)))
