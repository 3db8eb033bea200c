import numpy as np
import pytest
import torch
from torch import nn

from measure_helpers import codes, digits, fitted, untrained
from sensigap.measures import paths
from sensigap.measures.partition import partition
from sensigap.measures.polygons.layers import network_layers
from sensigap.measures.polygons.walk import walk
from sensigap.measures.slices import last_boundaries, predicted_classes
from sensigap.networks import from_sequential
from sensigap.units import UNITS

WINDOW = (-10.0, 10.0, -9.0, 8.0)


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


def last(stack, frame, places):
    """Codes (place, last layer's units x 2)."""
    return codes(stack, 0, torch.from_numpy(frame[0] + places @ frame[1:]))[
        :, -2 * stack.widths[-1] :
    ]


@pytest.mark.parametrize("unit", UNITS)
def test_codes_of_the_last_layer_differ_across_a_segment_and_nowhere_else(unit):
    stack = fitted(unit)
    frame, _ = paths.plane(digits()[0][:3])
    found = last_boundaries(stack, 0, frame, WINDOW, most=10**6)
    whole = partition(stack, 0, frame, WINDOW)
    assert found.regions == len(whole)
    assert 0 < len(found.segments) < len(whole.edges())
    ends = found.segments.astype(np.float64)
    assert (np.abs(ends).max((0, 1)) <= (10, 9)).all()
    along = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(along, axis=1)
    long = length > 0.01
    normal = 1e-4 * np.stack([-along[:, 1], along[:, 0]], 1)[long] / length[long, None]
    middle = ends.mean(1)[long]
    differ = last(stack, frame, middle + normal) != last(stack, frame, middle - normal)
    assert differ.any(1).all()
    # straight across the window: as many segments are crossed as the last layer has crossings
    rng = np.random.default_rng(0)
    heights = rng.uniform(WINDOW[2], WINDOW[3], 40)
    low, high = np.sort(ends[..., 1], axis=1).T
    crossed = ((low < heights[:, None]) & (heights[:, None] < high)).sum(1)
    across = np.stack([np.stack(np.broadcast_arrays(x, heights), 1) for x in WINDOW[:2]], 1)
    layers = network_layers(stack, 0)
    expected = np.zeros(len(heights), int)
    for _, _, parts in walk(layers, frame[0] + across @ frame[1:], closed=False, record=True):
        expected += sum(
            np.bincount(part.path[part.layer == len(layers) - 1], minlength=len(heights))
            for part in parts
        )
    np.testing.assert_array_equal(crossed, expected)
    assert expected.sum() > 0


def test_only_the_last_layers_boundaries_are_shown():
    # the first layer has a boundary at x = 0; the second one's units are x+ - 1 > 0: at x = 1
    first, second = nn.Linear(2, 1), nn.Linear(1, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0]]))
        first.bias.zero_()
        second.weight.fill_(1.0)
        second.bias.fill_(-1.0)
    stack = from_sequential(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(1, 2)))
    plane = np.array([[0.0, 0], [1, 0], [0, 1]])
    found = last_boundaries(stack, 0, plane, (-2.0, 2.0, -1.0, 1.0), most=3)
    assert found.regions == 3
    np.testing.assert_array_equal(np.sort(found.segments, axis=1), [[[1, -1], [1, 1]]])
    assert last_boundaries(stack, 0, plane, (-2.0, 2.0, -1.0, 1.0), most=2) is None


def test_parts_and_chunks_change_nothing(monkeypatch):
    stack = untrained(width=20)
    frame, _ = paths.plane(digits()[0][:3])
    axis = np.linspace(-8, 8, 20)
    whole = last_boundaries(stack, 0, frame, WINDOW, most=10**6)
    classes = predicted_classes(stack, 0, frame, axis, axis)
    monkeypatch.setattr("sensigap.measures.partition.GROUP_CORNERS", 50)
    monkeypatch.setattr("sensigap.measures.slices.CHUNK_POINTS", 7)
    parts = last_boundaries(stack, 0, frame, WINDOW, most=10**6)
    assert parts.regions == whole.regions
    assert len(parts.segments) == len(whole.segments)
    middles = [np.sort(s.segments.mean(1) @ [1, 1j]) for s in (parts, whole)]
    np.testing.assert_allclose(*middles, atol=1e-5)
    np.testing.assert_array_equal(predicted_classes(stack, 0, frame, axis, axis), classes)


def test_no_hidden_layer_and_classes():
    linear = from_sequential(nn.Sequential(nn.Linear(64, 10)))
    frame, _ = paths.plane(digits()[0][:3])
    found = last_boundaries(linear, 0, frame, WINDOW, most=1)
    assert (found.regions, len(found.segments)) == (1, 0)
    stack, x, y = fitted(), np.linspace(-8, 8, 30), np.linspace(-6, 6, 20)
    classes = predicted_classes(stack, 0, frame, x, y)
    assert classes.shape == (20, 30)
    for i, j in ((0, 0), (7, 11), (18, 28)):
        point = torch.from_numpy(frame[0] + np.array([[x[j], y[i]]]) @ frame[1:])
        assert classes[i, j] == stack.to(torch.float64).logits(point)[0, 0].argmax()
