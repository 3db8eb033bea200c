"""Which device a job uses: the CPU, or one GPU that it leases by a file lock.

What devices there are is torch's to say: it alone knows drivers, builds and the variables that hide
devices. It is asked in a process of its own, and only where a device file hints at a GPU, so that
whoever looks before a run does not import torch.

A workflow engine that counts GPUs does not say which one a job may have, so every job takes the
lock file of a free one. The operating system drops a lock when its holder ends, however it ends.
"""

import contextlib
import dataclasses
import importlib.util
import json
import logging
import os
import platform
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

logger = logging.getLogger(__name__)

#: set to a number of devices that do not exist: jobs lease them and compute on the CPU (for tests)
PRETEND = "SENSIGAP_PRETEND_DEVICES"
#: what torch answered, kept for the processes that this one starts
ANSWER = "SENSIGAP_DEVICES"
#: importing torch from a slow file system takes a while, a driver that hangs takes for ever
ASK_SECONDS = 120.0

_POLL_SECONDS = 0.2
#: the variables that hide devices from torch
_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
#: devices by number (NVIDIA), Windows' GPUs inside WSL2, AMD's GPUs
_FILES = ("nvidia[0-9]*", "dxg", "kfd")
_ASK = """
import json
import torch

build = (
    f"CUDA {torch.version.cuda}" if torch.version.cuda
    else f"ROCm {torch.version.hip}" if torch.version.hip
    else "the CPU alone"
)
found = []
if torch.cuda.is_available():
    torch.cuda.init()  # from here on the driver counts, not a guess that spares it
    found = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
print(json.dumps({
    "torch": f"torch {torch.__version__} (built for {build})",
    "devices": [(str(getattr(device, "uuid", "")), device.name) for device in found],
}))
"""


class DeviceError(RuntimeError):
    """A job cannot have the device that it asked for."""


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that a job may use while it holds the lease."""

    #: as torch.device takes it
    torch: str
    #: for logs and records, for example 'cpu' or 'NVIDIA H100 (GPU-8932f937-...)'
    name: str


@dataclasses.dataclass(frozen=True)
class _Found:
    """The GPUs that torch can use, in torch's order."""

    #: names that are the same for the same physical device, whatever hides others
    gpus: tuple[str, ...]
    #: what each is, '' where unknown
    models: tuple[str, ...]
    #: why there are none, or where the answer comes from
    why: str


def device_for(gpus_asked: int) -> str:
    """The `device` to lease for a job that asked its workflow engine for so many GPUs.

    A job that was given a GPU must not compute on the CPU, and one that was given none must leave
    the GPUs to others.
    """
    return "cuda" if gpus_asked else "cpu"


def visible_gpus() -> list[str]:
    """The GPUs of this host that torch can use, in torch's order.

    Each is named by its UUID where torch tells it, else by its name in CUDA_VISIBLE_DEVICES (ROCm:
    HIP_VISIBLE_DEVICES), else by its index. Where no device file hints at a GPU, nothing is asked.
    The answer is kept in this process's environment, for the processes that it starts.
    """
    pretended = int(os.environ.get(PRETEND, "0"))
    if pretended:
        return [f"pretend {k}" for k in range(pretended)]
    return list(_found().gpus)


def has_gpu() -> bool:
    """Whether this host has a GPU that torch can use."""
    return bool(visible_gpus())


@contextlib.contextmanager
def lease(
    device: str = "auto",
    *,
    gpus: Sequence[str] | None = None,
    jobs_per_gpu: int = 1,
    folder: str | Path | None = None,
) -> Iterator[Device]:
    """The device of a job, for as long as the context lasts; waits while all GPUs are taken.

    Args:
        device: 'cpu'; 'cuda', one of the GPUs; or 'auto', a GPU where there is one.
        gpus: names of the GPUs in torch's order; None: `visible_gpus()`.
        jobs_per_gpu: jobs that may share a GPU.
        folder: where the lock files lie; None: a folder of this user, on this host. Jobs of Slurm
            share locks within one Slurm job only, since Slurm may number the devices of each job
            from 0.

    Raises:
        DeviceError: `device` is 'cuda' and there is no GPU that torch can use, or the folder for
            locks is another user's.
    """
    if device == "cpu":
        yield Device("cpu", "cpu")
        return
    gpus = visible_gpus() if gpus is None else gpus
    if not _usable(gpus):
        if device == "auto":
            yield Device("cpu", "cpu")
            return
        raise DeviceError(
            f"a GPU was asked for, expected one that torch can use, found none: {_why(gpus)}. "
            "Check nvidia-smi or rocm-smi, CUDA_VISIBLE_DEVICES, that torch is a build for this "
            "GPU, and on a cluster that jobs are given one. To compute on the CPU, ask for no GPU: "
            "run with CUDA_VISIBLE_DEVICES set to nothing, on a cluster with --resources gpu=0"
        )
    if folder is None:
        folder = _lock_folder()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    index, lock = _acquire(gpus, jobs_per_gpu, folder)
    try:
        found = _device(gpus[index], index)
        logger.info("leased %s", found.name)
        yield found
    finally:
        lock.release()


