"""A whole cohort: its files, kills and restarts, damaged checkpoints, two jobs at once."""

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sensigap import checkpoints, datasets, interrupt, survey, weights
from sensigap.datasets.labels import training_labels
from sensigap.spec import NetworkSpec
from sensigap.training import Settings, devices, train_cohort
from sensigap.training import cohort as cohort_module
from sensigap.training.lbfgs import LBFGSTrainer
from sensigap.training.schedule import check_steps
from sensigap.training.trainer import StackTrainer
from training_helpers import UNIT_NAMES, make_spec

JOB = """
import json, logging, sys
import torch
from sensigap.spec import NetworkSpec
from sensigap.training import Settings, train_cohort
logging.basicConfig(level=logging.INFO)
torch.set_num_threads(1)
specs = [NetworkSpec.from_json(text) for text in json.loads(sys.argv[1])]
train_cohort(specs, *sys.argv[2:5], Settings(checkpoint_seconds=float(sys.argv[5]), stack_size=5))
"""


def spec_of(**fields):
    return make_spec(**{"train_size": 200, "batch_size": 32, "steps": 150} | fields)


def some_specs():
    """Two shapes, two schedules, all units, L-BFGS, a diverging network."""
    minibatch = [
        spec_of(
            seed=k,
            unit=UNIT_NAMES[k % 4],
            width=(16, 24)[k // 6],
            optimizer=("momentum", "adam")[k // 6],
            learning_rate=(0.03, 0.003)[k // 6],
            labels=("true", "random")[k % 2],
            max_shift=k // 3 % 2,
            shift_mode=("zeros", "wrap")[k // 4 % 2 * (k // 3 % 2)],
            augmentation_share=(1.0, 0.3)[k % 2 * (k // 3 % 2)],
            input_noise=(0.0, 0.2)[k % 4 // 2],
            steps=(150, 400)[k // 4 % 2],
        )
        for k in range(12)
    ]
    full = spec_of(optimizer="lbfgs", learning_rate=1.0, batch_size=200, steps=100)
    return [*minibatch, full, spec_of(learning_rate=1e20)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.zarr"
    datasets.prepare("digits", path)
    return path


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """Specs, weights and training store of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("cohort")
    specs = some_specs()
    train_cohort(specs, store, folder / "w.safetensors", folder / "curves.zarr")
    assert {path.name for path in folder.iterdir()} <= {
        "w.safetensors",
        "w.safetensors.checkpoint",
        "curves.zarr",
        ".w.safetensors.lock",
    }
    return specs, folder / "w.safetensors", folder / "curves.zarr"


def rows(path):
    """Every network's weights and biases, by id."""
    return {
        spec.id: [part[k] for part in (*stack.weights, *stack.biases)]
        for members, stack in weights.load(path)
        for k, spec in enumerate(members)
    }


def assert_same_weights(a, b):
    found, expected = rows(a), rows(b)
    assert set(found) == set(expected)
    for key, parts in expected.items():
        assert all(torch.equal(p, q) for p, q in zip(found[key], parts, strict=True))


def test_the_training_store_says_what_became_of_each_network(trained, store):
    specs, weights_path, curves = trained
    dataset = survey.read(curves, "training").load()
    assert dataset.network.values.tolist() == [spec.id for spec in specs]
    union = set(check_steps(150)) | set(check_steps(400))
    assert set(dataset.step.values.tolist()) >= union
    images = datasets.load(store)
    subset = datasets.training_subset(images, 200, 0)
    x = torch.from_numpy(datasets.standardise(images.train_images[subset])).double()
    test = torch.from_numpy(datasets.standardise(images.test_images)).double()
    stacks = {
        spec.id: stack.select([k]).to(torch.float64)
        for members, stack in weights.load(weights_path)
        for k, spec in enumerate(members)
    }
    for spec in specs:
        row = dataset.sel(network=spec.id)
        labels = torch.from_numpy(training_labels(spec, images.train_labels[subset], 10))
        for inputs, y, loss, accuracy in (
            (x, labels, row.train_loss, row.train_accuracy),
            (test, torch.from_numpy(images.test_labels), row.test_loss, row.test_accuracy),
        ):
            logits = stacks[spec.id].logits(inputs)[0]
            expected = torch.nn.functional.cross_entropy(logits, y)
            assert float(loss) == pytest.approx(float(expected), rel=1e-4, abs=1e-7)
            right = float((logits.argmax(1) == y).double().mean())
            assert float(accuracy) == pytest.approx(right, abs=0.0011)
        fitted = float(row.train_accuracy) >= spec.fit_accuracy
        diverged = spec.learning_rate > 1
        status = "diverged" if diverged else "fitted" if fitted else "not fitted"
        assert str(row.status.values) == status
        assert int(row.parameters) == stacks[spec.id].parameters
        assert float(row.train_seconds) > 0
        done = int(row.steps_done)
        checks = row.curve_accuracy.dropna("check")
        if not diverged:
            steps = dataset.step.values[np.isin(dataset.step.values, check_steps(spec.steps))]
            at = row.step.values[np.isfinite(row.curve_loss.values)]
            assert set(at) <= set(steps.tolist()) | {done}
            assert at.max() == done
            assert float(checks[-1]) == float(row.train_accuracy)
            if spec.optimizer != "lbfgs":
                assert done == spec.steps
        if int(row.fit_step) >= 0:
            assert bool(row.curve_accuracy.values[row.step.values == int(row.fit_step)] == 1.0)
    assert {"fitted", "not fitted", "diverged"} <= set(dataset.status.values.tolist())


@contextlib.contextmanager
def job_of(specs, store, folder, checkpoint_seconds):
    """A process that trains a cohort; killed at the end if it has not ended by then."""
    texts = json.dumps([spec.to_json() for spec in specs])
    paths = [store, folder / "w.safetensors", folder / "curves.zarr"]
    source = str(Path(cohort_module.__file__).parents[2])
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, texts, *map(str, paths), str(checkpoint_seconds)],
        env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield job
    finally:
        job.kill()
        job.communicate()


def await_file(path, job, seconds=60):
    ends = time.monotonic() + seconds
    while not path.exists():
        assert job.poll() is None, job.stderr.read()
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_killed_again_and_again_it_ends_with_the_same_weights(store, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    specs = [dataclasses.replace(spec, steps=spec.steps * 25) for spec in some_specs()[:12]]
    reference = tmp_path / "reference"
    train_cohort(specs, store, reference / "w.safetensors", reference / "curves.zarr")
    folder = tmp_path / "killed"
    folder.mkdir()
    moments = random.Random(5)
    checkpoint = folder / "w.safetensors.checkpoint"
    progress = [0]
    for _ in range(3):
        with job_of(specs, store, folder, 0.1) as job:
            await_file(checkpoint, job)
            written = checkpoint.stat().st_mtime_ns
            while checkpoint.stat().st_mtime_ns == written:
                assert job.poll() is None, job.stderr.read()
                time.sleep(0.02)
            time.sleep(moments.uniform(0, 0.3))
        assert job.returncode == -signal.SIGKILL
        assert not (folder / "w.safetensors").exists()
        header, _ = checkpoints.read(checkpoint)
        made = sum(NetworkSpec.from_json(entry["spec"]).steps for entry in header["finished"])
        progress.append(made + sum(entry["step"] for entry in header["running"]))
    assert progress == sorted(set(progress))  # each run went on where the last was killed
    train_cohort(specs, store, folder / "w.safetensors", folder / "curves.zarr")
    assert "resuming from" in caplog.text
    assert_same_weights(folder / "w.safetensors", reference / "w.safetensors")
    header, _ = checkpoints.read(checkpoint)
    assert (len(header["finished"]), header["running"]) == (len(specs), [])
    a, b = (survey.read(f / "curves.zarr", "training").load() for f in (folder, reference))
    for name in ("status", "steps_done", "fit_step", "curve_loss", "test_accuracy"):
        assert a[name].equals(b[name]), name


@pytest.fixture
def interrupted(store, tmp_path, monkeypatch):
    """A folder with the checkpoint of a cohort that was interrupted in its middle."""
    save = cohort_module._Cohort._save

    def stop(self, running):
        save(self, running)
        if len(self.finished) >= 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cohort_module._Cohort, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            train_cohort(
                some_specs(),
                store,
                tmp_path / "w.safetensors",
                tmp_path / "curves.zarr",
                Settings(checkpoint_seconds=0.001, stack_size=3),
            )
    return tmp_path


@pytest.mark.parametrize("damage", ["cut short", "a byte flipped", "empty"])
def test_a_damaged_checkpoint_is_named_set_aside_and_the_work_redone(
    interrupted, trained, store, caplog, damage
):
    checkpoint = interrupted / "w.safetensors.checkpoint"
    content = bytearray(checkpoint.read_bytes())
    if damage == "cut short":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    else:
        content[-100] ^= 1
    checkpoint.write_bytes(content)
    train_cohort(some_specs(), store, interrupted / "w.safetensors", interrupted / "curves.zarr")
    assert f"checkpoint {checkpoint} is damaged" in caplog.text
    assert (interrupted / "w.safetensors.checkpoint.damaged").exists()
    assert_same_weights(interrupted / "w.safetensors", trained[1])


def test_only_what_is_left_is_trained_after_an_interruption(interrupted, trained, store, caplog):
    caplog.set_level(logging.INFO)
    header, _ = checkpoints.read(interrupted / "w.safetensors.checkpoint")
    assert 4 <= len(header["finished"]) < len(some_specs())
    train_cohort(some_specs(), store, interrupted / "w.safetensors", interrupted / "curves.zarr")
    assert f"{len(header['finished'])} of {len(some_specs())} networks done" in caplog.text
    assert_same_weights(interrupted / "w.safetensors", trained[1])


def test_a_checkpoint_of_other_code_is_not_used(interrupted, trained, store, caplog, monkeypatch):
    monkeypatch.setattr(cohort_module, "made_by", lambda: "changed")
    train_cohort(some_specs(), store, interrupted / "w.safetensors", interrupted / "curves.zarr")
    assert "was written by other code" in caplog.text
    assert_same_weights(interrupted / "w.safetensors", trained[1])


def test_a_successor_waits_for_an_orphan_and_takes_its_results(store, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    # seconds of work, so that the orphan is still at it when the successor comes
    specs = [dataclasses.replace(spec, steps=spec.steps * 60) for spec in some_specs()[:6]]
    with job_of(specs, store, tmp_path, 0.1) as orphan:
        await_file(tmp_path / "w.safetensors.checkpoint", orphan)
        train_cohort(specs, store, tmp_path / "w.safetensors", tmp_path / "curves.zarr")
        assert orphan.wait(60) == 0, orphan.stderr.read()
    assert "being worked on by another process" in caplog.text
    assert "has been written meanwhile" in caplog.text
    assert set(rows(tmp_path / "w.safetensors")) == {spec.id for spec in specs}


def test_a_gpu_is_leased_and_named_in_the_store(store, tmp_path, monkeypatch):
    monkeypatch.setenv(devices.PRETEND, "1")
    monkeypatch.setattr(devices, "_lock_folder", lambda: tmp_path / "locks")
    train_cohort([spec_of(steps=2)], store, tmp_path / "w.safetensors", tmp_path / "c.zarr")
    assert survey.read(tmp_path / "c.zarr", "training").attrs["device"] == "GPU pretend 0"


def test_networks_of_another_data_set_are_an_error(store, tmp_path):
    specs = [spec_of(), spec_of(dataset="mnist")]
    with pytest.raises(ValueError, match="data set mnist, the store is of digits"):
        train_cohort(specs, store, tmp_path / "w.safetensors", tmp_path / "c.zarr")
    assert not (tmp_path / "w.safetensors").exists()


def test_a_checkpoint_of_another_route_is_not_used(interrupted, trained, store, caplog):
    paths = interrupted / "w.safetensors", interrupted / "curves.zarr"
    train_cohort(some_specs(), store, *paths, Settings(backend="torch"))
    assert "was written on cpu, products by default" in caplog.text


def test_lost_files_are_written_again_without_training(store, tmp_path, monkeypatch):
    paths = tmp_path / "w.safetensors", tmp_path / "curves.zarr"
    specs = some_specs()
    train_cohort(specs, store, *paths)
    content = paths[0].read_bytes()
    before = survey.read(paths[1], "training").load()
    paths[0].unlink()
    shutil.rmtree(paths[1])

    def no_step(*_, **__):
        raise AssertionError("a network was trained")

    monkeypatch.setattr(cohort_module, "training_data", no_step)
    for trainer in (StackTrainer, LBFGSTrainer):
        monkeypatch.setattr(trainer, "__init__", no_step)
        monkeypatch.setattr(trainer, "advance", no_step)
    checkpoint = checkpoints.beside(paths[0])
    written = checkpoint.stat().st_mtime_ns
    train_cohort(specs, store, *paths)
    assert paths[0].read_bytes() == content
    assert survey.read(paths[1], "training").load().equals(before)
    assert checkpoint.stat().st_mtime_ns == written
    checkpoints.discard(paths[0])
    checkpoints.discard(paths[0])
    assert not checkpoint.exists()
    assert paths[0].read_bytes() == content


@pytest.fixture
def ask(monkeypatch):
    """Has the process be asked to end, as by a signal within `deferred`; again to take it back."""

    def ask(made=True):
        monkeypatch.setattr(interrupt._requests, "made", made)

    yield ask
    ask(False)


def stop_at(monkeypatch, ask, advances):
    """Asks to end within the advance of that number, counted over all groups."""
    count = itertools.count(1)
    for trainer in (StackTrainer, LBFGSTrainer):

        def advance(self, seconds, original=trainer.advance):
            assert seconds <= 1.0
            if next(count) == advances:
                ask()
            return original(self, seconds)

        monkeypatch.setattr(trainer, "advance", advance)
    return count


def steps_in(checkpoint):
    header, _ = checkpoints.read(checkpoint)
    made = sum(entry["record"]["steps"][-1] for entry in header["finished"])
    return made + sum(entry["step"] for entry in header["running"])


def test_asked_to_end_it_keeps_every_step_that_was_made(trained, store, tmp_path, monkeypatch, ask):
    paths = tmp_path / "w.safetensors", tmp_path / "curves.zarr"
    checkpoint = checkpoints.beside(paths[0])
    told, seen = [], [-1]
    while not paths[0].exists():
        ask(False)
        # within a group, at its end and at the beginning of the next: every ninth call
        with monkeypatch.context() as patch:
            stop_at(patch, ask, 9)
            try:
                train_cohort(some_specs(), store, *paths, Settings(stack_size=3))
            except interrupt.Interrupted as request:
                told.append(str(request))
        seen.append(steps_in(checkpoint))
        assert seen[-1] >= seen[-2]
    assert len(told) > 3
    assert all(f"kept in {checkpoint}" in text for text in told)
    assert sorted(set(seen[:-1])) == seen[:-1]  # each went on where the last had ended
    assert paths[0].read_bytes() == trained[1].read_bytes()


def test_asked_to_end_between_groups_it_keeps_what_is_done(
    trained, store, tmp_path, monkeypatch, ask
):
    paths = tmp_path / "w.safetensors", tmp_path / "curves.zarr"
    train_subset, boundaries = cohort_module._Cohort._train_subset, itertools.count()

    def at_boundary(self, specs):
        if next(boundaries) == 1:
            ask()
        train_subset(self, specs)

    specs = [*some_specs(), spec_of(train_size=100)]  # a second subset
    with monkeypatch.context() as patch:
        patch.setattr(cohort_module._Cohort, "_train_subset", at_boundary)
        with pytest.raises(interrupt.Interrupted):
            train_cohort(specs, store, *paths)
    header, _ = checkpoints.read(checkpoints.beside(paths[0]))
    assert 0 < len(header["finished"]) < len(specs)
    assert not paths[0].exists()
    # asked again before anything was done: nothing that was kept is lost
    with pytest.raises(interrupt.Interrupted):
        train_cohort(specs, store, *paths)
    assert checkpoints.read(checkpoints.beside(paths[0]))[0] == header


def test_asked_to_end_at_once_it_keeps_networks_in_training(interrupted, trained, store, ask):
    paths = interrupted / "w.safetensors", interrupted / "curves.zarr"
    before = steps_in(checkpoints.beside(paths[0]))
    ask()
    with pytest.raises(interrupt.Interrupted):
        train_cohort(some_specs(), store, *paths)
    assert steps_in(checkpoints.beside(paths[0])) == before
    ask(False)
    train_cohort(some_specs(), store, *paths)
    assert paths[0].read_bytes() == trained[1].read_bytes()


def test_asked_to_end_while_it_writes_it_finishes(trained, store, tmp_path, monkeypatch, ask):
    save = weights.save

    def asked(*arguments):
        ask()
        save(*arguments)

    paths = tmp_path / "w.safetensors", tmp_path / "curves.zarr"
    monkeypatch.setattr(weights, "save", asked)
    train_cohort(some_specs(), store, *paths)
    assert paths[0].read_bytes() == trained[1].read_bytes()
    survey.read(paths[1], "training")
