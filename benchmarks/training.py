"""Training speed against public peers, as ratios from one run.

    python benchmarks/training.py                  # this host's CPU: one process a core
    python benchmarks/training.py --device cuda    # one GPU
    python benchmarks/training.py --quick          # three sizes

Needs torch and numpy only; the jitted jax.vmap ensemble is measured where JAX is installed.

Compared, each on the same work (minibatch momentum SGD, batches drawn without replacement, no
evaluation), by the throughput of the whole machine:

    engine      this project's stacks
    loop        one network at a time on each core: nn.Sequential, fused SGD, batches by index
    loop, all   the same in one process that has all cores
    vmap        torch.func.functional_call under vmap and grad, on stacked weights
    jax         jitted jax.vmap with lax.scan

Every method is given the best of its stack sizes. 'of peak' is the achieved rate over that of the
best square matrix product measured in the same run, by numpy or torch.
"""

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
CLASSES = 10
IMAGES = 1000
RATE, MOMENTUM = 0.01, 0.9
SHAPES = {64: (1, 8, 8), 784: (1, 28, 28), 3072: (3, 32, 32)}

#: inputs, width, hidden layers, batch
SIZES = [
    (64, 16, 1, 64),
    (64, 32, 2, 64),
    (64, 64, 3, 64),
    (64, 100, 3, 64),
    (64, 100, 10, 64),
    (784, 32, 2, 128),
    (784, 100, 3, 128),
    (784, 100, 5, 128),
    (784, 200, 5, 128),
    (784, 500, 3, 128),
    (784, 1000, 3, 128),
    (3072, 100, 2, 128),
    (3072, 200, 3, 128),
    (3072, 1000, 2, 128),
]
QUICK = [(64, 32, 2, 64), (64, 100, 3, 64), (784, 100, 3, 128)]

Size = tuple[int, int, int, int]
#: a function that makes some steps, and how many steps of one network those are
Workload = tuple[Callable[[], object], int]


def step_flops(inputs: int, width: int, depth: int, batch: int) -> float:
    """Floating-point operations of the matrix products of one network's step."""
    sizes = [inputs, *[width] * depth, CLASSES]
    products = sum(a * b for a, b in itertools.pairwise(sizes))
    return 2.0 * batch * (3 * products - inputs * width)


def examples(inputs: int, device: str) -> tuple:
    """Random inputs (IMAGES, d) and classes, on the device."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES, inputs, generator=generator)
    y = torch.randint(0, CLASSES, (IMAGES,), generator=generator)
    return x.to(device), y.to(device)


def engine(size: Size, stack: int, device: str) -> Workload:
    """This project's stack trainer; its size of stack is its own choice, `stack` only if not 0."""
    inputs, width, depth, batch = size
    import numpy as np
    import torch

    sys.path.insert(0, str(SOURCE))
    from sensigap.spec import NetworkSpec
    from sensigap.training.augmentation import ImageTable
    from sensigap.training.trainer import Data, StackTrainer

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (IMAGES, *SHAPES[inputs]), dtype=np.uint8)
    table = ImageTable(pixels, device=device)
    labels = rng.integers(0, CLASSES, IMAGES)
    units = ("relu", "relu6", "hardtanh", "hardsigmoid")
    specs = [
        NetworkSpec(
            dataset="benchmark",
            train_size=IMAGES,
            depth=depth,
            width=width,
            unit=units[seed % 4],
            optimizer="momentum",
            learning_rate=RATE * (1 + seed % 3) / 3,
            batch_size=batch,
            gain=1.0,
            steps=10**9,  # checks are log-spaced: none falls into the measurement
            seed=seed,
        )
        for seed in range(stack or 1024)
    ]
    data = Data(table, labels, table.plain, labels, CLASSES)
    trainer = StackTrainer(specs, data, size=stack or None)
    while trainer.members[0].step < 200 and step_flops(inputs, width, depth, batch) < 1e8:
        trainer.advance()
    steps = 16

    def run() -> None:
        with torch.no_grad():
            trainer._steps(steps)

    return run, steps * len(trainer.members)


