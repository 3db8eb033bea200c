import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from measure_helpers import polygons, untrained
from sensigap.measures import (
    crossings,
    jacobian_norm,
    jacobian_rows,
    measure_points,
    part_lengths,
    transitions,
    transitions_along,
)
from sensigap.measures.sequential import affine, depth_first
from sensigap.measures.sequential.backward import sequential_network
from sensigap.measures.sequential.depth_first import Walk
from sensigap.measures.sequential.stages import read
from sensigap.measures.sequential.transitions import sequential_crossings, sequential_transitions
from sensigap.networks import ClampUnit, HardSigmoid
from sensigap.units import UNITS

THRESHOLDS = {
    nn.ReLU: [0.0],
    nn.LeakyReLU: [0.0],
    nn.ReLU6: [0.0, 6.0],
    nn.Hardtanh: [-1.0, 1.0],
    nn.Hardsigmoid: [-3.0, 3.0],
    HardSigmoid: [-0.5, 0.5],
}
SMOOTH = [nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.ELU()]


def lively(model, seed=0, gain=1.0):
    """A float64 network in evaluation mode with biases and statistics that are not 0 and 1."""
    draws = torch.Generator().manual_seed(seed)

    def normal(like, scale):
        return scale * torch.randn(like.shape, generator=draws, dtype=torch.float64)

    model = model.double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                fan_in = module.weight[0].numel()
                module.weight.copy_(normal(module.weight, gain * (2 / fan_in) ** 0.5))
                if module.bias is not None:
                    module.bias.copy_(normal(module.bias, 0.2))
            elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.copy_(normal(module.running_mean, 0.3))
                module.running_var.copy_(normal(module.running_var, 1.0).exp())
                if module.affine:
                    module.weight.copy_(normal(module.weight, 1.0))
                    module.bias.copy_(normal(module.bias, 0.2))
    return model


def plain():
    return lively(
        nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(3, 4, 3),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 10),
        )
    )


def normalised():
    return lively(
        nn.Sequential(
            nn.Sequential(
                nn.Conv2d(1, 4, 3, padding="same", bias=False),
                nn.BatchNorm2d(4),
                nn.LeakyReLU(0.2),
                nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
            ),
            nn.Dropout2d(0.3),
            nn.Sequential(nn.Conv2d(4, 6, 2, groups=2), nn.Sequential(nn.ReLU6(inplace=True))),
            nn.Flatten(),
            nn.Linear(54, 12),
            nn.BatchNorm1d(12, affine=False),
            nn.Hardsigmoid(),
            nn.Dropout(),
            nn.Identity(),
            nn.Linear(12, 5),
        ),
        gain=2.0,
    )


def strided():
    return lively(
        nn.Sequential(
            nn.Conv2d(1, 4, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2)),
            nn.Hardtanh(),
            nn.AvgPool2d((2, 1), ceil_mode=True),
            nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4, dilation=2),
            nn.BatchNorm2d(8),
            HardSigmoid(),
            nn.Flatten(),
            nn.Linear(24, 4),
        ),
        gain=1.5,
    )


def unit_first():
    return lively(
        nn.Sequential(
            nn.Hardtanh(-0.4, 0.6),
            nn.Conv2d(1, 4, 3),
            nn.Conv2d(4, 3, 1),
            nn.ReLU(),
            nn.Flatten(),
        )
    )


NETWORKS = {f.__name__: f for f in (plain, normalised, strided, unit_first)}


@pytest.fixture(params=[0.0, 1e9], ids=["kinks", "points"])
def route(request, monkeypatch):
    """Each of the two ways to the last layer of units, whatever the sizes."""
    monkeypatch.setattr(depth_first, "KINK_COST", request.param)


def images(count=2):
    """Polygons (point, 8, 1, 8, 8) of some digits."""
    return polygons(count).reshape(count, 8, 1, 8, 8)


def codes(model, x):
    """Whether each threshold is passed (point, column), and (layer, unit, threshold) by column."""
    passed, names, layer = [], [], 0
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            continue
        if type(module) in THRESHOLDS:
            if isinstance(module, nn.Hardtanh) and not isinstance(module, nn.ReLU6):
                taus = [module.min_val, module.max_val]
            else:
                taus = THRESHOLDS[type(module)]
            z = x.flatten(1).clone()
            for index, tau in enumerate(taus):
                passed.append(z > tau)
                names += [(layer, unit, index) for unit in range(z.shape[1])]
            layer += 1
        x = module(x)
    return torch.cat(passed, 1).numpy(), names


