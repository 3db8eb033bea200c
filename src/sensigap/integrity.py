"""Files that do not hold what was written to them: named, moved aside, made again."""

import errno
import os
from pathlib import Path

from sensigap.files import remove

#: of the system: what it says when it has no room for another open file, or is busy; the file that
#: was to be read may be sound
_NOT_THE_FILES_FAULT = {
    getattr(errno, name)
    for name in ("EMFILE", "ENFILE", "ENOMEM", "EINTR", "EAGAIN", "ETIMEDOUT", "ESTALE")
    if hasattr(errno, name)
}


class DamagedFileError(RuntimeError):
    """A file is missing, or does not hold what was written to it and has been moved aside."""


class MissingFileError(FileNotFoundError):
    """A file is missing that a stage reads; the message says how to have it made."""


def aside(path: Path) -> Path:
    """Where a damaged file or store is moved to."""
    return path.with_name(path.name + ".damaged")


def quarantine(path: Path) -> Path:
    """Moves a damaged file or store away, in the place of an earlier one; returns where to.

    The workflow then finds it missing and makes it again: a damaged file that stayed would be
    taken for a finished one. Another process may have done so already.
    """
    target = aside(path)
    if os.path.lexists(path):
        remove(target)
        path.rename(target)
    return target


def damaged(path: Path, why: str, remedy: str) -> DamagedFileError:
    """Moves a damaged file or store aside; the error to raise says what, why and what to do.

    Args:
        path: the file or store.
        why: what was found, for example 'its checksum is 12ab, not 34cd'.
        remedy: what running the workflow again will do, for example 'train this cohort again'.
    """
    found = f"{path} is damaged: {why}. Expected it as it was written."
    try:
        target = quarantine(path)
    except OSError as error:
        return DamagedFileError(
            f"{found} It could not be moved aside ({error.strerror}): remove it, and run the "
            f"workflow again to {remedy}."
        )
    return DamagedFileError(
        f"{found} It has been moved to {target.name}; run the workflow again to {remedy}."
    )


def is_the_files_fault(error: Exception) -> bool:
    """Whether an error on reading a file speaks against the file, and not against this process."""
    if isinstance(error, OSError):
        return error.errno not in _NOT_THE_FILES_FAULT
    return not isinstance(error, MemoryError)
