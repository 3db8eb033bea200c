import importlib
import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from measure_helpers import check_parity, codes, fitted, polygons, untrained
from sensigap.measures import part_lengths, transitions, transitions_along
from sensigap.measures.polygons import walk
from sensigap.measures.polygons.arrays import NumpyArrays, TorchArrays, arrays_on, sort_order
from sensigap.measures.transitions import crossings
from sensigap.networks import ClampUnit, HardSigmoid, from_sequential
from sensigap.units import UNITS


def samples(path, count):
    """Points on a closed polygon (vertex, d) at half steps, `count` an edge; their positions."""
    t = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    ends = torch.roll(path, -1, 0)
    points = path[:, None] + t[None, :, None] * (ends - path)[:, None]
    place = np.arange(len(path))[:, None] + t.numpy()
    return points.reshape(-1, path.shape[1]), place.ravel()


def by_torch(monkeypatch):
    """Counts by what runs on a device, here on the processor."""
    # by its name in sys.modules, since the package has a function of the module's name
    module = importlib.import_module("sensigap.measures.transitions")
    monkeypatch.setattr(module, "arrays_on", TorchArrays)


@pytest.fixture(params=["numpy", "torch"])
def kind(request, monkeypatch):
    """Either kind of arrays."""
    if request.param == "torch":
        by_torch(monkeypatch)


def counted(stack, paths):
    """The counts, the same with either kind of arrays."""
    counts = transitions(stack, paths).tolist()
    with pytest.MonkeyPatch.context() as patch:
        by_torch(patch)
        assert transitions(stack, paths).tolist() == counts
    return counts


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("trained", [True, False])
def test_parity_of_each_unit_and_interval_at_65536_samples(unit, trained):
    stack = fitted(unit) if trained else untrained(units=[unit], gain=2.0)
    paths = polygons(2)
    counts = transitions(stack, paths)[0]
    found = crossings(stack, paths)
    for path in range(len(paths)):
        points, place = samples(paths[path], 2**16 // 8)
        total, sampled = check_parity(stack, found, path, points=points, place=place, period=8)
        assert total == counts[path] >= sampled
        assert sampled > 0


def test_sampled_counts_do_not_fall_when_samples_are_added_and_end_at_the_exact_count():
    stack = fitted()
    path = polygons(1)[0]
    exact = int(transitions(stack, path[None]))
    sampled = []
    for k in (1, 2, 4, 8, 16, 64, 1024, 8192):
        passed = codes(stack, 0, samples_from_the_start(path, k))
        sampled.append(int((passed != np.roll(passed, -1, 0)).sum()))
    assert sampled == sorted(sampled)
    assert sampled[0] < sampled[-1] <= exact


def samples_from_the_start(path, count):
    """Nested: the points for 2 x count contain those for count."""
    t = torch.arange(count, dtype=torch.float64)[:, None] / count
    return torch.cat([a + t * (b - a) for a, b in zip(path, path.roll(-1, 0), strict=True)])


@pytest.mark.usefixtures("kind")
def test_one_layer_by_hand():
    # z = x - 1 and z = y on the square (0, 0), (2, 0), (2, 2), (0, 2): x - 1 changes sign on two
    # edges, y touches 0 along the edge y = 0 and never passes it; z = x + y - 1 passes twice
    square = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]])
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        layer.bias.copy_(torch.tensor([-1.0, 0.0, -1.0]))
    stack = from_sequential(nn.Sequential(layer, nn.ReLU(), nn.Linear(3, 2)))
    found = crossings(stack, square)
    assert sorted(zip(found.unit, found.position, strict=True)) == [
        (0, 0.5),
        (0, 2.5),
        (2, 0.5),
        (2, 3.5),
    ]
    assert int(transitions(stack, square)) == 4
    assert int(transitions(stack, square, closed=False)) == 3


def test_random_one_layer_equals_sign_changes():
    stack = untrained(depth=1, width=200)
    paths = polygons(20)
    z = paths @ stack.weights[0][0] + stack.biases[0][0]
    expected = ((z > 0) != (z.roll(-1, 1) > 0)).sum((1, 2))
    torch.testing.assert_close(transitions(stack, paths)[0], expected)


