"""Leases of devices that do not exist."""

import logging
import multiprocessing
import os
import signal
import time

import pytest

from sensigap.training import devices

CONTEXT = multiprocessing.get_context("spawn")


def hold(folder, started, seconds, gpus):
    with devices.lease(gpus=[f"pretend {k}" for k in range(gpus)], folder=folder) as device:
        began = time.monotonic()
        started.put((device.name, began))
        time.sleep(seconds)
        started.put((device.name, began, time.monotonic()))


def test_eight_jobs_share_four_devices_and_never_meet(tmp_path):
    queue = CONTEXT.Queue()
    jobs = [CONTEXT.Process(target=hold, args=(tmp_path, queue, 0.6, 4)) for _ in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(30)
        assert job.exitcode == 0
    messages = [queue.get(timeout=5) for _ in range(16)]
    spans = [message for message in messages if len(message) == 3]
    assert len(spans) == 8
    assert {name for name, _, _ in spans} == {f"GPU pretend {k}" for k in range(4)}
    for k, (name, began, ended) in enumerate(spans):
        for other, start, end in spans[k + 1 :]:
            assert name != other or end <= began or ended <= start


def test_a_killed_holder_leaves_its_device_free(tmp_path):
    queue = CONTEXT.Queue()
    job = CONTEXT.Process(target=hold, args=(tmp_path, queue, 60, 1))
    job.start()
    assert queue.get(timeout=30)[0] == "GPU pretend 0"
    os.kill(job.pid, signal.SIGKILL)
    job.join(10)
    began = time.monotonic()
    with devices.lease(gpus=["pretend 0"], folder=tmp_path) as device:
        assert device.name == "GPU pretend 0"
        assert device.torch == "cpu"
    assert time.monotonic() - began < 5


def test_an_exception_releases_the_device(tmp_path):
    for _ in range(2):
        with (
            pytest.raises(KeyError),
            devices.lease(gpus=["pretend 0"], folder=tmp_path),
        ):
            raise KeyError


def test_several_jobs_a_device_fill_free_devices_first(tmp_path):
    gpus = ["pretend 0", "pretend 1"]
    leases = [devices.lease(gpus=gpus, folder=tmp_path, jobs_per_gpu=2) for _ in range(4)]
    names = [lease.__enter__().name for lease in leases]
    for lease in leases:
        lease.__exit__(None, None, None)
    assert names == ["GPU pretend 0", "GPU pretend 1"] * 2


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1", "10"]),
        ("", []),
        ("-1", []),
        ("1,0", ["1", "0"]),
        ("GPU-8932f937,GPU-5ffc", ["GPU-8932f937", "GPU-5ffc"]),
        ("0,-1,1", ["0"]),
    ],
)
def test_visible_devices_are_those_of_cuda_visible_devices(monkeypatch, visible, expected):
    class Dev:
        def glob(self, pattern):
            assert pattern == "nvidia[0-9]*"
            return [devices.Path(f"/dev/nvidia{k}") for k in (10, 0, 1)]

    real = devices.Path
    monkeypatch.setattr(devices, "Path", lambda *a: Dev() if a == ("/dev",) else real(*a))
    Dev.Path = real
    monkeypatch.delenv(devices.PRETEND, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.visible_gpus() == expected
    assert devices.has_gpu() == bool(expected)


def test_pretend_devices_are_leased_and_computed_on_the_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv(devices.PRETEND, "2")
    assert devices.has_gpu()
    with devices.lease(folder=tmp_path) as device:
        assert device == devices.Device("cpu", "GPU pretend 0")


def test_no_gpu_means_the_cpu_and_asking_for_one_is_an_error(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv(devices.PRETEND, raising=False)
    with devices.lease() as device:
        assert device.torch == "cpu"
    with pytest.raises(RuntimeError, match="expected an NVIDIA GPU"), devices.lease("cuda"):
        pass


def test_a_second_holder_waits_and_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    queue = CONTEXT.Queue()
    path = tmp_path / "lock"
    job = CONTEXT.Process(target=hold_exclusively, args=(path, queue))
    job.start()
    queue.get(timeout=30)
    with devices.exclusive(path, "cohort 7") as waited:
        assert waited
        assert queue.get(timeout=5) <= time.time()
    assert "cohort 7 is being worked on by another process" in caplog.text
    job.join(10)
    with devices.exclusive(path, "cohort 7") as waited:
        assert not waited


def hold_exclusively(path, queue):
    with devices.exclusive(path, "cohort 7"):
        queue.put(None)
        time.sleep(0.7)
        queue.put(time.time())
