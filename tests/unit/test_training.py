"""The stack trainer: gradients, the same bits in any company, stops, restarts."""

import dataclasses
import functools
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sensigap import networks
from sensigap.training import stacking
from sensigap.training import trainer as trainer_module
from sensigap.training.batches import batches
from sensigap.training.lbfgs import LBFGSTrainer
from sensigap.training.optimizers import MINIBATCH_OPTIMIZERS
from sensigap.training.passes import (
    ForwardBackward,
    Layout,
    cross_entropy,
    product,
    runs_of,
    target_positions,
)
from sensigap.training.schedule import check_steps
from sensigap.training.trainer import StackTrainer
from training_helpers import CLASSES, TRAIN, UNIT_NAMES, make_data, make_spec, run, train

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(stacking.__file__).parents[2])}
PEERS = {
    "sgd": torch.optim.SGD,
    "momentum": functools.partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
    "rmsprop": torch.optim.RMSprop,
}


def flat(module, layout):
    """Parameters of an nn.Sequential in the layout's order."""
    row = torch.zeros(1, layout.length, dtype=torch.float64)
    linears = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    for view, bias, linear in zip(layout.weights(row), layout.biases(row), linears, strict=True):
        view[0] = linear.weight.detach().T
        bias[0, 0] = linear.bias.detach()
    return row[0]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_gradients_equal_autograd(depth, backend):
    specs = [
        make_spec(unit=unit, depth=depth, width=7, gain=2.0, seed=k, precision="float64")
        for k, unit in enumerate(UNIT_NAMES)
    ]
    stack = networks.initial(specs, 9, CLASSES)
    layout = Layout(9, depth, 7, CLASSES)
    rows = layout.pack(stack)
    for bias in layout.biases(rows):
        bias.normal_(generator=torch.Generator().manual_seed(1))
    stack = layout.unpack(rows, specs)
    gradients = torch.zeros_like(rows)
    x = torch.randn(4, 13, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = np.random.default_rng(3).integers(CLASSES, size=(4, 13))
    passes = ForwardBackward(layout, rows, gradients, x, runs=runs_of(UNIT_NAMES), backend=backend)
    passes.step(torch.from_numpy(target_positions(labels, CLASSES)))
    loss, right = cross_entropy(passes.logits, torch.from_numpy(labels))
    for k in range(4):
        module = stack.sequential(k)
        logits = module(x[k])
        expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[k]))
        expected.backward()
        with torch.no_grad():
            for layer in module:
                for parameter in layer.parameters():
                    parameter.copy_(parameter.grad)
        torch.testing.assert_close(gradients[k], flat(module, layout), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(loss[k].mean(), expected.detach(), rtol=1e-13, atol=0)
        assert torch.equal(right[k], logits.argmax(1) == torch.from_numpy(labels[k]))


def plain_loop(spec, data, steps):
    """One network trained by torch alone, on the same batches."""
    module = networks.initial([spec], data.train.inputs, CLASSES).sequential(0)
    optimizer = PEERS[spec.optimizer](module.parameters(), spec.learning_rate)
    labels = torch.from_numpy(data.train_labels)
    for index in torch.tensor(batches(spec.seed, TRAIN, spec.batch_size, 0, steps)):
        optimizer.zero_grad()
        x = data.train.plain[index]
        torch.nn.functional.cross_entropy(module(x), labels[index]).backward()
        optimizer.step()
    return module


@pytest.mark.parametrize("optimizer", MINIBATCH_OPTIMIZERS)
def test_training_end_to_end_equals_the_plain_loop_in_float64(optimizer):
    data = make_data(torch.float64)
    rate = 0.003 if optimizer in ("adam", "rmsprop") else 0.05
    specs = [
        make_spec(
            optimizer=optimizer,
            learning_rate=rate * (k + 1),
            unit=unit,
            seed=k,
            gain=1 + 0.5 * k,
            precision="float64",
            steps=100,
        )
        for k, unit in enumerate(UNIT_NAMES)
    ]
    finished = train(specs, data)
    layout = Layout(data.train.inputs, 2, 16, CLASSES)
    for spec in specs:
        ours = finished[spec.id].parameters
        theirs = flat(plain_loop(spec, data, 100), layout)
        assert (ours - theirs).norm() / theirs.norm() < 1e-12


def company(count, **fields):
    """Networks of one shape that differ in all that may differ in a stack."""
    return [
        make_spec(
            **{
                "seed": 100 + k,
                "unit": UNIT_NAMES[k % 4],
                "learning_rate": 0.01 * (1 + k % 3),
                "gain": 1.0 + k % 2,
                "labels": ("true", "random")[k // 2 % 2],
                "max_shift": k // 3 % 2,
                "flip": k % 5 == 0 and k // 3 % 2 == 1,
                "shift_mode": ("zeros", "wrap")[k // 6 % 2 * (k // 3 % 2)],
                "augmentation_share": (1.0, 0.4)[k // 2 % 2 * (k // 3 % 2)],
                "input_noise": (0.0, 0.3, 0.0)[k % 3],
            }
            | fields
        )
        for k in range(count)
    ]


@pytest.mark.parametrize("optimizer", MINIBATCH_OPTIMIZERS)
@pytest.mark.parametrize(
    ("shape", "width", "depth", "batch"),
    [((1, 8, 8), 32, 2, 32), ((1, 6, 5), 33, 3, 31), ((3, 5, 7), 13, 1, 17)],
)
def test_same_bits_in_any_company(optimizer, shape, width, depth, batch):
    data = make_data(shape=shape)
    size = {
        "width": width,
        "depth": depth,
        "batch_size": batch,
        "optimizer": optimizer,
        "steps": 40,
    }
    rate = 0.002 if optimizer in ("adam", "rmsprop") else 0.02
    drawn = {"max_shift": 1, "augmentation_share": 0.7, "shift_mode": "wrap", "input_noise": 0.2}
    network = make_spec(**size, learning_rate=rate, unit="relu6", seed=7, **drawn)
    alone = train([network], data)[network.id]
    others = company(63, **size)
    # stacks are sorted by unit: these put the network first, last, and anywhere
    first = [dataclasses.replace(other, unit="relu6") for other in others[:6]]
    last = [dataclasses.replace(other, unit="hardtanh") for other in others[:6]]
    for members, stack in (
        ([network, *first], 7),
        ([*last, network], 7),
        ([*others, network], 64),
        ([*others[:30], network, *others[30:]], 5),  # joins a running stack
    ):
        together = train(members, data, size=stack)[network.id]
        assert torch.equal(together.parameters, alone.parameters)
        for name in ("steps", "loss", "accuracy", "gradient_norm", "status", "test_loss"):
            assert getattr(together.record, name) == getattr(alone.record, name), name


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("interrupted_at", [1, 3, 9])
def test_an_interrupted_stack_goes_on_to_the_same_bits(optimizer, interrupted_at):
    # stops of their own make networks leave and join at different steps
    rate = {"momentum": 0.05, "adam": 0.01}[optimizer]
    specs = company(9, optimizer=optimizer, learning_rate=rate, stop="fitted", steps=120)
    expected = train(specs, size=4)
    trainer = StackTrainer(specs, make_data(), size=4)
    finished = {}
    for _ in range(interrupted_at):
        finished |= {network.spec.id: network for network in trainer.advance()}
    saved = trainer.save()
    assert saved
    left = [spec for spec in specs if spec.id not in finished]
    finished |= run(StackTrainer(left, make_data(), size=3, saved=saved))
    assert set(finished) == set(expected)
    assert {network.record.steps_done for network in finished.values()} > {120}
    for key, network in expected.items():
        assert torch.equal(finished[key].parameters, network.parameters)
        assert finished[key].record.loss == network.record.loss
        assert finished[key].record.status == network.record.status


def test_augmented_networks_do_not_need_the_table():
    specs = company(6)
    expected = train(specs)
    for key, network in train(specs, make_data(table_bytes=0)).items():
        assert torch.equal(network.parameters, expected[key].parameters)


def test_the_torch_route_agrees():
    specs = company(6, precision="float64")
    data = make_data(torch.float64)
    expected = train(specs, data)
    for key, network in train(specs, data, backend="torch").items():
        difference = network.parameters - expected[key].parameters
        assert difference.norm() / expected[key].parameters.norm() < 1e-10


def test_bf16_rounds_the_products_of_training_steps_alone():
    a, b = (
        torch.randn(2, *shape, generator=torch.Generator().manual_seed(k))
        for k, shape in enumerate([(5, 7), (7, 3)])
    )
    out = torch.empty(2, 5, 3)
    product(a, b, out, "bf16")()
    exact = a.double() @ b.double()
    # bfloat16 keeps 8 bits; inputs and output are rounded
    assert 1e-4 < (out - exact).norm() / exact.norm() < 2**-7
    rough, fine = make_spec(precision="bf16", steps=5), make_spec(steps=5)
    found, expected = (train([spec])[spec.id] for spec in (rough, fine))
    assert found.parameters.dtype == torch.float32
    difference = (found.parameters - expected.parameters).norm() / expected.parameters.norm()
    assert 0 < difference < 0.01
    # the losses are of the weights as they are
    stack = Layout(30, 2, 16, CLASSES).unpack(found.parameters[None], [rough])
    data = make_data()
    exact_loss = torch.nn.functional.cross_entropy(
        stack.to(torch.float64).logits(data.train.plain.double())[0],
        torch.from_numpy(data.train_labels),
    )
    assert found.record.train_loss == pytest.approx(float(exact_loss), rel=1e-5)


def test_tf32_needs_a_gpu():
    with pytest.raises(
        ValueError, match="'tf32': expected an NVIDIA GPU, found device 'cpu'; choose"
    ):
        StackTrainer([make_spec(precision="tf32")], make_data())


def test_divergence_is_a_status_and_keeps_finite_weights():
    wild = make_spec(learning_rate=1e30, seed=3)
    tame = make_spec(seed=4)
    finished = train([wild, tame])
    record = finished[wild.id].record
    assert record.status == "diverged"
    assert not math.isfinite(record.loss[-1])
    assert record.steps_done < 60
    assert finished[wild.id].parameters.isfinite().all()
    assert math.isfinite(record.train_loss)
    assert math.isfinite(record.test_loss)
    assert torch.equal(finished[tame.id].parameters, train([tame])[tame.id].parameters)


def test_a_network_that_diverges_at_once_keeps_its_initial_weights():
    spec = make_spec(learning_rate=math.inf)
    network = train([spec])[spec.id]
    assert (network.record.status, network.record.steps_done) == ("diverged", 1)
    start = networks.initial([spec], make_data().train.inputs, CLASSES)
    layout = Layout(make_data().train.inputs, 2, 16, CLASSES)
    assert torch.equal(network.parameters, layout.pack(start)[0])


def test_stop_rules():
    fixed = make_spec(steps=400, learning_rate=0.05)
    fitted = dataclasses.replace(fixed, stop="fitted")
    loss = dataclasses.replace(fixed, stop="loss", target_loss=0.1)
    found = train([fixed, fitted, loss])
    whole = found[fixed.id].record
    assert whole.steps == list(check_steps(400))
    assert whole.status == "fitted"
    assert whole.train_accuracy == 1.0
    first = next(k for k, accuracy in enumerate(whole.accuracy) if accuracy >= 1.0)
    record = found[fitted.id].record
    assert record.fit_step == record.steps_done == whole.steps[first] == whole.fit_step
    assert record.accuracy == whole.accuracy[: first + 1]
    first = next(k for k, value in enumerate(whole.loss) if value <= 0.1)
    assert found[loss.id].record.loss == whole.loss[: first + 1]
    short = make_spec(steps=1)
    assert train([short])[short.id].record.status == "not fitted"


def test_accuracy_and_loss_are_of_the_whole_sets_and_the_networks_own_labels():
    spec = make_spec(labels="random", unit="hardsigmoid")
    data = make_data()
    network = train([spec])[spec.id]
    layout = Layout(data.train.inputs, 2, 16, CLASSES)
    stack = layout.unpack(network.parameters[None], [spec]).to(torch.float64)
    trainer = StackTrainer([spec], data)
    labels = torch.from_numpy(trainer.members[0].labels)
    assert not torch.equal(labels, torch.from_numpy(data.train_labels))
    for x, y, loss, accuracy in (
        (data.train.plain, labels, network.record.train_loss, network.record.train_accuracy),
        (
            data.test_inputs,
            torch.from_numpy(data.test_labels),
            network.record.test_loss,
            network.record.test_accuracy,
        ),
    ):
        logits = stack.logits(x.double())[0]
        expected = torch.nn.functional.cross_entropy(logits, y)
        assert loss == pytest.approx(float(expected), rel=1e-5)
        assert accuracy == pytest.approx(float((logits.argmax(1) == y).double().mean()), abs=1e-12)
    assert network.record.loss[-1] == network.record.train_loss


def test_batches_are_permutations_and_a_closed_form_of_the_step():
    n, size, count = 50, 16, 3000  # 960 epochs: several blocks of permutations
    chain = batches(3, n, size, 0, count)
    epochs = chain.ravel().reshape(-1, n)
    assert np.array_equal(np.sort(epochs, axis=1), np.tile(np.arange(n), (len(epochs), 1)))
    assert len({epoch.tobytes() for epoch in epochs}) == len(epochs)
    for start, number in ((0, 1), (1, 1), (1023, 3), (2990, 10)):
        assert np.array_equal(batches(3, n, size, start, number), chain[start : start + number])
    assert not np.array_equal(batches(4, n, size, 0, 3), chain[:3])
    # each image is about as often in first place as any other
    firsts = np.bincount(epochs[:, 0], minlength=n)
    assert ((firsts - 19.2) ** 2 / 19.2).sum() < 95  # chi-squared, 49 degrees: 1 in 10,000


def test_a_full_batch_is_one_batch_an_epoch():
    data = make_data(torch.float64)
    spec = make_spec(batch_size=TRAIN, precision="float64", steps=50, learning_rate=0.05)
    module = networks.initial([spec], data.train.inputs, CLASSES).sequential(0)
    optimizer = PEERS["momentum"](module.parameters(), 0.05)
    labels = torch.from_numpy(data.train_labels)
    for _ in range(50):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(data.train.plain), labels).backward()
        optimizer.step()
    theirs = flat(module, Layout(data.train.inputs, 2, 16, CLASSES))
    ours = train([spec], data)[spec.id].parameters
    assert (ours - theirs).norm() / theirs.norm() < 1e-12


def test_batches_are_drawn_for_as_many_images_at_once_as_there_is_room(monkeypatch):
    specs = company(6)
    expected = train(specs)
    monkeypatch.setattr(trainer_module, "_SEGMENT_IMAGES", 1)
    for key, network in train(specs).items():
        assert torch.equal(network.parameters, expected[key].parameters)


@pytest.mark.parametrize("steps", [1, 2, 30, 1000, 2**16])
def test_checks_are_log_spaced_and_include_both_ends(steps):
    found = check_steps(steps)
    assert (found[0], found[-1]) == (1, steps)
    assert list(found) == sorted(set(found))
    assert len(found) <= 30


def test_out_of_memory_halves_the_stack_and_goes_on(monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    specs = company(8)
    expected = train(specs)
    step = ForwardBackward.step

    def limited(self, targets):
        if len(self.hidden[0]) > 2 and limited.calls > 5:
            raise torch.OutOfMemoryError
        limited.calls += 1
        step(self, targets)

    limited.calls = 0
    monkeypatch.setattr(ForwardBackward, "step", limited)
    finished = train(specs, size=8)
    assert "stack of 8 networks: halving it" in caplog.text
    assert "stack of 4 networks: halving it" in caplog.text
    assert set(finished) == set(expected)
    for key, network in expected.items():
        assert torch.equal(finished[key].parameters, network.parameters)


def test_evaluating_a_few_networks_at_a_time_changes_nothing(monkeypatch):
    specs = company(5)
    expected = train(specs)
    monkeypatch.setattr(trainer_module, "_EVALUATION_BYTES", {"cpu": 1})
    for key, network in train(specs).items():
        for name in ("loss", "accuracy", "train_loss", "test_loss", "test_accuracy"):
            assert getattr(network.record, name) == getattr(expected[key].record, name)


def test_small_networks_share_a_stack_and_large_ones_do_not():
    like = torch.empty(0)
    sizes = [
        stacking.stack_size(Layout(784, 3, width, 10), 128, 1, like)
        for width in (16, 100, 500, 2000)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 8
    assert sizes[-1] == 1


def test_the_trainer_needs_only_torch_and_numpy():
    blocked = (
        "pydantic",
        "zarr",
        "xarray",
        "pandas",
        "scipy",
        "filelock",
        "safetensors",
        "sklearn",
    )
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
import sensigap.training.lbfgs, sensigap.training.trainer
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)


def test_looking_for_a_gpu_does_not_import_torch():
    code = """
import sys
from sensigap.training.devices import has_gpu
has_gpu()
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)


def lbfgs_spec(**fields):
    values = {"optimizer": "lbfgs", "learning_rate": 1.0, "batch_size": TRAIN, "steps": 100}
    return make_spec(**values | fields)


@pytest.mark.parametrize("fields", [{"max_shift": 1}, {"flip": True}, {"input_noise": 0.1}])
def test_lbfgs_refuses_images_that_change(fields):
    with pytest.raises(ValueError, match="neither augmentation nor input noise with lbfgs"):
        LBFGSTrainer([lbfgs_spec(**fields)], make_data())


@pytest.mark.parametrize("unit", UNIT_NAMES)
def test_lbfgs_equals_torch(unit):
    data = make_data(torch.float64)
    spec = lbfgs_spec(unit=unit, precision="float64", steps=2)
    network = run(LBFGSTrainer([spec], data))[spec.id]
    module = networks.initial([spec], data.train.inputs, CLASSES).sequential(0)
    optimizer = torch.optim.LBFGS(
        module.parameters(), lr=1.0, max_iter=20, line_search_fn="strong_wolfe"
    )
    labels = torch.from_numpy(data.train_labels)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(data.train.plain), labels)
        loss.backward()
        return loss

    for _ in range(network.record.steps_done):
        optimizer.step(closure)
    theirs = flat(module, Layout(data.train.inputs, 2, 16, CLASSES))
    assert (network.parameters - theirs).norm() / theirs.norm() < 1e-9


def test_lbfgs_ends_by_its_tolerances_and_fits():
    specs = [lbfgs_spec(unit=unit, seed=k) for k, unit in enumerate(UNIT_NAMES)]
    for network in run(LBFGSTrainer(specs, make_data())).values():
        assert network.record.status == "fitted"
        assert network.record.steps_done < 100
        assert network.record.gradient_norm[-1] < 1e-3


def test_lbfgs_goes_on_after_an_interruption_to_the_same_bits():
    specs = [lbfgs_spec(labels="random", seed=seed, width=6) for seed in range(2)]
    expected = run(LBFGSTrainer(specs, make_data()))
    trainer = LBFGSTrainer(specs, make_data())
    for _ in range(3):
        assert not trainer.advance(0)
    (saved,) = trainer.save()
    assert saved.step == 3
    finished = run(LBFGSTrainer(specs, make_data(), saved=[saved]))
    for key, network in expected.items():
        assert network.record.steps_done > 3
        assert torch.equal(finished[key].parameters, network.parameters)
        assert finished[key].record.loss == network.record.loss


def test_lbfgs_diverges_without_a_warning():
    spec = lbfgs_spec(gain=1e30, depth=3)
    network = run(LBFGSTrainer([spec], make_data()))[spec.id]
    assert network.record.status == "diverged"
    assert network.parameters.isfinite().all()