@pytest.mark.usefixtures("kind")
def test_a_unit_that_passes_both_thresholds_in_one_piece_counts_twice():
    layer = nn.Linear(1, 1)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    stack = from_sequential(nn.Sequential(layer, HardSigmoid(), nn.Linear(1, 1)))
    found = crossings(stack, torch.tensor([[[-1.0], [1.0]]]), closed=False)
    # z + 1/2 passes 0 at x = -1/2 and 1 at x = 1/2
    assert found.threshold.tolist() == [0, 1]
    np.testing.assert_allclose(found.position, [0.25, 0.75])


@pytest.mark.usefixtures("kind")
def test_linear_network_has_none():
    linear = ClampUnit(0.0, -np.inf, np.inf)
    stack = from_sequential(nn.Sequential(nn.Linear(64, 20), linear, nn.Linear(20, 10)))
    assert transitions(stack, polygons(5)).tolist() == [[0] * 5]
    assert transitions(from_sequential(nn.Sequential(nn.Linear(64, 10))), polygons(2)).tolist() == [
        [0, 0]
    ]


def quantised(seed, units=("relu",), depth=3, width=16):
    """Integer weights, so that vertices with integer pixels lie on boundaries again and again."""
    stack = untrained(inputs=9, classes=3, depth=depth, width=width, units=units)
    rng = np.random.default_rng(seed)
    for tensors in (stack.weights, stack.biases):
        for values in tensors:
            values.copy_(torch.from_numpy(rng.integers(-1, 2, tuple(values.shape))))
    paths = torch.from_numpy(rng.integers(-2, 3, (6, 5, 9)).astype(float))
    return stack, paths


def rational_count(stack, path):
    """Transitions of a ReLU network with integer weights on a closed polygon, in fractions."""
    points = [[Fraction(int(v)) for v in vertex] for vertex in path]
    points.append(points[0])
    total = 0
    for weight, bias in zip(stack.weights[:-1], stack.biases[:-1], strict=True):
        w, b = [[int(v) for v in row] for row in weight[0]], [int(v) for v in bias[0]]
        z = [
            [sum(x * row[j] for x, row in zip(point, w, strict=True)) + b[j] for j in range(len(b))]
            for point in points
        ]
        for j in range(len(b)):
            signs = [1 if row[j] > 0 else -1 for row in z if row[j] != 0]
            total += sum(u != v for u, v in zip(signs, signs[1:] + signs[:1], strict=True))
        cut = [z[0]]
        for start, end in itertools.pairwise(z):
            where = sorted({u / (u - v) for u, v in zip(start, end, strict=True) if u * v < 0})
            cut += [[u + t * (v - u) for u, v in zip(start, end, strict=True)] for t in where] + [
                end
            ]
        points = [[max(u, Fraction(0)) for u in row] for row in cut]
    return total


@pytest.fixture(params=["products", "some products", "kinks", "torch"])
def route(request, monkeypatch):
    """Each of the ways from one layer to the next, whatever the sizes, and torch's."""
    if request.param == "torch":
        by_torch(monkeypatch)
    else:
        stride = {"products": 1, "some products": 3, "kinks": 10**9}[request.param]
        monkeypatch.setattr("sensigap.measures.polygons.deepen._stride", lambda *_: stride)


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("seed", range(6))
def test_quantised_weights_and_integer_pixels_against_exact_fractions(seed):
    stack, paths = quantised(seed)
    expected = [rational_count(stack, path) for path in paths.tolist()]
    assert transitions(stack, paths)[0].tolist() == expected


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("unit", UNITS)
def test_parity_by_either_route(unit):
    stack = untrained(units=[unit], width=12, gain=2.0)
    paths = polygons(1)
    points, place = samples(paths[0], 2**12)
    found = crossings(stack, paths)
    total, sampled = check_parity(stack, found, 0, points=points, place=place, period=8)
    assert total == int(transitions(stack, paths)) >= sampled > 0


