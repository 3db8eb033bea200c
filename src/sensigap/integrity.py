"""Files that do not hold what was written to them: named, moved aside, made again."""

import shutil
from pathlib import Path


class DamagedFileError(RuntimeError):
    """A file is missing, or does not hold what was written to it and has been moved aside."""


def aside(path: Path) -> Path:
    """Where a damaged file or store is moved to."""
    return path.with_name(path.name + ".damaged")


def quarantine(path: Path) -> Path:
    """Moves a damaged file or store away, in the place of an earlier one; returns where to.

    The workflow then finds it missing and makes it again: a damaged file that stayed would be
    taken for a finished one.
    """
    target = aside(path)
    if target.is_dir():
        shutil.rmtree(target)
    path.replace(target)
    return target


def damaged(path: Path, why: str, remedy: str) -> DamagedFileError:
    """Moves a damaged file or store aside; the error to raise says what, why and what to do.

    Args:
        path: the file or store.
        why: what was found, for example 'its checksum is 12ab, not 34cd'.
        remedy: what running the workflow again will do, for example 'train this cohort again'.
    """
    target = quarantine(path)
    return DamagedFileError(
        f"{path} is damaged: {why}. Expected it as it was written. It has been moved to "
        f"{target.name}; run the workflow again to {remedy}."
    )
