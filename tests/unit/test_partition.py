import numpy as np
import pytest
import torch
from torch import nn

from measure_helpers import codes, digits, fitted, untrained
from sensigap.measures import partition as module
from sensigap.measures import paths
from sensigap.measures.partition import partition
from sensigap.networks import from_sequential
from sensigap.units import UNITS

WINDOW = (-10.0, 10.0, -9.0, 8.0)


def frame():
    return paths.plane(digits()[0][:3])[0]


def patterns(stack, places, plane, layers=None):
    """Codes (place, units) of the first hidden layers at places (place, 2) of a plane."""
    found = codes(stack, 0, torch.from_numpy(plane[0] + places @ plane[1:]))
    return found if layers is None else found[:, : 2 * sum(stack.widths[:layers])]


def check(stack, found, plane, window=WINDOW, *, layers=None, whole=True):
    """Areas add up, Euler's number is 1, a pattern a polygon, and a grid finds no other pattern."""
    areas = found.areas()
    assert (areas > 0).all()
    total = (window[1] - window[0]) * (window[3] - window[2])
    assert areas.sum() == pytest.approx(total, rel=1e-13)
    if whole:
        assert len(found.corners) - len(found.edges()) + len(found) == 1
    # polygons smaller than rounding have no safe middle
    sure = areas > 1e-9 * total
    middles = patterns(stack, found.centres(), plane, layers)
    seen = {row.tobytes() for row in middles}
    assert len({row.tobytes() for row in middles[sure]}) == sure.sum(), "a pattern stands twice"
    rng = np.random.default_rng(0)
    corner = rng.integers(np.diff(found.starts))
    near = found.corners[found.rings[found.starts[:-1] + corner]]
    near = near + 0.02 * (found.centres() - near)
    assert (patterns(stack, near, plane, layers) == middles)[sure].all(), "not one region"
    grid = rng.uniform((window[0], window[2]), (window[1], window[3]), (4000, 2))
    missing = sum(row.tobytes() not in seen for row in patterns(stack, grid, plane, layers))
    assert missing == 0


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("trained", [True, False])
def test_regions_of_every_unit(unit, trained):
    stack = fitted(unit) if trained else untrained(units=[unit], width=20)
    found = partition(stack, 0, frame(), WINDOW)
    assert len(found) > 100
    check(stack, found, frame())


def test_a_chosen_layer():
    stack = untrained(width=20)
    for layer in range(3):
        found = partition(stack, 0, frame(), WINDOW, layer=layer)
        check(stack, found, frame(), layers=layer + 1)
    lines = patterns(stack, np.array([[0.0, 0.0]]), frame(), 1).shape[1] // 2
    assert 1 < len(partition(stack, 0, frame(), WINDOW, layer=0)) <= 1 + lines * (lines + 1) // 2


def test_many_lines_through_one_point():
    # zero biases and a plane through 0: all first-layer lines, and many others, pass through it
    stack = untrained(width=40, bias=0.0)
    plane = frame()
    plane[0] = 0.0
    found = partition(stack, 0, plane, WINDOW)
    assert (found.areas() > 1e-12).all(), "slivers"
    check(stack, found, plane)
    # the first layer: 40 lines through one point make 80 sectors
    assert len(partition(stack, 0, plane, WINDOW, layer=0)) == 80


def test_quantised_weights():
    stack = untrained(inputs=2, width=12, classes=2)
    rng = np.random.default_rng(0)
    for values in (*stack.weights, *stack.biases):
        values.copy_(torch.from_numpy(rng.integers(-2, 3, tuple(values.shape))))
    plane = np.array([[0.0, 0], [1, 0], [0, 1]])
    found = partition(stack, 0, plane, (-4.0, 4.0, -4.0, 4.0))
    areas = found.areas()
    assert (areas > 1e-9).all(), "slivers"
    assert areas.sum() == pytest.approx(64.0, rel=1e-13)
    assert len(found.corners) - len(found.edges()) + len(found) == 1


def test_two_lines_by_hand():
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        layer.bias.zero_()
    stack = from_sequential(nn.Sequential(layer, nn.ReLU(), nn.Linear(2, 2)))
    found = partition(stack, 0, np.array([[0.0, 0], [1, 0], [0, 1]]), (-1.0, 1.0, -1.0, 1.0))
    # x = 0 and the diagonal x + y = 0, through two corners of the window
    assert sorted(found.areas()) == pytest.approx([0.5, 0.5, 1.5, 1.5])
    assert len(found.corners) == 7
    assert any((found.polygon(k) == 0).all(1).any() for k in range(4))


def test_groups_change_nothing(monkeypatch):
    stack = untrained(width=20)
    whole = partition(stack, 0, frame(), WINDOW)
    monkeypatch.setattr(module, "GROUP_CORNERS", 50)
    parts = partition(stack, 0, frame(), WINDOW)
    assert len(parts) == len(whole)
    np.testing.assert_allclose(np.sort(parts.areas()), np.sort(whole.areas()), atol=1e-9)
    check(stack, parts, frame(), whole=False)


def test_no_boundaries_and_errors():
    linear = from_sequential(nn.Sequential(nn.Linear(64, 10)))
    assert len(partition(linear, 0, frame(), WINDOW)) == 1
    with pytest.raises(ValueError, match="expected 0 to 2, found 3"):
        partition(untrained(), 0, frame(), WINDOW, layer=3)
    with pytest.raises(ValueError, match="window"):
        partition(untrained(), 0, frame(), (1.0, 0.0, 0.0, 1.0))