@pytest.mark.usefixtures("kind")
def test_float32_decisions_miscount_where_float64_does_not():
    # two boundaries 1e-9 apart, passed by a path that turns between them: in float32 there is
    # no number between, so the float32 path passes both or neither
    def by_sign(dtype):
        x = torch.tensor([0.0, 1.0 + 5e-10], dtype=dtype)
        z = torch.stack([x - 1.0, x - torch.tensor(1.0 + 1e-9, dtype=dtype)])
        return int(((z[:, 1:] > 0) != (z[:, :-1] > 0)).sum()) * 2

    layer = nn.Linear(1, 2).double()
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.copy_(torch.tensor([-1.0, -1.0 - 1e-9], dtype=torch.float64))
    stack = from_sequential(nn.Sequential(layer, nn.ReLU(), nn.Linear(2, 1).double()))
    path = torch.tensor([[[0.0], [1.0 + 5e-10]]], dtype=torch.float64)
    assert int(transitions(stack, path)) == by_sign(torch.float64) == 2
    assert by_sign(torch.float32) == 0


networks_and_paths = st.tuples(
    st.integers(0, 10**6), st.sampled_from(sorted(UNITS)), st.integers(1, 3), st.integers(2, 12)
)


def random_case(case):
    seed, unit, depth, width = case
    rng = np.random.default_rng(seed)
    stack = untrained(inputs=5, classes=3, units=[unit], depth=depth, width=width, gain=3.0)
    for tensors in (stack.weights, stack.biases):
        for values in tensors:
            values.copy_(torch.from_numpy(rng.normal(size=tuple(values.shape))))
    return stack, torch.from_numpy(rng.normal(size=(3, 6, 5))), rng


@settings(max_examples=40, deadline=None)
@given(networks_and_paths)
def test_invariances(case):
    stack, paths, rng = random_case(case)
    expected = counted(stack, paths)
    assert counted(stack, paths.roll(2, 1)) == expected, "another first vertex"
    assert counted(stack, paths.flip(1)) == expected, "reversed"
    t = torch.from_numpy(rng.uniform(size=(3, 6, 1)))
    middle = paths + t * (paths.roll(-1, 1) - paths)
    refined = torch.stack([paths, middle, middle], 2).flatten(1, 2)
    assert counted(stack, refined) == expected, "refined edges, some of length 0"
    for l in range(stack.depth):
        order = torch.from_numpy(rng.permutation(stack.widths[l]))
        stack.weights[l] = stack.weights[l][:, :, order]
        stack.biases[l] = stack.biases[l][:, order]
        stack.weights[l + 1] = stack.weights[l + 1][:, order]
    assert counted(stack, paths) == expected, "permuted units"
    if case[1] == "relu":
        for l in range(stack.depth):
            factor = torch.from_numpy(rng.uniform(0.1, 10.0, stack.widths[l]))
            stack.weights[l] = stack.weights[l] * factor
            stack.biases[l] = stack.biases[l] * factor
            stack.weights[l + 1] = stack.weights[l + 1] / factor[:, None]
        assert counted(stack, paths) == expected, "rescaled layers"


@settings(max_examples=20, deadline=None)
@given(networks_and_paths)
def test_duplicated_units_count_each_and_dead_ones_nothing(case):
    stack, paths, _ = random_case(case)
    first = int((crossings(stack, paths).layer == 0).sum())
    expected = sum(counted(stack, paths)[0])
    # the first layer twice, with half the weight each, and a unit that is always at its lower bound
    w, b = stack.weights[0], stack.biases[0]
    stack.weights[0] = torch.cat([w, w, torch.zeros_like(w[:, :, :1])], 2)
    stack.biases[0] = torch.cat([b, b, torch.full_like(b[:, :1], -50.0)], 1)
    after = stack.weights[1]
    stack.weights[1] = torch.cat([after / 2, after / 2, torch.zeros_like(after[:, :1])], 1)
    low = float(stack.low[0, 0])
    assert low <= 0
    assert sum(counted(stack, paths)[0]) == expected + first