def samples(path, count):
    """Points on a closed polygon at half steps, `count` an edge; their positions."""
    t = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    step = path.roll(-1, 0) - path
    points = path[:, None] + t.reshape(1, -1, *[1] * (path.ndim - 1)) * step[:, None]
    return points.flatten(0, 1), np.arange(len(path))[:, None] + t.numpy()


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("name", NETWORKS)
def test_parity_of_each_unit_and_interval_of_samples(name):
    model, paths = NETWORKS[name](), images(1)
    found = sequential_crossings(model, paths)
    points, place = samples(paths[0], 2**11)
    with torch.no_grad():
        sampled, names = codes(model, points)
    flips = sampled != np.roll(sampled, -1, axis=0)
    column = {key: k for k, key in enumerate(names)}
    columns = [column[key] for key in zip(found.layer, found.unit, found.threshold, strict=True)]
    place = place.ravel()
    interval = (np.searchsorted(place, found.position, side="right") - 1) % len(place)
    predicted = np.zeros(flips.shape, np.int64)
    np.add.at(predicted, (interval, columns), 1)
    near = np.abs(np.mod(found.position * 2**11, 1) - 0.5) < 1e-9 * 2**11
    usable = np.ones(len(place), bool)
    usable[np.mod(interval[near, None] + np.arange(-1, 2), len(place))] = False
    assert usable.mean() > 0.99
    np.testing.assert_array_equal(predicted[usable] % 2, flips[usable])
    assert len(found.position) >= flips.sum() > 100
    # and what else is asked of the network agrees with the positions
    by_layer = np.bincount(found.layer)
    assert sequential_transitions(model, paths, by="layer").tolist() == [by_layer.tolist()]
    by_unit = [
        np.bincount(found.unit[found.layer == l], minlength=stage.width)
        for l, stage in enumerate(read(model, (1, 8, 8))[:-1])
    ]
    by = sequential_transitions(model, paths, by="unit")
    assert by.tolist() == [np.concatenate(by_unit).tolist()]
    assert sequential_transitions(model, paths).tolist() == [len(found.position)]


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("unit", UNITS)
def test_fully_connected_networks_as_a_stack(unit):
    stack, paths = untrained(units=[unit], gain=2.0), polygons(5)
    model = stack.sequential(0)
    for closed in (True, False):
        expected = transitions(stack, paths, closed=closed)[0]
        assert torch.equal(sequential_transitions(model, paths, closed=closed), expected)


@pytest.mark.usefixtures("route")
def test_what_is_walked_at_once_changes_nothing(monkeypatch):
    model, paths = normalised(), images(2)
    whole = sequential_crossings(model, paths)
    monkeypatch.setattr(depth_first, "LEAST_ROWS", 1)
    monkeypatch.setattr(depth_first, "CHUNK_BYTES", 1)
    monkeypatch.setattr(depth_first, "KINKS", 1)
    monkeypatch.setattr(affine, "COLUMN_BYTES", 1)
    parts = sequential_crossings(model, paths)
    order, other = (
        np.lexsort((c.position, c.threshold, c.unit, c.layer, c.path)) for c in (whole, parts)
    )
    for name in ("path", "layer", "unit", "threshold"):
        np.testing.assert_array_equal(getattr(whole, name)[order], getattr(parts, name)[other])
    np.testing.assert_allclose(whole.position[order], parts.position[other], rtol=0, atol=1e-9)


@pytest.mark.usefixtures("route")
def test_memory_is_bounded_whatever_the_number_of_crossings(monkeypatch):
    monkeypatch.setattr(depth_first, "CHUNK_BYTES", 1)
    monkeypatch.setattr(depth_first, "LEAST_ROWS", 8)
    model = normalised()
    peaks = []
    for path in (images(1)[0], images(12).flatten(0, 1)):
        walk = Walk(read(model, (1, 8, 8)), closed=True, record=False)
        with torch.no_grad():
            walk.run(path)
        assert walk.held == 0
        peaks.append(walk.peak)
    assert sum(counts.sum() for counts in walk.counts) > 100 * max(peaks)
    layers = len(walk.counts)
    assert max(peaks) <= (layers + 1) * (walk.rows + 3)


