import numpy as np
import pytest
import torch
from torch import nn

from measure_helpers import codes, digits, fitted, untrained
from sensitivity.measures import paths
from sensitivity.measures.slices import slice_grid
from sensitivity.networks import from_sequential
from sensitivity.units import UNITS


def test_plane_through_three_points():
    anchors = digits()[0][:3]
    frame, coordinates = paths.plane(anchors)
    np.testing.assert_allclose(frame[1:] @ frame[1:].T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(frame[0] @ frame[1:].T, 0, atol=1e-9)
    np.testing.assert_allclose(frame[0] + coordinates @ frame[1:], anchors, atol=1e-5)
    # standardised images lie on one sphere, so in the plane on a circle around the origin
    radii = np.linalg.norm(coordinates, axis=1)
    np.testing.assert_allclose(radii, radii[0], rtol=1e-6)
    assert radii[0] <= 8.0
    with pytest.raises(ValueError, match="on one line"):
        paths.plane(np.array([[0.0, 0, 0], [1, 1, 1], [3, 3, 3]]))


@pytest.mark.parametrize("unit", UNITS)
def test_grid_shows_the_last_layers_codes_and_classes(unit):
    stack = fitted(unit)
    frame, _ = paths.plane(digits()[0][:3])
    x, y = np.linspace(-8, 8, 30), np.linspace(-6, 6, 20)
    found = slice_grid(stack, 0, frame, x, y)
    assert found.boundary.shape == found.predicted.shape == (20, 30)
    for i, j in ((0, 0), (7, 11), (18, 28), (3, 20)):
        places = np.array([[x[j], y[i]], [x[j + 1], y[i]], [x[j], y[i + 1]]])
        points = torch.from_numpy(frame[0] + places @ frame[1:])
        code = codes(stack, 0, points)[:, -2 * stack.widths[-1] :]
        assert found.boundary[i, j] == (code[1:] != code[0]).any()
        assert found.predicted[i, j] == stack.to(torch.float64).logits(points)[0, 0].argmax()
    assert 0 < found.boundary.mean() < 1


def test_only_the_last_layers_boundaries_are_shown():
    # the first layer has a boundary at x = 0; the second one's units are x+ - 1 > 0: at x = 1
    first, second = nn.Linear(2, 1), nn.Linear(1, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0]]))
        first.bias.zero_()
        second.weight.fill_(1.0)
        second.bias.fill_(-1.0)
    stack = from_sequential(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(1, 2)))
    x = np.arange(-2.25, 3.0, 0.5)
    found = slice_grid(stack, 0, np.array([[0.0, 0], [1, 0], [0, 1]]), x, np.arange(3.0))
    np.testing.assert_array_equal(found.boundary, np.tile(x == 0.75, (3, 1)))


def test_chunks_change_nothing(monkeypatch):
    stack = untrained()
    frame, _ = paths.plane(digits()[0][:3])
    axis = np.linspace(-8, 8, 20)
    whole = slice_grid(stack, 0, frame, axis, axis)
    monkeypatch.setattr("sensitivity.measures.slices.CHUNK_POINTS", 7)
    parts = slice_grid(stack, 0, frame, axis, axis)
    np.testing.assert_array_equal(whole.boundary, parts.boundary)
    np.testing.assert_array_equal(whole.predicted, parts.predicted)