@pytest.mark.usefixtures("kind")
def test_a_network_is_counted_alike_alone_and_in_company_and_in_chunks():
    stack = untrained(units=sorted(UNITS))
    paths = polygons(40)
    together = transitions(stack, paths)
    assert together.shape == (4, 40)
    assert together.dtype == torch.int64
    for k in range(4):
        assert transitions(stack.select([k]), paths[7:9])[0].tolist() == together[k, 7:9].tolist()
    assert transitions(stack, iter(paths.split(7))).tolist() == together.tolist()
    assert transitions(stack, iter([])).shape == (4, 0)


@pytest.mark.usefixtures("kind")
def test_a_path_of_one_vertex_and_a_dead_layer_have_none():
    stack = untrained()
    assert transitions(stack, polygons(2)[:, :1]).tolist() == [[0, 0]]
    stack.weights[1].zero_()
    stack.biases[1].zero_()  # z = 0 everywhere in the second layer and its thresholds at 0
    stack.biases[2].zero_()
    found = crossings(stack, polygons(2))
    assert set(found.layer) == {0}


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("closed", [True, False])
def test_units_add_up_to_layers_and_layers_to_totals(closed):
    stack = untrained(units=sorted(UNITS), gain=2.0)
    paths = polygons(5)
    totals = transitions(stack, paths, closed=closed)
    layers = transitions(stack, paths, closed=closed, by="layer")
    units = transitions(stack, paths, closed=closed, by="unit")
    assert layers.shape == (4, 5, 3)
    assert units.shape == (4, 5, 96)
    assert units.min() == 0 < units.max()
    torch.testing.assert_close(layers.sum(2), totals)
    parts = units.split(stack.widths, 2)
    torch.testing.assert_close(torch.stack([part.sum(2) for part in parts], 2), layers)
    for k in range(4):
        found = crossings(stack, paths, network=k, closed=closed)
        expected = np.zeros((5, 96), int)
        np.add.at(expected, (found.path, 32 * found.layer + found.unit), 1)
        np.testing.assert_array_equal(units[k], expected)


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("unit", UNITS)
def test_counts_of_units_against_the_flips_of_samples(unit):
    stack = untrained(units=[unit], width=16, gain=2.0)
    path = polygons(1)
    units = transitions(stack, path, by="unit", closed=False)[0, 0].numpy()
    along = [a + t * (b - a) for a, b in itertools.pairwise(path[0]) for t in steps(2**13)]
    passed = codes(stack, 0, torch.stack(along))
    flips = (passed[1:] != passed[:-1]).sum(0).reshape(3, 2, 16).sum(1).ravel()
    # two crossings between samples are missed, one never is
    assert ((units - flips) % 2 == 0).all()
    assert (units >= flips).all()
    assert (units == flips).mean() > 0.9
    assert flips.sum() > 100


def steps(count):
    """Half steps in [0, 1]."""
    return (np.arange(count) + 0.5) / count


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("closed", [True, False])
def test_counts_along_paths_and_their_lengths(closed):
    stack = untrained(units=sorted(UNITS)[:2], gain=2.0)
    paths = polygons(3)
    edges = 8 if closed else 7
    fine = transitions_along(stack, paths, 6, closed=closed)
    coarse = transitions_along(stack, paths, closed=closed)
    assert fine.shape == (2, 3, edges * 6)
    torch.testing.assert_close(fine.reshape(2, 3, edges, 6).sum(3), coarse)
    torch.testing.assert_close(coarse.sum(2), transitions(stack, paths, closed=closed))
    for edge in range(edges):
        segment = paths[:, [edge, (edge + 1) % 8]]
        torch.testing.assert_close(transitions(stack, segment, closed=False), coarse[:, :, edge])
    lengths = part_lengths(paths, 6, closed=closed)
    assert lengths.shape == (3, edges * 6)
    assert float(lengths[1, 7]) == pytest.approx(float((paths[1, 2] - paths[1, 1]).norm()) / 6)


def test_positions_are_alike_with_either_kind_of_arrays(monkeypatch):
    stack = fitted("hardtanh")
    paths = polygons(4)
    one = crossings(stack, paths)
    by_torch(monkeypatch)
    other = crossings(stack, paths)
    orders = [np.lexsort((c.position, c.threshold, c.unit, c.layer, c.path)) for c in (one, other)]
    for name in ("path", "layer", "unit", "threshold"):
        np.testing.assert_array_equal(
            getattr(one, name)[orders[0]], getattr(other, name)[orders[1]]
        )
    np.testing.assert_allclose(one.position[orders[0]], other.position[orders[1]], atol=1e-9)


