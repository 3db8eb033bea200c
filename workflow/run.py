"""Runs Snakemake so that nobody has to babysit it: `make run` and `make run ARGS="-n"`.

Snakemake's own lock outlives a killed run and names no process. This command holds an operating
system's lock for as long as the run lives; when it is free, a lock that Snakemake
finds is stale and is removed.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Takes the lock, removes a stale one of Snakemake's, and becomes Snakemake.

    Args:
        arguments: passed on to Snakemake.

    Returns:
        An exit code, if Snakemake could not be started.
    """
    folder = Path(".snakemake")
    folder.mkdir(exist_ok=True)
    lock = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode() or "unknown"
        print(
            f"Another run (process {holder}) is going on in {Path.cwd()}: expected none. "
            "Wait for it, or stop it, then start again; what is finished is kept.",
            file=sys.stderr,
        )
        return 1
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    snakemake = [sys.executable, "-m", "snakemake"]
    if any((folder / "locks").glob("*")):
        print("The last run was cut short; going on from where it was.", file=sys.stderr)
        unlocked = subprocess.run(
            [*snakemake, "--unlock", *arguments], check=False, capture_output=True
        )
        if unlocked.returncode:
            sys.stderr.write(unlocked.stderr.decode())
            return unlocked.returncode
    # Snakemake takes this process's place and keeps the lock; its jobs do not inherit it
    os.set_inheritable(lock, True)
    return os.execv(sys.executable, [*snakemake, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
