"""Input noise: its distribution, its place in the stream, and what it does to training."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from sensigap import cost, networks, seeds
from sensigap.datasets.known import KNOWN
from sensigap.training.batches import batches
from sensigap.training.noise import NoiseStream
from sensigap.training.passes import Layout
from test_training import flat, plain_loop
from training_helpers import CLASSES, TRAIN, make_data, make_spec, train

LIKE = torch.empty(0, dtype=torch.float64)


def noise(step, inputs=30, like=LIKE, **fields):
    """The noise (image, d) of one step."""
    spec = make_spec(**{"input_noise": 1.0} | fields)
    images = torch.zeros(spec.batch_size, inputs, dtype=like.dtype)
    NoiseStream(spec, inputs, like).add(images, step)
    return images


def slow_noise(spec, inputs, step):
    """The same draws, number by number, from scipy's quantiles and a stream read from its start."""
    count = spec.batch_size * inputs
    words = -(-count // 4)
    stream = seeds.generator(spec.seed, "input noise").bit_generator
    stream.random_raw(step * words)
    drawn = stream.random_raw(words)
    levels = (np.arange(2**16) + 0.5) / 2**16
    scale = spec.input_noise / np.sqrt(np.mean(stats.norm.ppf(levels) ** 2))
    values = []
    for word in drawn.tolist():
        for part in range(4):
            bits = word >> (16 * part) & 0xFFFF
            signed = bits - 0x10000 if bits >= 0x8000 else bits
            values.append(scale * stats.norm.ppf((signed + 0x8000 + 0.5) / 2**16))
    return np.array(values[:count]).reshape(spec.batch_size, inputs)


@pytest.mark.parametrize(("inputs", "batch"), [(30, 32), (7, 9)])
def test_it_is_a_slow_readers_noise_at_any_step(inputs, batch):
    spec = make_spec(input_noise=0.4, seed=5, batch_size=batch)
    stream = NoiseStream(spec, inputs, LIKE)
    for step in (0, 1, 2, 7, 3):  # on, ahead and back
        images = torch.ones(batch, inputs, dtype=torch.float64)
        stream.add(images, step)
        np.testing.assert_allclose(
            images - 1, slow_noise(spec, inputs, step), rtol=1e-9, atol=1e-13
        )


def test_it_is_normal():
    drawn = noise(3, inputs=4000, batch_size=250, input_noise=0.5).numpy().ravel() / 0.5
    count = drawn.size  # a million: standard errors 0.001, 0.0007, 0.0024, 0.005
    assert abs(drawn.mean()) < 4 / np.sqrt(count)
    assert abs(drawn.std() - 1) < 4 / np.sqrt(2 * count)
    assert abs(stats.skew(drawn)) < 4 * np.sqrt(6 / count)
    assert abs(stats.kurtosis(drawn)) < 4 * np.sqrt(24 / count) + 0.001
    assert stats.kstest(drawn, "norm").statistic < 1.95 / np.sqrt(count)  # 1 in 1,000
    assert 4 < np.abs(drawn).max() < 4.4


def test_every_image_step_and_seed_has_its_own():
    rows = torch.cat([noise(step, seed=seed, inputs=400) for step in range(4) for seed in range(3)])
    assert len(np.unique(rows.numpy(), axis=0)) == len(rows) == 4 * 3 * 32
    found = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    # correlations of independent rows: mean 0, standard deviation 1/20
    assert abs(found.mean()) < 4 / 20 / np.sqrt(len(found))
    assert abs(found.std() - 1 / 20) < 0.002
    assert np.abs(found).max() < 6 / 20
    assert torch.equal(noise(2, seed=1), noise(2, seed=1))
    # other hyper-parameters of a network change neither its noise nor, but for scale, its dose
    assert torch.equal(noise(2, unit="hardtanh", labels="random", gain=3.0), noise(2))
    torch.testing.assert_close(noise(2, input_noise=0.25), noise(2) / 4)
    torch.testing.assert_close(noise(2, like=torch.empty(0)).double(), noise(2), rtol=1e-6, atol=0)


def noisy_loop(spec, data, steps):
    """One network trained by torch alone, on the same batches with a slow reader's noise."""
    module = networks.initial([spec], data.train.inputs, CLASSES).sequential(0)
    optimizer = torch.optim.SGD(module.parameters(), spec.learning_rate, momentum=0.9)
    labels = torch.from_numpy(data.train_labels)
    for step, index in enumerate(
        torch.tensor(batches(spec.seed, TRAIN, spec.batch_size, 0, steps))
    ):
        optimizer.zero_grad()
        x = data.train.plain[index]
        x = x + torch.from_numpy(slow_noise(spec, data.train.inputs, step))
        torch.nn.functional.cross_entropy(module(x), labels[index]).backward()
        optimizer.step()
    return module


@pytest.mark.parametrize("batch", [32, TRAIN], ids=["minibatch", "full batch"])
def test_training_with_noise_equals_the_plain_loop(batch):
    data = make_data(torch.float64)
    specs = [
        make_spec(input_noise=0.3 * k, seed=k, batch_size=batch, precision="float64", steps=20)
        for k in range(3)
    ]
    finished = train(specs, data)
    layout = Layout(data.train.inputs, 2, 16, CLASSES)
    for spec in specs:
        loop = noisy_loop if spec.input_noise else plain_loop
        theirs = flat(loop(spec, data, 20), layout)
        assert (finished[spec.id].parameters - theirs).norm() / theirs.norm() < 1e-9


def test_losses_are_of_clean_inputs():
    spec = make_spec(input_noise=0.5, steps=30)
    network, data = train([spec])[spec.id], make_data()
    stack = Layout(data.train.inputs, 2, 16, CLASSES).unpack(network.parameters[None], [spec])
    for x, labels, found in (
        (data.train.plain, data.train_labels, network.record.train_loss),
        (data.test_inputs, data.test_labels, network.record.test_loss),
    ):
        expected = torch.nn.functional.cross_entropy(stack.logits(x)[0], torch.from_numpy(labels))
        assert found == pytest.approx(float(expected), rel=1e-5)
    clean = dataclasses.replace(spec, input_noise=0.0)
    assert train([clean])[clean.id].record.loss != network.record.loss


def test_its_cost_is_counted():
    plain = make_spec(batch_size=64, steps=1000)
    noisy = dataclasses.replace(plain, input_noise=0.1)
    numbers = 1000 * 64 * 64
    more = cost.training_flops(noisy, KNOWN["digits"]) - cost.training_flops(plain, KNOWN["digits"])
    assert 1e-9 < more / cost.CORE_RATE / numbers < 4e-9  # seconds a number
