"""Whether a Snakemake is at work in a folder: its own lock does not say whose it is."""

import contextlib
import os
from pathlib import Path


def refusal_beside_another(folder: Path) -> str:
    """One line that says which Snakemake is at work in a folder; '' where none is.

    Args:
        folder: where it was started.
    """
    if not any((folder / ".snakemake" / "locks").glob("*")):
        return ""
    other = at_work(folder)
    if other is None:
        return ""
    return (
        f"A Snakemake (process {other}) is at work in {folder}: expected none. Wait for it, or "
        "stop it, then start again; what is finished is kept."
    )


def at_work(folder: Path) -> int | None:
    """The process of another Snakemake of this host that was started in a folder; None: none is."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = process.cmdline()
            named = any(Path(word).name == "snakemake" for word in words[:4])
            # the jobs of one that was killed may go on; a run beside them waits where it must
            other = "--target-jobs" not in words and process.pid != os.getpid()
            if named and other and Path(process.cwd()) == folder:
                return int(process.pid)
    return None
