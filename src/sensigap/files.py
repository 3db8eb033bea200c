"""Files and folders that are written whole or not at all, and are on the disk when they appear."""

import contextlib
import errno
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: ending of the checkpoint beside the file that it is of
CHECKPOINT = ".checkpoint"
#: seconds after which what another host left half written counts as left behind
ABANDONED_S = 14 * 24 * 3600.0
#: of the system: no room, or no permission, to write
_REFUSED = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM"),
        *("ENOTDIR", "ELOOP", "ENAMETOOLONG"),
    )
    if hasattr(errno, name)
}
#: other libraries say in words what the system told them
_IN_WORDS = re.compile(r"os error (\d+)|\[Errno (\d+)\]")


class WriteError(OSError):
    """A file could not be written: the disk is full, or nobody may write there."""


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """What to write, a file or a folder; it becomes `path` when the context ends without an error.

    It lies in a new folder beside `path` that nobody else can write to, so that no link that
    somebody laid is followed; it is flushed to the disk before it takes its name, in the place of
    whatever has it, which may be a link. Whatever goes wrong, nothing is left beside `path`; what
    earlier processes left there when they were killed is taken away.

    Raises:
        WriteError: the disk is full or write-protected, or there is no folder beside `path`, nor
            can one be made.
    """
    path = Path(path)
    folder: Path | None = None
    try:
        folder = _beside(path)
        yield folder / path.name
        _as_others_write(folder / path.name)
        _flush(folder / path.name)
        _rename(folder / path.name, path, folder)
    except Exception as error:
        refused = refusal(error, path)
        if refused is None:
            raise
        raise refused from error
    finally:
        if folder is not None:
            _take_away(folder)


def _beside(path: Path) -> Path:
    """A new folder beside `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)
        made = tempfile.mkdtemp(f"~{os.getpid()}.tmp", f"{_prefix(path)}{_host()}~", path.parent)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        # a file, or a folder of the system's own such as /proc, has the place of the folder
        there = next((p for p in path.parents if os.path.lexists(p)), path.parent)
        found, remedy = "is no folder", f"take {there} away, or name another place"
        if there.is_dir():
            found, remedy = "takes no new files", "name another place"
        raise WriteError(
            error.errno,
            f"{path} cannot be written: {there} {found}; expected a folder to write in: {remedy}.",
        ) from error
    return Path(made)


def _take_away(folder: Path) -> None:
    """Removes a folder in which threads may still be at work for a moment, as those of zarr are."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def remove_abandoned(path: Path) -> None:
    """Takes away what processes that are gone left half written beside `path`.

    Those of this host are asked for by their number; of other hosts what is old counts.
    """
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if not (entry.name.startswith(_prefix(path)) and entry.name.endswith(".tmp")):
                continue
            *_, host, _, process = entry.name.removesuffix(".tmp").split("~")
            with contextlib.suppress(OSError, ValueError):
                if host == _host():
                    abandoned = not is_alive(int(process))
                else:
                    abandoned = time.time() - entry.stat(follow_symlinks=False).st_mtime > (
                        ABANDONED_S
                    )
                if abandoned:
                    remove(Path(entry.path))


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether this host has a process of that number; True where that cannot be told."""
    if os.name == "nt":  # a signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _prefix(path: Path) -> str:
    return f".{path.name}~"


def _host() -> str:
    return re.sub(r"[^\w.-]", "-", platform.node()) or "unknown"


def _as_others_write(path: Path) -> None:
    """Gives a file the permissions that this user's files have: some libraries give their own."""
    if path.is_file():
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)


def _flush(path: Path) -> None:
    """Has the system put a file, or a folder with all that is in it, on the disk."""
    if path.is_dir():
        # side by side: the system then brings many to the disk at once
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(_sync, [*path.rglob("*"), path]))
    else:
        _sync(path)


def _sync(path: Path) -> None:
    """Flushes one file or folder."""
    if path.is_dir() and os.name == "nt":  # it opens no folders
        return
    number = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(number)
    except OSError as error:
        # not every file system can; one that cannot write says so
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(number)


def _rename(new: Path, path: Path, folder: Path) -> None:
    """Gives what was written its name; what has the name, file, folder or link, gives way."""
    if new.is_dir() or path.is_dir():
        # a folder takes the place of nothing: the old one goes aside first, and comes back if the
        # new one cannot be named
        old = folder / "old"
        if os.path.lexists(path):
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if os.path.lexists(old):
                old.rename(path)
            raise
    else:
        new.replace(path)
    _sync(path.parent)


def refusal(error: Exception, path: Path | None = None) -> WriteError | None:
    """The error to raise where the system refused to write; None if something else is wrong.

    Args:
        error: of any library; some say in words what the system told them.
        path: what was to be written; None: what the error names.
    """
    if isinstance(error, WriteError):
        return None
    number = getattr(error, "errno", None)
    if number is None:
        # shutil's copy of a folder gathers its errors in words too
        found = _IN_WORDS.search(str(error))
        number = int(found[1] or found[2]) if found else None
    if number is None or number not in _REFUSED:
        return None
    named = path or Path(str(getattr(error, "filename", None) or "a file of this job"))
    return WriteError(number, f"{named} cannot be written: {_told(number, named)}")


def _told(number: int, path: Path) -> str:
    """What the system's refusal means, and what to do."""
    words = os.strerror(number)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        room = "unknown"
        with contextlib.suppress(OSError):
            room = f"{shutil.disk_usage(path.parent).free / 1e6:,.0f} MB"
        return (
            f"{words} (free there: {room}). What was written of it has been removed, and what is "
            "finished is kept. Make room, or raise the limit, and run again."
        )
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{words}. Make {path.parent} writable for this user, and run again."
    return f"{words}. Make {path.parent} a folder, and run again."
