"""Speed of the exact measures against sampling and automatic differentiation, as ratios in one run.

    python benchmarks/measures.py [--quick] [transitions] [ellipses] [jacobians] [convolutional]
        [slices]

Both sides run in this process, on one thread, on the same float64 (Jacobians: float32) networks;
times are processor seconds, the least of a few repetitions. Networks have random weights of gain
sqrt(2); paths are translation polygons of smooth random images and random ellipses.
"""

import argparse
import itertools
import math
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from sensigap.measures import jacobian_norm, paths, transitions
from sensigap.measures.ellipses import ellipse_transitions
from sensigap.measures.partition import partition
from sensigap.measures.sequential.stages import Stage, read
from sensigap.networks import Stack, from_sequential, initial
from sensigap.spec import NetworkSpec


def network(inputs: int, width: int, depth: int, count: int = 1, unit: str = "relu") -> Stack:
    """`count` float64 networks with small random biases."""
    specs = [
        NetworkSpec(
            dataset="none",
            train_size=1,
            depth=depth,
            width=width,
            unit=unit,
            optimizer="sgd",
            learning_rate=0.1,
            batch_size=1,
            gain=math.sqrt(2),
            steps=0,
            seed=seed,
            precision="float64",
        )
        for seed in range(count)
    ]
    stack = initial(specs, inputs, 10)
    draws = torch.Generator().manual_seed(0)
    for bias in stack.biases:
        bias.add_(0.1 * torch.randn(bias.shape, generator=draws, dtype=bias.dtype))
    return stack


def images(count: int, side: int) -> np.ndarray:
    """Standardised smooth random images (count, 1, side, side)."""
    noise = np.random.default_rng(0).standard_normal((count, 1, side, side))
    smooth = sum(np.roll(noise, (i, j), (2, 3)) for i in range(3) for j in range(3))
    smooth -= smooth.mean((1, 2, 3), keepdims=True)
    return smooth / smooth.std((1, 2, 3), keepdims=True)


def seconds(function: Callable[[], Any], repetitions: int = 3) -> tuple[float, Any]:
    """Least processor time of some calls, and the last result."""
    least = math.inf
    for _ in range(repetitions):
        start = time.process_time()
        result = function()
        least = min(least, time.process_time() - start)
    return least, result


def sampled(stack: Stack, points: Callable[[torch.Tensor], torch.Tensor], k: int) -> int:
    """Transitions of network 0 at k samples of a closed curve; `points` gives layer 1 there."""
    layers = list(zip(stack.weights[1:-1], stack.biases[1:-1], strict=True))
    thresholds = [
        [float(v[0, l]) for v in (stack.low, stack.high) if math.isfinite(float(v[0, l]))]
        for l in range(stack.depth)
    ]
    total, first, previous = 0, None, None
    for part in torch.arange(k, dtype=torch.float64).div(k).split(4096):
        z, codes = points(part), []
        for l in range(stack.depth):
            z = z + stack.shift[0, l]
            codes += [z > tau for tau in thresholds[l]]
            if l < stack.depth - 1:
                h = z.clamp(float(stack.low[0, l]), float(stack.high[0, l]))
                w, b = layers[l]
                z = torch.from_numpy(h.numpy() @ w[0].numpy()) + b[0]
        code = torch.cat(codes, 1)
        total += int(np.count_nonzero((code[1:] != code[:-1]).numpy()))
        total += 0 if previous is None else int((code[0] != previous).sum())
        first, previous = (code[0] if first is None else first), code[-1]
    return total + int((first != previous).sum())