def test_kinks_are_bounded(monkeypatch):
    monkeypatch.setattr(depth_first, "KINK_COST", 0.0)
    monkeypatch.setattr(depth_first, "KINKS", 500)
    sizes = []
    made = depth_first.Kinks.between
    monkeypatch.setattr(
        depth_first.Kinks,
        "between",
        lambda z, *arrays: sizes.append(len(arrays[0])) or made(z, *arrays),
    )
    sequential_transitions(plain(), images(1))
    assert len(sizes) > 10
    assert max(sizes) <= 500


def quantised(seed):
    """A convolutional network with integer weights and polygons of integer pixels."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2, 2, 2),
        nn.ReLU(),
        nn.Conv2d(2, 2, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2, 2),
    ).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(rng.integers(-1, 2, tuple(p.shape))))
    return model, torch.from_numpy(rng.integers(-2, 3, (4, 5, 1, 3, 3)).astype(float))


def rational_count(model, path):
    """Transitions of a ReLU network with integer weights on a closed polygon, in fractions."""
    points = [[Fraction(int(v)) for v in vertex.flatten()] for vertex in path]
    points.append(points[0])
    shape, total = path.shape[1:], 0
    for module in model:
        if isinstance(module, nn.ReLU):
            for values in zip(*points, strict=True):
                signs = [v > 0 for v in values if v != 0]
                total += sum(a != b for a, b in zip(signs, signs[1:] + signs[:1], strict=True))
            cut = points[:1]
            for start, end in itertools.pairwise(points):
                where = {u / (u - v) for u, v in zip(start, end, strict=True) if u * v < 0}
                for t in sorted(where):
                    cut.append([u + t * (v - u) for u, v in zip(start, end, strict=True)])
                cut.append(end)
            points = [[max(v, Fraction(0)) for v in point] for point in cut]
        elif isinstance(module, nn.Conv2d):
            with torch.no_grad():
                zero = module(torch.zeros(1, *shape, dtype=torch.float64))
                basis = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
                columns = (module(basis) - zero).flatten(1).T.int().tolist()
            bias, shape = zero.flatten().int().tolist(), zero.shape[1:]
            points = [
                [sum(w * v for w, v in zip(row, p, strict=True) if w) + b for row, b in rows]
                for p in points
                for rows in [list(zip(columns, bias, strict=True))]
            ]
    return total


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [1, 2**10])
def test_quantised_weights_and_integer_pixels_against_exact_fractions(seed, rows, monkeypatch):
    monkeypatch.setattr(depth_first, "LEAST_ROWS", rows)
    monkeypatch.setattr(depth_first, "CHUNK_BYTES", 1)
    monkeypatch.setattr(depth_first, "KINKS", 2**17 if rows > 1 else 10)
    model, paths = quantised(seed)
    expected = [rational_count(model, path) for path in paths]
    assert sequential_transitions(model, paths).tolist() == expected


@pytest.mark.parametrize("rows", [1, 100])
def test_paths_along_and_upon_boundaries(rows, monkeypatch):
    monkeypatch.setattr(depth_first, "LEAST_ROWS", rows)
    monkeypatch.setattr(depth_first, "CHUNK_BYTES", 1)
    model = nn.Sequential(nn.ReLU())  # z = x: the path itself is what passes 0

    def count(*values, closed=True):
        path = torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1)
        return int(sequential_transitions(model, path, closed=closed))

    assert count(1, 0, 1) == 0, "a touch"
    assert count(1, 0, -1, closed=False) == 1, "through a vertex"
    assert count(1, 0, 0, 0, -1, closed=False) == 1, "along the boundary, to the other side"
    assert count(1, 0, 0, 0, 1) == 0, "along the boundary and back"
    assert count(0, 0, 1, 1, 0) == 0, "starts on the boundary"
    assert count(0, 0, 1, -1) == 2, "starts on the boundary, closed on the other side"
    assert count(0, 0, 1, -1, closed=False) == 1
    assert count(0, 1e-14, -1e-14, 0, 1) == 0, "rounding"
    assert count(0, 0) == 0
    assert count(1) == 0
    assert count(1, -1, -1, -1, 1, 1) == 2, "edges of length 0"
    two = nn.Sequential(HardSigmoid(), nn.ReLU())  # the second one is never below 0
    path = torch.tensor([[[-1.0], [1.0]]])
    assert sequential_transitions(two, path, by="layer").tolist() == [[4, 0]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["plain", "strided", "unit_first"]), st.booleans())
def test_invariances(seed, name, by_kinks):
    rng = np.random.default_rng(seed)
    model = lively(NETWORKS[name](), seed=seed, gain=1.5)
    paths = torch.from_numpy(rng.normal(size=(1, 5, 1, 8, 8)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth_first, "KINK_COST", 0.0 if by_kinks else 1e9)
        patch.setattr(depth_first, "CHUNK_BYTES", 1)
        expected = sequential_transitions(model, paths, by="layer").tolist()
        assert sequential_transitions(model, paths.roll(2, 1), by="layer").tolist() == expected, (
            "first vertex"
        )
        assert sequential_transitions(model, paths.flip(1), by="layer").tolist() == expected, (
            "reversed"
        )
        t = torch.from_numpy(rng.uniform(size=(1, 5, 1, 1, 1)))
        middle = paths + t * (paths.roll(-1, 1) - paths)
        refined = torch.stack([paths, middle, middle], 2).flatten(1, 2)
        assert sequential_transitions(model, refined, by="layer").tolist() == expected, (
            "refined edges"
        )


def test_networks_without_units_and_chunks_of_points():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 3).double())
    assert sequential_transitions(linear, images(3)).tolist() == [0, 0, 0]
    model = plain()
    together = sequential_transitions(model, images(3))
    assert together.dtype == torch.int64
    assert torch.equal(sequential_transitions(model, iter(images(3).split(2))), together)
    assert sequential_transitions(model, iter([])).shape == (0,)
    # float32 weights are taken as they are
    rounded = model.float()
    exact = sequential_transitions(rounded, images(3))
    assert torch.equal(sequential_transitions(rounded.double(), images(3)), exact)


def logit_rows(model, x, **how):
    """The logit Jacobians (point, class, input) put together from the rows that are carried."""
    with torch.no_grad():
        network = sequential_network(model, tuple(x.shape[1:]))
        logits, derivatives = network.forward(x.double())
        top = logits.argmax(1)
        blocks, power = network.carry(top, derivatives, with_top=True, **how)
        rows = torch.cat(list(blocks), 2).double() * torch.exp2(power)[:, None, None]
        rows = torch.cat([rows[:, :1], rows[:, 1:] + rows[:, :1]], 1)
        others = torch.arange(network.classes).expand(len(x), -1)
        others = others[others != top[:, None]].reshape(len(x), -1)
        order = torch.cat([top[:, None], others], 1)
        rows = rows.gather(1, order.argsort(1)[..., None].expand_as(rows))
    return logits, rows


def with_unit(unit):
    return lively(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            unit,
            nn.AvgPool2d(2),
            nn.BatchNorm2d(4),
            nn.Flatten(),
            nn.Linear(16, 8),
            unit,
            nn.Linear(8, 3),
        )
    )


JACOBIANS = NETWORKS | {type(unit).__name__: lambda u=unit: with_unit(u) for unit in SMOOTH}


class Sixth(nn.Module):
    """nn.Hardsigmoid, whose slope torch rounds to float32 even in float64."""

    def forward(self, z):
        return (z / 6 + 0.5).clamp(0, 1)


def for_autograd(model):
    return nn.Sequential(*(Sixth() if isinstance(m, nn.Hardsigmoid) else m for m in model))


def test_the_public_functions_take_one_network_by_itself():
    model = plain()
    x = images(5)[:, 0]
    rows = torch.func.vmap(torch.func.jacrev(lambda p: torch.softmax(model(p[None])[0], -1)))(x)
    norms = rows.flatten(1).norm(dim=1)
    torch.testing.assert_close(jacobian_norm(model, x), norms, rtol=1e-9, atol=0)
    torch.testing.assert_close(jacobian_rows(model, x), rows, rtol=1e-8, atol=1e-10)
    spectral = torch.linalg.svdvals(rows.flatten(2))[:, 0]
    torch.testing.assert_close(
        jacobian_norm(model, x, order="spectral"), spectral, rtol=1e-9, atol=0
    )
    measured = measure_points(model, x)
    torch.testing.assert_close(measured.logits, model(x))
    assert measured.norm("logits").shape == (5,)
    paths = torch.stack([x, x.roll(1, -1), x.roll(1, 0)], 1)
    counts = transitions(model, paths)
    assert torch.equal(counts, sequential_transitions(model, paths))
    assert torch.equal(transitions(model, paths, by="layer").sum(1), counts)
    assert len(crossings(model, paths).path) == counts.sum()
    along = transitions_along(model, paths, bins=4)
    assert along.shape == part_lengths(paths, bins=4).shape == (5, 12)
    assert torch.equal(along.sum(1), counts)


@pytest.mark.parametrize("rescaled", [True, False])
@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobian_equals_autograd_in_float64(name, rescaled):
    model = JACOBIANS[name]()
    x = images(6)[:, 0]
    with torch.no_grad():
        peer = for_autograd(model)
        expected = torch.func.vmap(torch.func.jacrev(lambda p: peer(p[None])[0]))(x).flatten(2)
        logits, rows = logit_rows(model, x, rescaled=rescaled)
        torch.testing.assert_close(logits, model(x), rtol=1e-12, atol=1e-12)
    difference = (rows - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    assert difference.max() < 1e-9


@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobian_of_float32_networks(name):
    model = JACOBIANS[name]().float()
    x = images(6)[:, 0]
    _, found = logit_rows(model, x)
    _, exact = logit_rows(model.double(), x)
    difference = (found - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert difference.max() < 1e-5


@pytest.mark.parametrize("unit", [nn.Tanh(), nn.Sigmoid()])
def test_slopes_of_saturated_units_do_not_cancel(unit):
    stages = read(nn.Sequential(unit), (1,))
    z = torch.tensor([[-30.0], [20.0]], dtype=torch.float64)
    scale = 2.0 if isinstance(unit, nn.Tanh) else 1.0
    expected = scale**2 * torch.exp(-scale * z.abs())  # to first order
    torch.testing.assert_close(stages[0].unit.slope(z), expected, rtol=1e-8, atol=0)


def test_widest_row_and_deep_float32_networks():
    network = sequential_network(plain(), (1, 8, 8))
    assert network.widest == 3 * 8 * 8
    assert network.classes == 10
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()]
    for _ in range(20):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    deep = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 4))
    x = images(3)[:, 0]
    for gain in (1e-3, 1e3):  # the product of all layers leaves the range of float32
        model = lively(deep, gain=gain).float()
        _, found = logit_rows(model, x, rescaled=True)
        _, exact = logit_rows(model.double(), x, rescaled=True)
        assert exact.flatten(1).norm(dim=1).log10().abs().min() > 45
        torch.testing.assert_close(
            found.flatten(1).norm(dim=1), exact.flatten(1).norm(dim=1), rtol=1e-4, atol=0
        )


ERRORS = [
    (
        nn.MaxPool2d(2),
        TypeError,
        r"network\[1\]\[1\] \(MaxPool2d\) is not supported; supported are nn\.L",
    ),
    (nn.LSTM(8, 8), TypeError, r"network\[1\]\[1\] \(LSTM\) is not supported"),
    (nn.Softmax(1), TypeError, r"network\[1\]\[1\] \(Softmax\) is not supported: leave it out"),
    (
        nn.BatchNorm2d(3).train(),
        TypeError,
        r"network\[1\]\[1\] \(BatchNorm2d\) is in training mode",
    ),
    (
        nn.Dropout().train(),
        TypeError,
        r"network\[1\]\[1\] \(Dropout\) is in training mode: call \.eval",
    ),
    (
        nn.BatchNorm2d(3, track_running_stats=False).eval(),
        TypeError,
        "has no running statistics: make it with track_running_stats=True",
    ),
    (
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular").double(),
        TypeError,
        r"network\[1\]\[1\] \(Conv2d\) pads in the mode 'circular', supported is 'zeros'",
    ),
    (nn.Conv2d(3, 3, 2, padding="same").double(), TypeError, "pads by 'same' for an even kernel"),
    (nn.Flatten(0), TypeError, r"network\[1\]\[1\] \(Flatten\) changes other axes"),
    (
        nn.Linear(7, 3).double(),
        ValueError,
        r"network\[1\]\[1\] \(Linear\) does not take inputs of shape \(3, 8, 8\)",
    ),
    (
        nn.BatchNorm2d(5).double().eval(),
        ValueError,
        r"network\[1\]\[1\] \(BatchNorm2d\) does not take inputs of shape \(3, 8, 8\)",
    ),
    (nn.Linear(8, 3), TypeError, "expected all float32 or all float64, found torch.float32, torch"),
]


@pytest.mark.parametrize(("layer", "error", "message"), ERRORS)
def test_what_is_not_supported_is_named_with_its_place(layer, error, message):
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1).double(), nn.Sequential(nn.ReLU(), layer), nn.Flatten()
    )
    with pytest.raises(error, match=message):
        sequential_transitions(model, images(1))
    with pytest.raises(error, match=message):
        sequential_network(model, (1, 8, 8))


def test_smooth_units_have_no_transitions():
    with pytest.raises(
        TypeError, match=r"network\[1\] \(Tanh\) has no transitions.* Jacobian norm"
    ):
        sequential_transitions(with_unit(nn.Tanh()), images(1))


def test_other_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="expected None, 'layer' or 'unit', found 'edge'"):
        sequential_transitions(plain(), images(1), by="edge")

    class Own(nn.Sequential):
        def forward(self, x):
            return x

    with pytest.raises(TypeError, match=r"network\[1\] \(Own\) has a forward method of its own"):
        sequential_transitions(nn.Sequential(nn.ReLU(), Own()), images(1))
    with pytest.raises(ValueError, match=r"\(point, vertex, \*shape of an input\), found \(8, 8\)"):
        sequential_transitions(plain(), torch.zeros(8, 8))
    paths = images(3)
    paths[1, 2, 0, 3, 4] = torch.nan
    with pytest.raises(ValueError, match="point 1"):
        sequential_transitions(plain(), paths)
    with pytest.raises(ValueError, match=r"shape \(3, 6, 6\) at each point.*put nn.Flatten"):
        sequential_network(unit_first()[:-1], (1, 8, 8))
    with pytest.raises(TypeError, match=r"found torch.float16: call .float\(\)"):
        sequential_network(plain().half(), (1, 8, 8))


def test_clamps_without_a_bound():
    upper = nn.Sequential(ClampUnit(0.25, -np.inf, 1.0))
    found = sequential_crossings(upper, torch.tensor([[[-1.0], [2.0]]]), closed=False)
    assert found.threshold.tolist() == [1]
    np.testing.assert_allclose(found.position, [1.75 / 3])
    stages = read(upper, (1,))
    z = torch.tensor([[-5.0], [0.75], [3.0]], dtype=torch.float64)
    assert stages[0].unit.slope(z).flatten().tolist() == [1, 0, 0]
    # torch's own clamp may be without a bound too
    hardtanh = read(nn.Sequential(nn.Hardtanh(-np.inf, 1.0)), (1,))[0].unit
    assert hardtanh.slope(z).flatten().tolist() == [1, 1, 0]
    assert read(nn.Sequential(nn.LeakyReLU(1.0)), (1,))[0].unit.thresholds == ()


@pytest.mark.parametrize("divisor", [None, 5])
@pytest.mark.parametrize(("kernel", "padding"), [(2, 0), (2, 1), (3, 0), (3, 1), (4, 1)])
def test_jacobian_of_mean_pooling(kernel, padding, divisor):
    # with a kernel of 3 and padding 1 there are as many windows as without, but elsewhere
    pool = nn.AvgPool2d(kernel, padding=padding, divisor_override=divisor)
    model = nn.Sequential(pool, nn.Flatten())
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 6, 6)))
    expected = torch.func.vmap(torch.func.jacrev(lambda p: model(p[None])[0]))(x)
    torch.testing.assert_close(jacobian_rows(model, x, "logits"), expected)


def test_layers_that_compute_something_else_than_their_base_are_refused():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Squared(nn.ReLU):
        def forward(self, x):
            return x * x

    class Named(nn.ReLU):
        pass

    for layer in (Doubled(8, 8).double(), Squared()):
        message = rf"network\[1\] \({type(layer).__name__}\) has a forward method of its own"
        with pytest.raises(TypeError, match=message):
            sequential_transitions(nn.Sequential(nn.Identity(), layer), images(1))
    x = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    assert jacobian_rows(nn.Sequential(Named()), x, "logits").tolist() == [[[1, 0], [0, 0]]]