def loop(size: Size, stack: int, device: str) -> Workload:
    """The plain loop: one network at a time."""
    inputs, width, depth, batch = size
    import torch
    from torch import nn

    x, y = examples(inputs, device)
    torch.manual_seed(0)
    sizes = [inputs, *[width] * depth]
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(width, CLASSES)).to(device)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, fused=True)
    loss = nn.CrossEntropyLoss()

    def run() -> None:
        order = torch.randperm(IMAGES, device=device)
        for index in order.split(batch)[: IMAGES // batch]:
            optimizer.zero_grad(set_to_none=True)
            loss(network(x[index]), y[index]).backward()
            optimizer.step()

    return run, IMAGES // batch


def vmap(size: Size, stack: int, device: str) -> Workload:
    """torch.func ensembling on stacked weights."""
    inputs, width, depth, batch = size
    import torch
    from torch import nn
    from torch.func import functional_call, grad, stack_module_state
    from torch.func import vmap as torch_vmap

    x, y = examples(inputs, device)
    sizes = [inputs, *[width] * depth]

    def make() -> nn.Sequential:
        layers = [
            layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())
        ]
        return nn.Sequential(*layers, nn.Linear(width, CLASSES)).to(device)

    networks = [make() for _ in range(stack)]
    parameters, _ = stack_module_state(networks)
    parameters = {name: value.detach() for name, value in parameters.items()}
    velocity = {name: torch.zeros_like(value) for name, value in parameters.items()}
    base = networks[0]

    def loss(weights: dict, inputs_: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(base, weights, (inputs_,)), labels)

    gradient = torch_vmap(grad(loss))
    names = list(parameters)

    def run() -> None:
        order = torch.stack([torch.randperm(IMAGES, device=device) for _ in range(stack)])
        for index in order.split(batch, 1)[: IMAGES // batch]:
            found = gradient(parameters, x[index], y[index])
            with torch.no_grad():
                torch._foreach_mul_([velocity[n] for n in names], MOMENTUM)
                torch._foreach_add_([velocity[n] for n in names], [found[n] for n in names])
                torch._foreach_add_(
                    [parameters[n] for n in names], [velocity[n] for n in names], alpha=-RATE
                )

    return run, stack * (IMAGES // batch)


def jax(size: Size, stack: int, device: str) -> Workload:
    """A jitted jax.vmap ensemble, lax.scan over the batches of an epoch."""
    inputs, width, depth, batch = size
    import jax as library
    import jax.numpy as jnp
    import numpy as np

    x, y = (jnp.asarray(part.cpu().numpy()) for part in examples(inputs, "cpu"))
    sizes = [inputs, *[width] * depth, CLASSES]
    rng = np.random.default_rng(0)
    parameters = [
        (
            jnp.asarray(rng.standard_normal((stack, a, b), np.float32) / math.sqrt(a)),
            jnp.zeros((stack, b)),
        )
        for a, b in itertools.pairwise(sizes)
    ]
    velocity = library.tree.map(jnp.zeros_like, parameters)

    def loss(weights: list, index: object) -> object:
        h = x[index]
        for w, b in weights[:-1]:
            h = library.nn.relu(h @ w + b)
        w, b = weights[-1]
        logs = library.nn.log_softmax(h @ w + b)
        return -jnp.take_along_axis(logs, y[index][:, None], 1).mean()

    def step(carry: tuple, index: object) -> tuple:
        weights, moving = carry
        found = library.vmap(library.grad(loss))(weights, index)
        moving = library.tree.map(lambda v, g: MOMENTUM * v + g, moving, found)
        return (library.tree.map(lambda p, v: p - RATE * v, weights, moving), moving), None

    scan = library.jit(lambda carry, indices: library.lax.scan(step, carry, indices)[0])
    state = [(parameters, velocity)]
    count = IMAGES // batch

    def run() -> None:
        order = rng.permuted(np.tile(np.arange(IMAGES), (stack, 1)), axis=1)[:, : count * batch]
        indices = order.reshape(stack, count, batch).swapaxes(0, 1)
        state[0] = library.block_until_ready(scan(state[0], jnp.asarray(indices)))

    return run, stack * count


def products(backend: str, device: str) -> Workload:
    """Square matrix products of 1,024, each counted as a step, to find the device's best rate."""
    import torch

    a, b = torch.randn(2, 1024, 1024, device=device)
    out = torch.empty_like(a)
    if backend == "numpy":
        import numpy as np

        return lambda: np.matmul(a.numpy(), b.numpy(), out=out.numpy()), 1
    return lambda: torch.mm(a, b, out=out), 1


METHODS = {"engine": engine, "loop": loop, "loop, all": loop, "vmap": vmap, "jax": jax}


def work(arguments: dict) -> None:
    """A worker: says 'ready', waits for a line, measures, and prints steps a second."""
    import torch

    device = arguments["device"]
    torch.set_num_threads(arguments["threads"])
    if arguments["method"] == "products":
        run, steps = products(arguments["backend"], device)
    else:
        run, steps = METHODS[arguments["method"]](
            tuple(arguments["size"]), arguments["stack"], device
        )
    for _ in range(2):
        run()
    synchronise(device)
    print("ready", flush=True)
    sys.stdin.readline()
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < arguments["seconds"]:
        run()
        synchronise(device)
        done += steps
    print(json.dumps(done / spent), flush=True)


def synchronise(device: str) -> None:
    """Waits for the GPU, if it is one."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def measure(processes: int, threads: int, **arguments: object) -> float:
    """Steps a second of `processes` workers that run at the same time."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    }
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    arguments["threads"] = threads
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(processes)
    ]
    total = 0.0
    for worker in workers:
        if worker.stdout.readline().strip() != "ready":
            raise SystemExit(f"a worker failed: {arguments}")
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        total += json.loads(worker.stdout.readline())
        worker.wait()
    return total


def has_jax() -> bool:
    """Whether JAX can be imported."""
    import importlib.util

    return importlib.util.find_spec("jax") is not None


def stacks(method: str, size: Size, device: str) -> list[int]:
    """Stack sizes that a method is given to choose from."""
    if method in ("loop", "loop, all"):
        return [1]
    if device != "cpu":
        return [256]
    if method == "engine":
        return [0]
    large = size[0] * size[1] + size[1] ** 2 * (size[2] - 1) > 100_000
    return [1, 4] if large else [8, 32]


def compare(
    sizes: list, methods: list[str], device: str, seconds: float, repeats: int
) -> Iterator[dict]:
    """Steps a second of every method at every size: the best stack size, the median of repeats."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if device != "cpu":
        cores = 1
    backends = ("numpy", "torch") if device == "cpu" else ("torch",)
    peak = max(
        2
        * 1024**3
        * measure(cores, 1, method="products", backend=backend, device=device, seconds=1)
        for backend in backends
    )
    for size in sizes:
        found: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(repeats):  # methods take turns, so that a slow minute hits all of them
            for name in methods:
                processes, threads = (1, cores) if name == "loop, all" else (cores, 1)
                found[name].append(
                    max(
                        measure(
                            processes,
                            threads,
                            method=name,
                            size=size,
                            stack=stack,
                            device=device,
                            seconds=seconds,
                        )
                        for stack in stacks(name, size, device)
                    )
                )
        rates = {name: sorted(values)[len(values) // 2] for name, values in found.items()}
        yield {"size": size, "rates": rates, "peak": peak, "cores": cores}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="three sizes")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds a measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--size", type=int, nargs=4, action="append", metavar=("INPUTS", "WIDTH", "DEPTH", "BATCH")
    )
    parser.add_argument("--peers", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(json.loads(arguments.worker))
        return
    import numpy as np
    import torch

    where = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, numpy {np.__version__}")
    methods = ["engine", *(name for name in arguments.peers if name != "engine")]
    unavailable = [] if has_jax() and arguments.device == "cpu" else ["jax"]
    unavailable += ["loop, all"] if arguments.device == "cuda" else []
    methods = [name for name in methods if name not in unavailable]
    sizes = arguments.size or (QUICK if arguments.quick else SIZES)
    ratios: dict[str, list[float]] = {}
    for k, row in enumerate(
        compare(sizes, methods, arguments.device, arguments.seconds, arguments.repeats)
    ):
        rates = row["rates"]
        others = [name for name in rates if name != "engine"]
        if k == 0:
            print(f"processes: {row['cores']}, peak {row['peak'] / 1e9:.0f} GFLOP/s")
            columns = "".join(f"{'/ ' + name:>12}" for name in others)
            print(
                f"{'inputs-width x depth, batch':28}{'us a step':>10}{'networks/s':>11}"
                f"{'GFLOP/s':>9}{'of peak':>8}{columns}"
            )
        inputs, width, depth, batch = row["size"]
        flops = rates["engine"] * step_flops(*row["size"])
        for name in others:
            ratios.setdefault(name, []).append(rates["engine"] / rates[name])
        print(
            f"{f'{inputs}-{width}x{depth}, {batch}':28}{1e6 / rates['engine']:10.1f}"
            f"{rates['engine'] / 1000:11.2f}{flops / 1e9:9.0f}{flops / row['peak']:8.2f}"
            + "".join(f"{ratios[name][-1]:12.2f}" for name in others),
            flush=True,
        )
    means = ", ".join(
        f"{name} {math.exp(sum(map(math.log, values)) / len(values)):.2f}"
        for name, values in ratios.items()
    )
    print(f"geometric means, engine over: {means}")
    print("networks/s: networks of 1,000 steps; the whole machine's")


if __name__ == "__main__":
    main()