def polygon(stack: Stack, vertices: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Layer 1 of network 0 along a closed polygon (vertex, d), at places in [0, 1)."""
    z = vertices @ stack.weights[0][0] + stack.biases[0][0]
    after = z.roll(-1, 0)

    def at(place: torch.Tensor) -> torch.Tensor:
        edge = (place * len(z)).long()
        t = (place * len(z) - edge)[:, None]
        return z[edge] + t * (after[edge] - z[edge])

    return at


def ellipse(stack: Stack, curve: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    """Layer 1 of network 0 along an ellipse (3, d), at places in [0, 1)."""
    c, a, b = torch.from_numpy(curve) @ stack.weights[0][0]

    def at(place: torch.Tensor) -> torch.Tensor:
        angle = 2 * math.pi * place[:, None]
        return c + stack.biases[0][0] + angle.cos() * a + angle.sin() * b

    return at


def single_path(stack: Stack, k: int, vertices: torch.Tensor) -> int:
    """Exact transitions of a ReLU network on one polygon, one path at a time, for comparison."""
    h, total = torch.cat([vertices, vertices[:1]]).numpy(), 0
    for l in range(stack.depth):
        z = h @ stack.weights[l][k].numpy() + stack.biases[l][k].numpy()
        above = z > 0
        row, unit = np.nonzero(above[1:] != above[:-1])
        total += len(row)
        if l == stack.depth - 1:
            break
        before, after = z[row, unit], z[row + 1, unit]
        t = before / (before - after)
        order = np.lexsort((np.append(np.zeros(len(z)), t), np.append(np.arange(len(z)), row)))
        new = z[row] + (z[row + 1] - z[row]) * t[:, None]
        new[np.arange(len(row)), unit] = 0
        h = np.maximum(np.concatenate([z, new])[order], 0)
    return total


def compare(name: str, stack: Stack, curves: list, exact: Callable, quick: bool) -> None:
    """One line: exact count against sampling at 2^20 and at the least power of 2 that is right."""
    exact_time, counts = seconds(lambda: exact(range(len(curves))))
    one_time, _ = seconds(lambda: exact([0]))
    k = 2**16 if quick else 2**20
    sampled_time, _ = seconds(lambda: sampled(stack, curves[0], k), 1)
    sampled_time *= 2**20 / k
    wrong, right_at = list(range(len(curves))), 2**6
    limit = 2**14 if quick else 2**20 if stack.inputs < 100 else 2**17
    while wrong and right_at < limit:
        right_at *= 2
        wrong = [i for i in wrong if sampled(stack, curves[i], right_at) != counts[i]]
    right_time, _ = seconds(lambda: sampled(stack, curves[0], right_at), 1)
    what = "the least right ones" if not wrong else f"where {len(wrong)} are still wrong"
    print(
        f"{name}: {np.mean(counts):.0f} transitions, exact {1e3 * exact_time / len(curves):.2f} ms"
        f" a curve ({1e3 * one_time:.2f} ms alone)\n"
        f"    against 2^20 samples {sampled_time / one_time:.0f}x one curve alone, "
        f"{sampled_time * len(curves) / exact_time:.0f}x in company\n"
        f"    against 2^{right_at.bit_length() - 1} samples, {what} of {len(curves)} curves: "
        f"{right_time * len(curves) / exact_time:.0f}x",
        flush=True,
    )


def bench_transitions(quick: bool) -> None:
    """Polygons: against sampling, and many networks and points against a loop over them."""
    cases = [(8, 64, 3, "relu"), (8, 64, 3, "hardtanh"), (28, 100, 5, "relu"), (28, 300, 3, "relu")]
    for side, width, depth, unit in cases[: 2 if quick else None]:
        stack = network(side * side, width, depth, unit=unit)
        vertices = torch.from_numpy(paths.translations(images(10 if quick else 50, side)))
        compare(
            f"polygons {side * side}-{width}x{depth} {unit}",
            stack,
            [polygon(stack, v) for v in vertices],
            lambda some: transitions(stack, vertices[list(some)])[0].tolist(),  # noqa: B023
            quick,
        )
    stack = network(64, 64, 3, count=4 if quick else 32)
    vertices = torch.from_numpy(paths.translations(images(50 if quick else 300, 8)))
    together, counts = seconds(lambda: transitions(stack, vertices), 2)
    few = range(min(len(vertices), 50))
    loop, alone = seconds(
        lambda: [single_path(stack, k, vertices[m]) for k in range(4) for m in few], 2
    )
    assert alone == counts[:4, : len(few)].flatten().tolist()
    single, again = seconds(
        lambda: [
            transitions(stack.select([k]), vertices[m : m + 1]).item()
            for k in range(4)
            for m in few
        ],
        2,
    )
    assert again == alone
    share = counts.numel() / len(alone) / together
    print(
        f"polygons 64-64x3, {len(stack)} networks x {len(vertices)} points: "
        f"{counts.numel() / together:.0f} a second, {single * share:.1f}x one call a path, "
        f"{loop * share:.1f}x a bare loop without checks or degenerate cases"
    )
    shapes = list(itertools.product((16, 32, 64, 128), (1, 2, 3)))
    took = sum(
        seconds(lambda: transitions(network(64, width, depth), vertices), 2)[0]  # noqa: B023
        for width, depth in shapes
    )
    print(
        f"polygons, networks of the default study's shapes: {took / len(shapes):.3f} s a network "
        f"of {len(vertices)} points",
        flush=True,
    )


def bench_ellipses(quick: bool) -> None:
    """Ellipses against sampling."""
    for inputs, width, depth, unit in ((784, 100, 5, "relu"), (784, 200, 3, "hardtanh"))[
        : 1 if quick else None
    ]:
        stack = network(inputs, width, depth, unit=unit)
        draws = np.random.default_rng(0)
        curves = np.stack([paths.random_ellipse(inputs, draws) for _ in range(10 if quick else 50)])
        compare(
            f"ellipses {inputs}-{width}x{depth} {unit}",
            stack,
            [ellipse(stack, curve) for curve in curves],
            lambda some: ellipse_transitions(stack, curves[list(some)], 24)[0].sum(1).tolist(),  # noqa: B023
            quick,
        )


def autograd_norms(model: nn.Sequential, x: torch.Tensor, chunk: int) -> torch.Tensor:
    """Softmax Jacobian norms by vmap(jacrev)."""
    rows = torch.func.vmap(torch.func.jacrev(lambda point: torch.softmax(model(point), -1)))
    return torch.cat([rows(part).detach().flatten(1).norm(dim=1) for part in x.split(chunk)])


def row_by_row(model: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Softmax Jacobian norms by one backward pass a class over all points."""
    x = x.clone().requires_grad_(True)
    f = torch.softmax(model(x), -1)
    rows = [torch.autograd.grad(f[:, c].sum(), x, retain_graph=True)[0] for c in range(f.shape[1])]
    return sum(row.square().sum(1) for row in rows).sqrt()


def one_projection(model: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """An estimate of the norms from one random projection of the output (not exact)."""
    x = x.clone().requires_grad_(True)
    f = torch.softmax(model(x), -1)
    v = torch.randn_like(f)
    v = v / v.norm(dim=1, keepdim=True) * math.sqrt(f.shape[1])
    return torch.autograd.grad((f * v).sum(), x)[0].norm(dim=1)


def least_seconds(functions: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, float]:
    """Least processor time of each function; they take turns, so that all meet the same load."""
    least = dict.fromkeys(functions, math.inf)
    for _ in range(repetitions):
        for name, function in functions.items():
            least[name] = min(least[name], seconds(function, 1)[0])
    return least


def bench_jacobians(quick: bool) -> None:
    """Softmax Jacobian norms, depth 3, float32, against automatic differentiation."""
    ratios = []
    for width, inputs, classes in itertools.product(
        (50, 200) if quick else (50, 200, 1000), (784, 3072), (10, 100)
    ):
        # test sets have thousands of points; where one takes long, fewer tell as much
        count = 2048 if classes == 10 or width < 1000 else 512
        torch.manual_seed(0)
        sizes = [inputs, width, width, width, classes]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
            nn.init.normal_(layers[-2].weight, 0, math.sqrt(2 / a))
        model, x = nn.Sequential(*layers[:-1]), torch.randn(count, inputs)
        stack = from_sequential(model)
        chunks = (256, 64, 16) if classes == 10 else (32, 8)
        functions = {
            "ours": partial(jacobian_norm, stack, x),
            "row by row": partial(row_by_row, model, x),
            "one projection": partial(one_projection, model, x),
        } | {f"chunk {chunk}": partial(autograd_norms, model, x, chunk) for chunk in chunks}
        times = least_seconds(functions, 2 if quick or width == 1000 else 3)
        peer = min(times[f"chunk {chunk}"] for chunk in chunks)
        exact = jacobian_norm(stack.to(torch.float64), x)[0]
        error = float(((jacobian_norm(stack, x)[0] - exact).abs() / exact).quantile(0.99))
        ratios.append(peer / times["ours"])
        print(
            f"jacobians {inputs}-{width}x3-{classes}, {count} points, "
            f"{1e6 * times['ours'] / count:.0f} us a point: {ratios[-1]:.2f}x vmap(jacrev), "
            f"{times['row by row'] / times['ours']:.2f}x row by row, "
            f"{times['one projection'] / times['ours']:.2f}x one projection; error {error:.0e}",
            flush=True,
        )
    mean = np.exp(np.mean(np.log(ratios)))
    print(f"jacobians: {mean:.2f}x vmap(jacrev) in the geometric mean, least {min(ratios):.2f}x")


def convolutional(channels: tuple[int, int]) -> nn.Sequential:
    """A float64 network of two convolutions on images of 28 x 28, gain sqrt(2)."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, channels[0], 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(*channels, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(channels[1] * 49, 10),
    ).double()
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, 0, math.sqrt(2 / layer.weight[0].numel()))
            nn.init.normal_(layer.bias, 0, 0.1)
    return model


@torch.no_grad()
def sampled_images(stages: list[Stage], vertices: torch.Tensor, k: int, chunk: int) -> int:
    """Transitions of a ReLU network at k samples of a closed polygon of images.

    The first convolution is interpolated along the edges. The others are evaluated by the library's
    own float64 convolution, which is faster than torch's.
    """
    first_layer, total, first, previous = stages[0].evaluate(vertices), 0, None, None
    after = first_layer.roll(-1, 0)
    for place in torch.arange(k, dtype=torch.float64).mul(len(vertices) / k).split(chunk):
        edge = place.long()
        z = torch.lerp(first_layer[edge], after[edge], (place - edge)[:, None, None, None])
        codes = [(z > 0).flatten(1)]
        for stage in stages[1:-1]:
            z = stage.evaluate(z.clamp_(min=0))
            codes.append((z > 0).flatten(1))
        code = torch.cat(codes, 1)
        total += int(np.count_nonzero((code[1:] != code[:-1]).numpy()))
        total += 0 if previous is None else int((code[0] != previous).sum())
        first, previous = (code[0] if first is None else first), code[-1]
    return total + int((first != previous).sum())


def bench_convolutional(quick: bool) -> None:
    """Two convolutions: transitions against sampling, Jacobians against vmap(jacrev)."""
    shape = (1, 28, 28)
    vertices = torch.from_numpy(paths.translations(images(3, 28))).reshape(3, 28, *shape)
    for channels in ((4, 8), (8, 16))[: 1 if quick else None]:
        model = convolutional(channels)
        stages, k = read(model, shape), 2**12 if quick else 2**15
        functions = {"ours": partial(transitions, model, vertices)} | {
            f"chunk {chunk}": partial(sampled_images, stages, vertices[0], k, chunk)
            for chunk in (16, 32, 64, 128)
        }
        times = least_seconds(functions, 3)
        ours = times.pop("ours") / len(vertices)
        peer = min(times.values()) * 2**20 / k
        counts = transitions(model, vertices).tolist()
        print(
            f"convolutional {channels}: {counts[0]} transitions "
            f"({sampled_images(stages, vertices[0], k, 64)} at 2^{k.bit_length() - 1} samples), "
            f"exact in {ours:.3f} s, {peer / ours:.0f}x 2^20 samples, one curve alone",
            flush=True,
        )
        model, x = model.float(), torch.from_numpy(images(128, 28)).float()

        def alone(point: torch.Tensor, model: nn.Sequential = model) -> torch.Tensor:
            return model(point[None])[0]

        functions = {"ours": partial(jacobian_norm, model, x)} | {
            f"chunk {chunk}": partial(autograd_norms, alone, x, chunk) for chunk in (128, 32, 8)
        }
        times = least_seconds(functions, 4)
        ours, peer = times.pop("ours") / len(x), min(times.values()) / len(x)
        norms, exact = jacobian_norm(model, x), jacobian_norm(model.double(), x)
        print(
            f"convolutional {channels}: Jacobian norms in {1e6 * ours:.0f} us a point, "
            f"{peer / ours:.2f}x vmap(jacrev); "
            f"error {float(((norms - exact).abs() / exact).quantile(0.99)):.0e}",
            flush=True,
        )


def bench_slices(quick: bool) -> None:
    """The exact partition of a plane against a grid of 1000 x 1000 points, both without layer 1."""
    points = np.random.default_rng(0).uniform(size=(3, 784))
    for depth, width, bias in ((5, 100, 1), (8, 300, 1), (15, 300, 1), (15, 300, 0))[
        : 1 if quick else None
    ]:
        stack = network(784, width, depth)
        for b in stack.biases:
            b.mul_(bias)
        frame, corners = paths.plane(points)
        middle = corners.mean(0) * bias
        frame[0] *= bias  # without biases also through 0
        reach = 0.75 * float(np.ptp(corners, axis=0).max())
        window = (middle[0] - reach, middle[0] + reach, middle[1] - reach, middle[1] + reach)
        took, found = seconds(
            lambda: partition(stack, 0, frame, window),  # noqa: B023
            1,
        )
        layers = [
            (w[0].numpy(), b[0].numpy()) for w, b in zip(stack.weights, stack.biases, strict=True)
        ]
        places = middle + np.random.default_rng(0).uniform(-reach, reach, (16384, 2))
        start = [v @ layers[0][0] for v in (frame[0], frame[1:])]

        def grid() -> None:
            for part in np.array_split(places, 4):  # noqa: B023
                h = start[0] + part @ start[1] + layers[0][1]  # noqa: B023
                for w, b in layers[1:-1]:  # noqa: B023
                    np.maximum(h, 0, out=h)
                    h = h @ w
                    h += b

        on_grid = seconds(grid)[0] * 1e6 / len(places)
        print(
            f"slices 784-{width}x{depth}{'' if bias else ' without biases, through 0'}: "
            f"{len(found)} polygons in {took:.1f} s, "
            f"{took / on_grid:.2f}x a grid of 1000 x 1000 ({on_grid:.1f} s)",
            flush=True,
        )


def main() -> None:
    """Runs the benchmarks named on the command line, all by default."""
    benches = {
        "transitions": bench_transitions,
        "ellipses": bench_ellipses,
        "jacobians": bench_jacobians,
        "convolutional": bench_convolutional,
        "slices": bench_slices,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("which", nargs="*", choices=[[], *benches], help="all by default")
    parser.add_argument(
        "--quick", action="store_true", help="smaller cases, 2^20 samples extrapolated"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.which or benches:
        benches[name](arguments.quick)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