@pytest.mark.parametrize("bytes_at_once", [1, 2**16, 2**30])
@pytest.mark.parametrize("arrays", [NumpyArrays, TorchArrays])
def test_counts_do_not_depend_on_the_size_of_chunks(arrays, bytes_at_once, monkeypatch):
    stack, paths = untrained(), polygons(20)
    expected = transitions(stack, paths).tolist()
    if arrays is TorchArrays:
        by_torch(monkeypatch)
    monkeypatch.setattr(arrays, "chunk_bytes", bytes_at_once)
    monkeypatch.setattr(arrays, "chunk_rows", 1)
    assert transitions(stack, paths).tolist() == expected


def test_networks_on_a_processor_are_counted_by_numpy_and_on_a_device_by_torch():
    assert isinstance(arrays_on(torch.device("cpu")), NumpyArrays)
    found = arrays_on(torch.device("cuda:1"))
    assert isinstance(found, TorchArrays)
    assert found.device == torch.device("cuda:1")


def test_the_order_along_paths_is_by_two_keys():
    # 2^20 + 1 - 1e-12 rounds to 2^20 + 1
    point = np.array([2**20 + 1, 2**20, 2**20 + 1, 2**20])
    t = np.array([0.5, 1 - 1e-12, 0.0, 1 - 2e-12])
    assert sort_order(point, t).tolist() == [3, 1, 2, 0]
    order = TorchArrays("cpu").sort_order(torch.from_numpy(point), torch.from_numpy(t))
    assert order.tolist() == [3, 1, 2, 0]


def test_errors_say_what_is_wrong():
    stack = untrained()
    with pytest.raises(ValueError, match=r"expected shape \(point, vertex, 64\), found \(3, 64\)"):
        transitions(stack, torch.zeros(3, 64))
    paths = polygons(3)
    paths[1, 2, 3] = torch.nan
    with pytest.raises(ValueError, match="point 1"):
        transitions(stack, paths)
    with pytest.raises(ValueError, match="by: expected None, 'layer' or 'unit', found 'units'"):
        transitions(stack, polygons(1), by="units")
    with pytest.raises(TypeError, match=r"expected a Stack or an nn.Sequential, found Linear"):
        transitions(nn.Linear(64, 10), polygons(1))
    for function in (part_lengths, lambda *arguments: transitions_along(stack, *arguments)):
        with pytest.raises(ValueError, match="bins: expected 1 part of an edge or more, found 0"):
            function(polygons(1), 0)
        with pytest.raises(
            ValueError, match=r"expected shape \(point, vertex, .*\), found \(64,\)"
        ):
            function(torch.zeros(64))


def test_an_open_path_of_one_vertex_has_no_parts():
    for paths in (polygons(2)[:, :1], polygons(2)[:0, :1]):
        along = transitions_along(untrained(units=["relu", "relu6"]), paths, 3, closed=False)
        assert along.shape == (2, len(paths), 0)
        assert part_lengths(paths, 3, closed=False).shape == (len(paths), 0)


def test_paths_without_crossings_do_not_make_the_next_chunk_large(monkeypatch):
    stack, paths = untrained(), polygons(200)
    together = []
    walked = walk._walk_together

    def counted(layers, chunk, *arguments, **how):
        together.append(len(chunk))
        return walked(layers, chunk, *arguments, **how)

    monkeypatch.setattr(walk, "_walk_together", counted)
    monkeypatch.setattr(NumpyArrays, "chunk_bytes", 2**18)
    expected = transitions(stack, paths)
    largest = max(together)
    together.clear()
    still = paths[:1, :1].expand(100, 8, 64)  # paths that stay at a point
    assert torch.equal(transitions(stack, torch.cat([still, paths]))[:, 100:], expected)
    assert max(together) <= 8 * (largest + 1) < 100
