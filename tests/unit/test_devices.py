"""Leases of devices that do not exist."""

import contextlib
import json
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from sensigap.training import devices

CONTEXT = multiprocessing.get_context("spawn")
SOURCE = Path(devices.__file__).parents[2]
LOOK = """
from sensigap.training import devices
devices._device_files = lambda: {files}
print(*devices.visible_gpus())
"""


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


UUIDS = ["8932f937-d72c-4106-c12f-20bd9faed9f6", "5ffc2a4b-0000-4106-c12f-20bd9faed9f6"]
TORCH = """
import json, os, sys, time

told = json.loads(os.environ["TOLD"])
__version__ = "9.9"
with open(os.environ["ASKED"], "a") as file:
    file.write("asked\\n")
time.sleep(told.get("sleep", 0))
if told.get("fails"):
    sys.exit("the driver is in disarray")


class version:
    cuda = told.get("cuda")
    hip = told.get("hip")


class Properties:
    def __init__(self, uuid):
        self.uuid = uuid
        self.name = "Model T"


class cuda:
    @staticmethod
    def is_available():
        return bool(told["uuids"])

    @staticmethod
    def init():
        pass

    @staticmethod
    def device_count():
        return len(told["uuids"])

    @staticmethod
    def get_device_properties(k):
        return Properties(told["uuids"][k])
"""


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host with device files, and a torch for the process that asks it."""
    for name in (devices.PRETEND, *devices._HIDING, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(devices.ANSWER, "")
    (tmp_path / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))

    class Host:
        def has(self, *files):
            monkeypatch.setattr(devices, "_device_files", lambda: list(files))

        def hides(self, variable, value):
            monkeypatch.setenv(variable, value)

        def tells(self, uuids=(), **told):
            monkeypatch.setenv("TOLD", json.dumps({"cuda": "13.0", "uuids": uuids, **told}))

        def asked(self):
            path = tmp_path / "asked"
            return len(path.read_text().splitlines()) if path.exists() else 0

    return Host()


def test_device_files_are_nvidias_by_number_and_those_of_wsl_and_rocm(monkeypatch):
    files = {"nvidia[0-9]*": ["nvidia10", "nvidia0", "nvidia1"], "dxg": ["dxg"], "kfd": ["kfd"]}
    real = devices.Path

    class Dev:
        def glob(self, pattern):
            return [real("/dev") / name for name in files[pattern]]

    monkeypatch.setattr(devices, "Path", lambda path: Dev() if path == "/dev" else real(path))
    names = [path.removeprefix("/dev/") for path in devices._device_files()]
    assert names == ["dxg", "kfd", "nvidia0", "nvidia1", "nvidia10"]


def test_where_no_file_hints_at_a_device_nothing_is_asked(host):
    host.has()
    assert not devices.has_gpu()
    assert not host.asked()
    assert not os.environ[devices.ANSWER]


@pytest.mark.parametrize("value", ["", "-1", " ", "-1,0"])
def test_hidden_devices_are_not_asked_for(host, value, caplog):
    host.has("/dev/nvidia0")
    host.hides("CUDA_VISIBLE_DEVICES", value)
    assert not devices.has_gpu()
    assert not host.asked()
    assert not caplog.text
    with pytest.raises(devices.DeviceError, match="hidden by CUDA_VISIBLE"), devices.lease("cuda"):
        pass


@pytest.mark.parametrize("files", [["/dev/nvidia0", "/dev/nvidia1"], ["/dev/dxg"], ["/dev/kfd"]])
def test_torch_is_asked_once_and_names_devices_by_uuid(host, files):
    host.has(*files)
    host.tells(UUIDS)
    assert devices.visible_gpus() == [f"GPU-{uuid}" for uuid in UUIDS]
    assert devices.has_gpu()
    assert host.asked() == 1
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(files=files)],
        env=os.environ | {"PYTHONPATH": f"{SOURCE}{os.pathsep}{os.environ['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [f"GPU-{uuid}" for uuid in UUIDS]
    assert host.asked() == 1, "a job takes the answer of the process that started it"


def test_another_host_or_other_variables_are_asked_again(host, monkeypatch):
    host.has("/dev/nvidia0")
    host.tells(UUIDS)
    devices.visible_gpus()
    host.hides("CUDA_VISIBLE_DEVICES", "1")
    host.tells(UUIDS[1:])
    assert devices.visible_gpus() == [f"GPU-{UUIDS[1]}"]
    monkeypatch.setattr(devices.platform, "node", lambda: "compute-7")
    host.tells(UUIDS)
    assert len(devices.visible_gpus()) == 2
    assert host.asked() == 3


@pytest.mark.parametrize("kept", ["", "2", "[]", "{}", "null", '{"asked": 1}', "nonsense"])
def test_an_answer_that_is_none_is_asked_again(host, monkeypatch, kept):
    host.has("/dev/nvidia0")
    host.tells(UUIDS[:1])
    monkeypatch.setenv(devices.ANSWER, kept)
    assert devices.visible_gpus() == [f"GPU-{UUIDS[0]}"]


@pytest.mark.parametrize(
    ("variable", "value", "told", "expected"),
    [
        # torch counts: names of devices that do not exist are no devices
        ("CUDA_VISIBLE_DEVICES", "0,9", {"uuids": [""]}, ["0"]),
        ("CUDA_VISIBLE_DEVICES", "9", {"uuids": []}, []),
        ("CUDA_VISIBLE_DEVICES", "0,0", {"uuids": []}, []),
        ("CUDA_VISIBLE_DEVICES", "2,1", {"uuids": ["", ""]}, ["2", "1"]),
        (
            "CUDA_VISIBLE_DEVICES",
            "GPU-8932,GPU-5ffc",
            {"uuids": ["", ""]},
            ["GPU-8932", "GPU-5ffc"],
        ),
        ("CUDA_VISIBLE_DEVICES", "MIG-12ab", {"uuids": UUIDS[:1]}, ["MIG-12ab"]),
        ("HIP_VISIBLE_DEVICES", "3", {"uuids": [""], "cuda": None, "hip": "7.0"}, ["3"]),
        ("HIP_VISIBLE_DEVICES", "3", {"uuids": ["0-0"], "cuda": "13.0"}, ["0"]),
        ("ROCR_VISIBLE_DEVICES", "1", {"uuids": UUIDS[:1], "hip": "7.0"}, [f"GPU-{UUIDS[0]}"]),
        (
            "CUDA_VISIBLE_DEVICES",
            "0,1",
            {"uuids": [UUIDS[0]] * 2},
            [f"GPU-{UUIDS[0]}.0", f"GPU-{UUIDS[0]}.1"],
        ),
    ],
)
def test_there_are_as_many_devices_as_torch_counts(host, variable, value, told, expected):
    host.has("/dev/nvidia0")
    host.hides(variable, value)
    host.tells(**told)
    assert devices.visible_gpus() == expected


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"cuda": None}, r"torch 9\.9 \(built for the CPU alone\) finds no GPU"),
        ({"fails": True}, r"asking torch failed \(exit code 1\): the driver is in disarray"),
        ({"sleep": 30}, r"torch did not say within 1 s"),
    ],
)
def test_devices_that_torch_cannot_use_are_told_once(host, monkeypatch, caplog, told, message):
    monkeypatch.setattr(devices, "ASK_SECONDS", 1)
    host.has("/dev/nvidia0", "/dev/nvidia1")
    host.tells(**told)
    assert not devices.has_gpu()
    assert re.search(f"/dev/nvidia0, /dev/nvidia1, but jobs will .* CPU: {message}", caplog.text)
    caplog.clear()
    assert not devices.has_gpu()
    assert not caplog.text
    with devices.lease() as device:
        assert device.torch == "cpu"
    with pytest.raises(devices.DeviceError, match=message), devices.lease("cuda"):
        pass


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1"]), ("1,0", ["1", "0"]), ("0,9", ["0"]), ("GPU-8932", ["GPU-8932"])],
)
def test_without_a_torch_to_ask_device_files_count(host, monkeypatch, visible, expected):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    host.has("/dev/nvidia0", "/dev/nvidia1")
    if visible:
        host.hides("CUDA_VISIBLE_DEVICES", visible)
    assert devices.visible_gpus() == expected
    assert not host.asked()
    host.has("/dev/dxg")
    assert devices.has_gpu()


def test_runs_that_see_different_devices_do_not_wait_for_each_other(host, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_usable", bool)
    host.has("/dev/nvidia0", "/dev/nvidia1")
    host.tells(UUIDS)
    with contextlib.ExitStack() as leases:
        first = leases.enter_context(devices.lease("cuda", folder=tmp_path))
        assert first == devices.Device("cuda:0", f"Model T (GPU-{UUIDS[0]})")
        host.hides("CUDA_VISIBLE_DEVICES", "1")
        host.tells(UUIDS[1:])
        second = leases.enter_context(devices.lease("cuda", folder=tmp_path))
        assert second == devices.Device("cuda:0", f"Model T (GPU-{UUIDS[1]})")
        host.hides("CUDA_VISIBLE_DEVICES", f"GPU-{UUIDS[0]}")
        host.tells(UUIDS[:1])
        # its own `time` alone: the process that asks torch is waited for with the real one
        waits = types.SimpleNamespace(sleep=lambda seconds: pytest.fail("it waits"))
        monkeypatch.setattr(devices, "time", waits)
        with pytest.raises(pytest.fail.Exception, match="it waits"):
            leases.enter_context(devices.lease("cuda", folder=tmp_path))


def test_a_job_that_was_given_a_gpu_wants_one_and_no_other_does():
    assert [devices.device_for(asked) for asked in (0, 1, 2)] == ["cpu", "cuda", "cuda"]


def test_a_gpu_that_this_process_cannot_use_is_an_error(host, tmp_path):
    assert devices.DeviceError.__module__.startswith("sensigap."), "jobs log it as one message"
    with (
        pytest.raises(devices.DeviceError, match="torch cannot use GPU-1 in this process"),
        devices.lease("cuda", gpus=["GPU-1"], folder=tmp_path),
    ):
        pass


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def test_the_folder_of_locks_is_its_owners_alone(temporary):
    folder = devices._lock_folder()
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert devices._lock_folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_locks_that_is_anothers_is_refused(temporary, monkeypatch):
    folder = devices._lock_folder()
    mine = os.getuid()
    folder.rename(temporary / f"sensigap-gpus-{mine + 1}")
    monkeypatch.setattr(devices.os, "getuid", lambda: mine + 1)
    monkeypatch.setenv(devices.PRETEND, "1")
    with (
        pytest.raises(devices.DeviceError, match=f"found a folder of user {mine}.*set TMPDIR"),
        devices.lease(),
    ):
        pass


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_link_or_a_file_in_place_of_the_locks_is_refused(temporary, what):
    folder = devices._lock_folder()
    folder.rmdir()
    if what == "link":
        (temporary / "elsewhere").mkdir()
        folder.symlink_to(temporary / "elsewhere")
    else:
        folder.touch()
    with pytest.raises(devices.DeviceError, match="found something else"):
        devices._lock_folder()


def test_the_cpu_needs_neither_torch_nor_filelock():
    code = """
import sys
sys.modules.update(dict.fromkeys(["torch", "filelock"]))
from sensigap.training import devices
with devices.lease("cpu") as device:
    assert device.torch == "cpu"
"""
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_pretend_devices_are_leased_and_computed_on_the_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv(devices.PRETEND, "2")
    assert devices.has_gpu()
    for asked in ("auto", "cuda"):
        with devices.lease(asked, folder=tmp_path) as device:
            assert device == devices.Device("cpu", "GPU pretend 0")


def test_no_gpu_means_the_cpu_and_asking_for_one_is_an_error(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv(devices.PRETEND, raising=False)
    with devices.lease() as device:
        assert device.torch == "cpu"
    with pytest.raises(devices.DeviceError, match="expected one that"), devices.lease("cuda"):
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
