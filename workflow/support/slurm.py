"""The Slurm jobs of runs in a folder: which are left, and how they end with their run.

Snakemake's Slurm jobs bear the name of their run, which its log tells. Nothing is asked of Slurm
where no log tells of one.
"""

import contextlib
import getpass
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

#: seconds for one answer of Slurm's, and between two questions
ANSWER_S = 60.0
ASK_EVERY_S = 2.0
#: seconds that cancelled jobs may take; Slurm itself gives them half a minute
PATIENCE_S = 180.0
#: seconds that a file server's clock may be late
CLOCKS_S = 60.0
#: a run tells its name before anything else that is long
_HEAD_BYTES = 1_000_000
#: Slurm forgets a job long before a folder has seen so many runs
_MOST_LOGS = 50


def runs(folder: Path, since: float = 0.0) -> list[str]:
    """Names of the runs that were started in a folder, the newest first.

    Args:
        folder: Snakemake's, `.snakemake`.
        since: a time; runs that said nothing after it are left out, but for what clocks differ.
    """
    logs = sorted((folder / "log").glob("*.log"), key=_changed, reverse=True)[:_MOST_LOGS]
    names: dict[str, None] = {}
    for log in logs:
        if _changed(log) >= since - CLOCKS_S:
            with contextlib.suppress(OSError), log.open(errors="replace") as file:
                found = re.findall(r"SLURM run ID: ([\w-]+)", file.read(_HEAD_BYTES))
                names |= dict.fromkeys(found)
    return list(names)


def in_queue(names: Iterable[str]) -> list[str] | None:
    """Numbers of the jobs of these runs that have not ended; None where Slurm does not answer."""
    names = set(names)
    if not names:
        return []
    told = _ask("squeue", "--noheader", "--user", getpass.getuser(), "--format=%i %j")
    if told is None:
        return None
    jobs = (line.split() for line in told.splitlines())
    return [job[0] for job in jobs if len(job) == 2 and job[1] in names]


def cancel(names: Iterable[str]) -> None:
    """Asks Slurm to end the jobs of these runs, waiting ones and running ones."""
    for name in names:
        _ask("scancel", "--user", getpass.getuser(), "--name", name)


def cancel_left(
    names: Iterable[str],
    say: Callable[[str], None],
    given_up: Callable[[], bool] = lambda: False,
) -> None:
    """Ends what runs left in Slurm, and waits until it has ended: it writes what it has.

    Args:
        names: the runs.
        say: takes a line for the user.
        given_up: whether not to wait any longer.
    """
    names = list(names)
    left = in_queue(names)
    if left is None:
        say(
            "Slurm does not say whether jobs of a run that is over are left: expected an answer of "
            f"squeue, found none. Any that are do their work twice; scancel --name {names[0]} "
            "ends them."
        )
        return
    if not left:
        return
    say(f"Jobs of a run that is over are still in Slurm ({', '.join(left)}): they are cancelled.")
    cancel(names)
    ends = time.monotonic() + PATIENCE_S
    while left and not given_up() and time.monotonic() < ends:
        time.sleep(ASK_EVERY_S)
        left = in_queue(names)


def _ask(*command: str) -> str | None:
    """What a command of Slurm's says; None where it fails."""
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            # a terminal's Ctrl-C is not for it
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _changed(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0
