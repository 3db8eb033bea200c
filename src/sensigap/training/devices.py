"""Which device a job uses: the CPU, or one GPU that it leases by a file lock.

A workflow engine that counts GPUs does not say which one a job may have, so every job takes the
lock file of a free one. The operating system drops a lock when its holder ends, however it ends.
Importing this module does not import torch.
"""

import contextlib
import dataclasses
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

#: set to a number of devices that do not exist: jobs lease them and compute on the CPU (for tests)
PRETEND = "SENSIGAP_PRETEND_DEVICES"

_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that a job may use while it holds the lease."""

    #: as torch.device takes it
    torch: str
    #: for logs and records, for example 'cpu' or 'GPU 3'
    name: str


def visible_gpus() -> list[str]:
    """The NVIDIA devices of this host that a job may use, by the names of CUDA_VISIBLE_DEVICES."""
    pretended = int(os.environ.get(PRETEND, "0"))
    if pretended:
        return [f"pretend {k}" for k in range(pretended)]
    present = sorted(
        (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")), key=int
    )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not present or visible is None:
        return present
    # as CUDA does, stop at the first name that is no device
    names = []
    for name in visible.split(","):
        if not name.strip() or name.strip().startswith("-"):
            break
        names.append(name.strip())
    return names


def has_gpu() -> bool:
    """Whether this host has an NVIDIA device that a job may use."""
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
        gpus: names of the GPUs; None: `visible_gpus()`.
        jobs_per_gpu: jobs that may share a GPU.
        folder: where the lock files lie; None: a folder of this user, on this host. Jobs of Slurm
            share locks within one Slurm job only, since Slurm may number the devices of each job
            from 0.

    Raises:
        RuntimeError: `device` is 'cuda' and there is no GPU that torch can use.
    """
    gpus = visible_gpus() if gpus is None else gpus
    if device == "cpu" or (device == "auto" and not _usable(gpus)):
        yield Device("cpu", "cpu")
        return
    if not _usable(gpus):
        raise RuntimeError(
            "device 'cuda' was asked for, expected an NVIDIA GPU that torch can use, found none "
            "(check nvidia-smi, CUDA_VISIBLE_DEVICES and that torch is a CUDA build), "
            "or set the device to 'auto'"
        )
    folder = Path(folder) if folder else _lock_folder()
    folder.mkdir(parents=True, exist_ok=True)
    index, lock = _acquire(gpus, jobs_per_gpu, folder)
    try:
        pretended = gpus[index].startswith("pretend")
        found = Device("cpu" if pretended else f"cuda:{index}", f"GPU {gpus[index]}")
        logger.info("leased %s", found.name)
        yield found
    finally:
        lock.release()


def _usable(gpus: Sequence[str]) -> bool:
    if not gpus or gpus[0].startswith("pretend"):
        return bool(gpus)
    import torch

    if not torch.cuda.is_available():
        logger.warning("this host has GPUs (%s) that torch cannot use", ", ".join(gpus))
        return False
    return True


def _lock_folder() -> Path:
    owner = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    job = os.environ.get("SLURM_JOB_ID")
    name = f"sensigap-gpus-{owner}" + (f"-{job}" if job else "")
    return Path(tempfile.gettempdir()) / name


def _acquire(gpus: Sequence[str], jobs_per_gpu: int, folder: Path) -> tuple[int, FileLock]:
    """Index of a GPU with a free place, and the lock that holds the place."""
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    waited = False
    try:
        lock.acquire(timeout=0)
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