def _device(gpu: str, index: int) -> Device:
    if gpu.startswith("pretend"):
        return Device("cpu", f"GPU {gpu}")
    found = _found()
    model = dict(zip(found.gpus, found.models, strict=True)).get(gpu)
    return Device(f"cuda:{index}", f"{model} ({gpu})" if model else f"GPU {gpu}")


def _usable(gpus: Sequence[str]) -> bool:
    """Whether torch can use these GPUs in this process."""
    if not gpus or gpus[0].startswith("pretend"):
        return bool(gpus)
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() >= len(gpus):
        return True
    logger.warning("this process cannot use the GPUs of this host (%s)", ", ".join(gpus))
    return False


def _why(gpus: Sequence[str]) -> str:
    if gpus:
        return f"torch cannot use {', '.join(gpus)} in this process"
    return _found().why


def _found() -> _Found:
    """What torch answers, from the environment if it was asked before."""
    files = _device_files()
    if not files:
        return _Found((), (), "this host has no /dev/nvidia*, /dev/dxg or /dev/kfd")
    if "HIP_VISIBLE_DEVICES" not in os.environ and _visible_names("CUDA_VISIBLE_DEVICES") == []:
        return _Found((), (), f"hidden by {_hiding()}")
    if importlib.util.find_spec("torch") is None:
        return _by_files(files)
    # a cluster's jobs inherit the environment of a host with other devices; conda's have other
    # Pythons with other builds of torch
    variables = ("SLURM_JOB_ID", *_HIDING)
    key = [platform.node(), sys.executable, *map(os.environ.get, variables)]
    with contextlib.suppress(ValueError, TypeError, KeyError):
        kept = json.loads(os.environ.get(ANSWER, ""))
        if kept["asked"] == key:
            return _Found(tuple(kept["gpus"]), tuple(kept["models"]), kept["why"])
    found = _ask()
    if not found.gpus:
        logger.warning(
            "this host has %s, but jobs will compute on the CPU: %s. To run without this "
            "message, set CUDA_VISIBLE_DEVICES to nothing",
            ", ".join(files),
            found.why,
        )
    os.environ[ANSWER] = json.dumps({"asked": key, **dataclasses.asdict(found)})
    return found


