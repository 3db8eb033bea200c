"""Complexity measures: by hand on small networks, and against slow independent ways."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from measure_helpers import digits, fitted, untrained
from sensigap.measures import complexity, sharpness
from sensigap.networks import Stack
from sensigap.units import UNITS

ALL_UNITS = tuple(UNITS)


def stack_of(*layers, unit="relu"):
    """A float64 stack of one network from (weights (in, out), biases (out,)) pairs."""
    weights, biases = (
        [torch.tensor([part], dtype=torch.float64) for part in parts]
        for parts in zip(*layers, strict=True)
    )
    bounds = (torch.full((1, len(layers) - 1), value, dtype=torch.float64) for value in UNITS[unit])
    return Stack(weights, biases, *bounds)


@pytest.fixture
def small():
    """2 inputs, 1 unit, 2 classes."""
    return stack_of(([[3], [4]], [1]), ([[1, -2]], [0, 2]))


@pytest.fixture
def points():
    """50 digits and, for each of four networks, labels of its own."""
    x = torch.from_numpy(digits()[0][:50])
    return x, torch.from_numpy(np.random.default_rng(0).integers(10, size=(4, 50)))


# --- by hand --------------------------------------------------------------------------------------


def test_norm_products_by_hand(small):
    # both layers have rank 1, so that their two norms agree: 5 and sqrt(5)
    expected = math.log10(5 * math.sqrt(5))
    assert complexity.frobenius_product(small).item() == pytest.approx(expected, rel=1e-12)
    assert complexity.spectral_product(small).item() == pytest.approx(expected, rel=1e-12)
    # diag(3, 4) has Frobenius norm 5 and largest singular value 4
    square = stack_of(([[3, 0], [0, 4]], [7, 7]), ([[1], [0]], [9]))
    assert complexity.frobenius_product(square).item() == pytest.approx(math.log10(5))
    assert complexity.spectral_product(square).item() == pytest.approx(math.log10(4))


def test_distances_by_hand(small):
    start = stack_of(([[3], [0]], [0]), ([[1, 0]], [0, 0]))
    # differences: weights 4 and -2, biases 1 and 2
    assert complexity.distance(small, start).item() == pytest.approx(math.sqrt(16 + 4 + 1 + 4))
    assert complexity.spectral_distance(small, start).item() == pytest.approx(math.sqrt(16 + 4))
    assert complexity.distance(small, small).item() == 0


def test_path_norm_by_hand(small):
    # from the inputs (9 + 16)(1 + 4), from the unit's bias 1 (1 + 4), from the logits' biases 4
    assert complexity.path_norm(small).item() == pytest.approx(math.log10(134) / 2, rel=1e-12)


def test_margin_and_fisher_rao_by_hand(small):
    x, labels = torch.tensor([[1.0, 1.0]]), torch.tensor([[0]])
    # the unit is at 8, the logits at 8 and -14
    assert complexity.inverse_margin(small, x, labels).item() == pytest.approx(22**-2)
    # along the weights the unit moves by 8, the logits by (8, -16) + (8, -14)
    slope = 46 / (1 + math.exp(22))
    found = complexity.fisher_rao(small, x, labels).item()
    assert found == pytest.approx(math.log10(slope), rel=1e-12)
    # two points: the root of the mean square; at (-1, -1) the unit is dead, the logits at (0, 2)
    both = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    found = complexity.fisher_rao(small, both, torch.tensor([[0, 1]])).item()
    other = 2 / (1 + math.exp(2))
    assert found == pytest.approx(math.log10(math.sqrt((slope**2 + other**2) / 2)), rel=1e-12)


def test_sharpness_of_one_layer_by_the_normal_distribution():
    # the margin at x is 3 x + 1; noise on two weights and two biases adds N(0, sigma^2 (2 x^2 + 2))
    stack = stack_of(([[2, -1]], [0.5, -0.5]))
    x, labels = torch.tensor([[2.0]]), torch.tensor([[0]])
    noise = sharpness.weight_noise(stack, 20_000, 0)
    for drop in (0.1, 0.3):
        sigma = 7 / math.sqrt(2 * 4 + 2) / stats.norm.isf(drop)
        found = sharpness.sharpness(stack, x, labels, noise, drop=drop).item()
        assert found == pytest.approx(sigma**-2, rel=0.05)
        # in proportion: (4 sigma^2 + e) 4 + (sigma^2 + e) 4 + 2 (sigma^2 / 4 + e), e = 1e-6
        sigma = 7 / math.sqrt(16 + 4 + 0.5) / stats.norm.isf(drop)
        found = sharpness.sharpness(stack, x, labels, noise, drop=drop, magnitude_aware=True).item()
        assert found == pytest.approx(sigma**-2, rel=0.05)


# --- against slow, independent ways ---------------------------------------------------------------


def test_norms_are_those_of_numpy():
    stack = untrained(units=ALL_UNITS, depth=3, width=17)
    start = untrained(units=ALL_UNITS, depth=3, width=17, gain=0.3)
    layers = list(zip(stack.weights, start.weights, strict=True))
    for k in range(4):
        for name, order in (("frobenius_product", "fro"), ("spectral_product", 2)):
            logs = [math.log10(np.linalg.norm(w[k].numpy(), order)) for w in stack.weights]
            assert getattr(complexity, name)(stack)[k].item() == pytest.approx(sum(logs), rel=1e-12)
        squares = [np.linalg.norm((w - v)[k].numpy(), 2) ** 2 for w, v in layers]
        assert complexity.spectral_distance(stack, start)[k].item() == pytest.approx(
            math.sqrt(sum(squares)), rel=1e-12
        )
        flat = torch.cat(
            [
                (a - b)[k].flatten()
                for a, b in zip(
                    stack.weights + stack.biases, start.weights + start.biases, strict=True
                )
            ]
        )
        assert complexity.distance(stack, start)[k].item() == pytest.approx(float(flat.norm()))


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (1, 4), (5, 5)])
def test_spectral_norms_of_every_shape(shape):
    matrices = torch.from_numpy(np.random.default_rng(0).normal(size=(6, *shape)))
    expected = np.linalg.norm(matrices.numpy(), 2, axis=(1, 2))
    np.testing.assert_allclose(complexity.spectral_norm(matrices), expected, rtol=1e-12)
    assert complexity.spectral_norm(torch.zeros(1, *shape)).item() == 0


def test_path_norm_is_the_sum_over_all_paths():
    stack = untrained(3, 2, units=("relu", "hardtanh"), depth=2, width=4, bias=0.5)
    for k in range(2):
        weights = [w[k].numpy() for w in stack.weights]
        biases = [b[k].numpy() for b in stack.biases]
        total = 0.0
        for path in itertools.product(range(3), range(4), range(4), range(2)):
            steps = zip(itertools.pairwise(path), weights, strict=True)
            total += math.prod(w[a, b] ** 2 for (a, b), w in steps)
        for layer, bias in enumerate(biases):
            rest = [range(size) for size in [4, 4, 2][layer:]]
            for path in itertools.product(*rest):
                steps = zip(itertools.pairwise(path), weights[layer + 1 :], strict=True)
                total += bias[path[0]] ** 2 * math.prod(w[a, b] ** 2 for (a, b), w in steps)
        assert complexity.path_norm(stack)[k].item() == pytest.approx(math.log10(total) / 2)


def test_fisher_rao_is_that_of_autograd(points):
    x, labels = points
    stack = untrained(units=ALL_UNITS, depth=3, width=12, gain=1.0)
    leaves = [*stack.weights, *stack.biases]
    squares = np.zeros(4)
    for leaf in leaves:
        leaf.requires_grad_(True)
    for point in range(50):
        z = stack.logits(x[point : point + 1].double())[:, 0]
        losses = torch.nn.functional.cross_entropy(z, labels[:, point], reduction="none")
        # networks do not share weights: the gradient of the sum holds each one's own
        gradients = torch.autograd.grad(losses.sum(), leaves)
        parts = [
            (leaf * slope).flatten(1).sum(1) for leaf, slope in zip(leaves, gradients, strict=True)
        ]
        squares += sum(parts).detach().numpy() ** 2
    for leaf in leaves:
        leaf.requires_grad_(False)
    expected = np.log10(np.sqrt(squares / 50))
    np.testing.assert_allclose(complexity.fisher_rao(stack, x, labels), expected, rtol=1e-9)


def test_fisher_rao_without_biases_is_liangs_identity(points):
    x, labels = points
    stack = untrained(units=("relu",) * 4, depth=3, width=12, bias=0.0)
    z = stack.logits(x.double())
    slope = torch.softmax(z, 2) - torch.nn.functional.one_hot(labels, 10)
    expected = 4 * (z * slope).sum(2).square().mean(1).sqrt()
    found = complexity.fisher_rao(stack, x, labels)
    np.testing.assert_allclose(found, expected.log10(), rtol=1e-9)


def test_margins_are_those_of_a_loop(points):
    x, labels = points
    stack = untrained(units=ALL_UNITS, depth=2, width=12)
    labels = stack.logits(x.double()).argmax(2)
    labels[:, :3] = (labels[:, :3] + 1) % 10
    for quantile in (0.1, 0.5):
        found = complexity.inverse_margin(stack, x, labels, quantile=quantile)
        for k in range(4):
            margins = []
            for point in range(50):
                z = stack.logits(x[point : point + 1].double())[k, 0].tolist()
                own = z.pop(labels[k, point])
                margins.append(own - max(z))
            expected = np.percentile(margins, 100 * quantile) ** -2
            assert found[k].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("magnitude_aware", [False, True])
def test_accuracy_under_noise_is_that_of_noisy_networks(points, magnitude_aware):
    x, labels = points
    for unit, precision in itertools.product(ALL_UNITS, ("float32", "float64")):
        stack = untrained(units=(unit,), depth=2, width=12, precision=precision)
        noise = sharpness.weight_noise(stack, 6, 3)
        noisy = sharpness._Noisy(stack, x.to(stack.dtype), labels[0], noise, magnitude_aware)
        for sigma in (1e-3, 0.1, 1.0):

            def disturbed(value, draw, sigma=sigma):
                scale = sigma
                if magnitude_aware:
                    scale = (sigma**2 * value.double() ** 2 + 1e-6).sqrt()
                return value + (scale * draw).to(value.dtype)

            right = 0
            for draw in range(6):
                other = stack.select([0])
                layers = zip(noise.weights, noise.biases, strict=True)
                for l, (w, b) in enumerate(layers):
                    other.weights[l] = disturbed(other.weights[l], w[draw])
                    other.biases[l] = disturbed(other.biases[l], b[draw])
                predicted = other.logits(x.to(stack.dtype))[0].argmax(1)
                right += int((predicted == labels[0]).sum())
            # in float32 a tie may fall either way
            slack = 0 if precision == "float64" else 1 / 300
            assert noisy.accuracy(sigma) == pytest.approx(right / 300, abs=slack + 1e-12)


def test_the_tolerated_noise_costs_about_the_drop(points):
    stack = fitted()
    x, labels = (torch.from_numpy(v[:150]) for v in digits())
    noise = sharpness.weight_noise(stack, 10, 0)
    for magnitude_aware, drop in itertools.product((False, True), (0.05, 0.1, 0.3)):
        sharp = sharpness.sharpness(
            stack, x, labels[None], noise, drop=drop, magnitude_aware=magnitude_aware
        )
        noisy = sharpness._Noisy(stack, x, labels, noise, magnitude_aware)
        lost = 1 - noisy.accuracy(sharp.item() ** -0.5)
        # a tenth of the drop, and the steps of 1 / 1500 of an average over points and draws
        assert lost == pytest.approx(drop, abs=0.1 * drop + 0.005)


# --- properties -----------------------------------------------------------------------------------


def test_rescaling_a_relu_layer_leaves_invariant_measures_unchanged(points):
    x, labels = points
    stack = untrained(units=("relu",) * 4, depth=3, width=12)
    other = stack.select(slice(None))
    other.weights = [w.clone() for w in stack.weights]
    other.biases = [b.clone() for b in stack.biases]
    other.weights[1] *= 7
    other.biases[1] *= 7
    other.weights[2] /= 7
    for name, arguments in (
        ("path_norm", ()),
        ("fisher_rao", (x, labels)),
        ("frobenius_product", ()),
        ("spectral_product", ()),
    ):
        measure = getattr(complexity, name)
        np.testing.assert_allclose(
            measure(other, *arguments), measure(stack, *arguments), rtol=1e-10, err_msg=name
        )
    assert (complexity.distance(stack, other) > 1).all()


def test_deep_wide_networks_do_not_overflow():
    size = 40
    for scale in (1e-30, 1e30):
        layers = [(np.full((size, size), scale).tolist(), [scale] * size)] * 16
        stack = stack_of(*layers)
        expected = 16 * math.log10(size * scale)
        assert complexity.frobenius_product(stack).item() == pytest.approx(expected)
        assert complexity.spectral_product(stack).item() == pytest.approx(expected)
        # size^17 paths from the inputs and size^k from each layer's biases
        paths = [(17, 16), *((k, k) for k in range(1, 17))]
        logs = [count * math.log10(size) + 2 * power * math.log10(scale) for count, power in paths]
        total = max(logs) + math.log10(sum(10 ** (log - max(logs)) for log in logs))
        assert complexity.path_norm(stack).item() == pytest.approx(total / 2, rel=1e-9)


def test_fisher_rao_of_a_sure_network_is_not_lost():
    # the other class has a probability of e^-2000, below what a float holds
    stack = stack_of(([[1000.0, -1000.0]], [0.0, 0.0]))
    x, labels = torch.tensor([[1.0]]), torch.tensor([[0]])
    expected = math.log10(2000) - 2000 / math.log(10)
    assert complexity.fisher_rao(stack, x, labels).item() == pytest.approx(expected, rel=1e-12)


def test_networks_of_zeros():
    zeros = stack_of(([[0.0], [0.0]], [0.0]), ([[0.0, 0.0]], [0.0, 0.0]))
    x, labels = torch.tensor([[1.0, 1.0]]), torch.tensor([[0]])
    for name in ("frobenius_product", "spectral_product", "path_norm"):
        assert getattr(complexity, name)(zeros).item() == -math.inf, name
    assert complexity.fisher_rao(zeros, x, labels).item() == -math.inf


def test_a_margin_that_is_not_positive_is_no_margin(small):
    x = torch.tensor([[1.0, 1.0]])
    assert math.isnan(complexity.inverse_margin(small, x, torch.tensor([[1]])).item())
    tied = stack_of(([[1.0, 1.0]], [0.0, 0.0]))
    found = complexity.inverse_margin(tied, torch.tensor([[1.0]]), torch.tensor([[0]]))
    assert math.isnan(found.item())


def test_noise_that_is_never_or_always_too_much_has_no_sharpness():
    one_class = stack_of(([[1.0]], [0.0]))
    x, labels = torch.tensor([[1.0]]), torch.tensor([[0]])
    noise = sharpness.weight_noise(one_class, 4, 0)
    assert math.isnan(sharpness.sharpness(one_class, x, labels, noise).item())
    # noise of 0.001 is far beyond these weights already
    tiny = stack_of(([[1e-6, -1e-6]], [0.0, 0.0]))
    noise = sharpness.weight_noise(tiny, 50, 0)
    assert math.isnan(sharpness.sharpness(tiny, x, labels, noise, magnitude_aware=True).item())
    assert sharpness.sharpness(tiny, x, labels, noise).item() > 1e9


def test_sharper_networks_are_sharper():
    # the same network with all its weights ten times as large tolerates ten times the noise
    stack = stack_of(([[2, -1]], [0.5, -0.5]))
    large = stack_of(([[20, -10]], [5.0, -5.0]))
    x, labels = torch.tensor([[2.0]]), torch.tensor([[0]])
    noise = sharpness.weight_noise(stack, 500, 0)
    one, other = (sharpness.sharpness(s, x, labels, noise).item() for s in (stack, large))
    assert one == pytest.approx(100 * other, rel=1e-9)


def test_a_network_does_not_depend_on_its_company(points):
    x, labels = points
    stack = untrained(units=ALL_UNITS, depth=2, width=12, precision="float32")
    labels = stack.logits(x).argmax(2)
    noise = sharpness.weight_noise(stack, 5, 0)
    together = sharpness.sharpness(stack, x, labels, noise)
    assert torch.isfinite(together).all()
    for k in range(4):
        alone = sharpness.sharpness(stack.select([k]), x, labels[k : k + 1], noise)
        assert alone.item() == together[k].item()


def test_chunks_change_nothing(points, monkeypatch):
    x, labels = points
    stack = untrained(units=ALL_UNITS, depth=2, width=12)
    right = stack.logits(x.double()).argmax(2)
    noise = sharpness.weight_noise(stack, 5, 0)

    def all_of():
        return torch.stack(
            [
                complexity.fisher_rao(stack, x, labels),
                complexity.inverse_margin(stack, x, right),
                sharpness.sharpness(stack, x, right, noise),
                sharpness.sharpness(stack, x, right, noise, magnitude_aware=True),
            ]
        )

    whole = all_of()
    for module in (complexity, sharpness):
        monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    np.testing.assert_allclose(all_of(), whole, rtol=1e-12)


def test_noise_is_standard_normal_and_seeded():
    stack = untrained(depth=2, width=32, precision="float32")
    noise = sharpness.weight_noise(stack, 20, 0)
    values = torch.cat([part.flatten() for part in (*noise.weights, *noise.biases)]).numpy()
    assert values.dtype == np.float32
    assert abs(values.mean()) < 4 / math.sqrt(len(values))
    assert values.std() == pytest.approx(1, rel=0.02)
    again, other = (sharpness.weight_noise(stack, 20, seed) for seed in (0, 1))
    for a, b, c in zip(noise.weights, again.weights, other.weights, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    # draws are added at the end: a study with more of them keeps those that it had
    more = sharpness.weight_noise(stack, 21, 0)
    for a, b in zip(noise.weights + noise.biases, more.weights + more.biases, strict=True):
        assert torch.equal(a, b[:20])


def test_a_distance_between_shapes_is_refused(small):
    other = stack_of(([[3, 1], [4, 1]], [1, 1]), ([[1, -2], [1, 1]], [0, 2]))
    for measure in (complexity.distance, complexity.spectral_distance):
        with pytest.raises(ValueError, match="two stacks of one shape, found layers"):
            measure(small, other)