def _ask() -> _Found:
    """Asks torch, in a process that may take long or crash."""
    # -P: no file of the working folder is taken for a module
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _ASK],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        output, errors = process.communicate(timeout=ASK_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a hanging driver may not let it go
            process.communicate(timeout=5)
        return _Found((), (), f"torch did not say within {ASK_SECONDS:g} s which GPUs there are")
    said = (errors.strip().splitlines() or ["nothing"])[-1]
    if process.returncode:
        return _Found((), (), f"asking torch failed (exit code {process.returncode}): {said}")
    answer = json.loads(output.strip().splitlines()[-1])
    if not answer["devices"]:
        hidden = f" with {_hiding()}" if _hiding() else ""
        warned = f" ({said})" if errors.strip() else ""
        return _Found((), (), f"{answer['torch']} finds no GPU that it can use{hidden}{warned}")
    variable = "CUDA_VISIBLE_DEVICES"
    if "ROCm" in answer["torch"] and "HIP_VISIBLE_DEVICES" in os.environ:
        variable = "HIP_VISIBLE_DEVICES"
    names = _visible_names(variable) or []
    gpus = []
    for k, (uuid, _) in enumerate(answer["devices"]):
        named = names[k] if k < len(names) else str(k)
        # parts of one device (MIG) have its UUID in common
        known = uuid.strip("0-") and not named.startswith("MIG-")
        gpus.append(f"GPU-{uuid}" if known else named)
    if len(set(gpus)) < len(gpus):
        gpus = [f"{gpu}.{k}" for k, gpu in enumerate(gpus)]
    return _Found(tuple(gpus), tuple(model for _, model in answer["devices"]), answer["torch"])


def _by_files(files: Sequence[str]) -> _Found:
    """The GPUs by their device files, where jobs bring a torch of their own, as conda's do."""
    present = [path.removeprefix("/dev/nvidia") for path in files if "nvidia" in path]
    names = _visible_names("CUDA_VISIBLE_DEVICES")
    if names is None:
        names = present or ["0"]
    elif present:
        # as CUDA does, stop at the first name that is no device
        count = len(present)
        beyond = (k for k, name in enumerate(names) if name.isdigit() and int(name) >= count)
        names = names[: min(next(beyond, count), count)]
    return _Found(tuple(names), ("",) * len(names), "this Python has no torch to ask")


def _device_files() -> list[str]:
    """The files in /dev that hint at GPUs, NVIDIA's in the order of their numbers."""
    paths = {str(path) for pattern in _FILES for path in Path("/dev").glob(pattern)}
    return sorted(paths, key=lambda path: (len(path), path))


def _visible_names(variable: str) -> list[str] | None:
    """The devices that `variable` names, up to the first that is none; None: it is not set."""
    value = os.environ.get(variable)
    if value is None:
        return None
    names = []
    for name in map(str.strip, value.split(",")):
        if not name or name.startswith("-"):
            break
        names.append(name)
    return names


def _hiding() -> str:
    """The variables that are set of those that hide devices, as in a shell."""
    return " ".join(f"{name}='{os.environ[name]}'" for name in _HIDING if name in os.environ)


def _lock_folder() -> Path:
    """This user's folder for locks in the host's folder for temporary files, made if missing.

    Raises:
        DeviceError: another user has made a folder of this name, or a link in its place.
    """
    owner = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    job = os.environ.get("SLURM_JOB_ID")
    name = f"sensigap-gpus-{owner}" + (f"-{job}" if job else "")
    folder = Path(tempfile.gettempdir()) / name
    # the folder is everyone's to write in: what lies there may have been laid for us
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != owner):
        raise DeviceError(
            f"{folder} should hold this user's locks of GPUs: expected a folder of user {owner}, "
            f"found {'a folder' if stat.S_ISDIR(found.st_mode) else 'something else'} of user "
            f"{found.st_uid}. Remove it, or set TMPDIR to a folder of your own"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def _acquire(gpus: Sequence[str], jobs_per_gpu: int, folder: Path) -> tuple[int, "BaseFileLock"]:
    """Index of a GPU with a free place, and the lock that holds the place."""
    from filelock import FileLock, Timeout

    told = False
    while True:
        for place in range(jobs_per_gpu):  # a free GPU before a second job on another
            for index, gpu in enumerate(gpus):
                lock = FileLock(folder / f"{gpu.replace('/', '_').replace(' ', '_')}.{place}.lock")
                with contextlib.suppress(Timeout):
                    lock.acquire(timeout=0)
                    return index, lock
        if not told:
            logger.info("all %d GPUs are taken (locks in %s): waiting for one", len(gpus), folder)
            told = True
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def exclusive(path: str | Path, what: str) -> Iterator[bool]:
    """Holds the lock file `path`, after waiting for whoever holds it.

    Args:
        path: the lock file; made when missing, and left there.
        what: what is locked, for the log.

    Yields:
        Whether another process held it first.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    waited = False
    try:
        lock.acquire(timeout=0)
    except NotImplementedError as error:
        logger.warning("no lock can be held here (%s): going on without one for %s", error, what)
        yield False
        return
    except Timeout:
        waited = True
        logger.warning(
            "%s is being worked on by another process, perhaps left over from a run that was "
            "killed: waiting until it ends (lock file %s)",
            what,
            path,
        )
        lock.acquire()
    try:
        yield waited
    finally:
        lock.release()
