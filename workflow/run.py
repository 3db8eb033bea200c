"""Runs Snakemake so that nobody has to babysit it: `make run` and `make run ARGS="-n"`.

Snakemake's own lock outlives a killed run and names no process. This command holds an operating
system's lock for as long as the run lives; when it is free, a lock that Snakemake finds is stale
and is removed. It stays Snakemake's parent: when it is asked to end, it has the jobs end, which
keep what they have, and says one line.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil  # it comes with Snakemake; imported when it is needed: the signals come first

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SOURCE = Path(__file__).resolve().parents[1] / "src"
FOLDER = Path(".snakemake")
#: the logger plugin looks here whether this Snakemake is being stopped
STOPPING = FOLDER / "sensigap" / "stopping"
STOPPED = 130
SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
POLL_S = 0.1
#: seconds that Snakemake may take once no job is left, before it is told more firmly, and killed
PATIENCE_S = (10.0, 60.0)


class Signals:
    """Whether this process has been asked to end; more than the first time changes nothing."""

    def __init__(self) -> None:
        self.came = False
        for number in SIGNALS:
            # `nohup` has SIGHUP ignored
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.came = True


def main(arguments: list[str]) -> int:
    """Takes the lock, removes a stale one of Snakemake's, runs Snakemake and stops it if asked to.

    Args:
        arguments: passed on to Snakemake.

    Returns:
        Snakemake's exit code; 130 when the run was stopped, 1 when another one is going on.
    """
    signals = Signals()
    # for Snakemake, which finds plugins on the path
    sys.path[:0] = [str(SOURCE), str(Path(__file__).resolve().parent / "support")]
    import slurm
    from running import refusal_beside_another

    faulty = faulty_configuration(arguments)
    if faulty:
        print(faulty, file=sys.stderr)
        return 1
    present = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *([present] if present else [])])
    STOPPING.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(FOLDER / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
    cut_short = False
    if not take(lock):
        command, snakemake = holders(lock)
        if command is None or snakemake is None or alive(command):
            print(
                f"Another run (process {command or 'unknown'}) is going on in {Path.cwd()}: "
                "expected none. Wait for it, or stop it, then start again; what is finished is "
                "kept.",
                file=sys.stderr,
            )
            return 1
        # the command was killed and nobody follows the run any more: its Snakemake ends here
        cut_short = True
        stop(snakemake)
        while not take(lock):
            time.sleep(POLL_S)
    write(lock, str(os.getpid()))
    if not cut_short and (refusal := refusal_beside_another(Path.cwd())):
        print(refusal, file=sys.stderr)
        return 1
    if not signals.came and (cut_short or any((FOLDER / "locks").glob("*"))):
        print("The last run was cut short; going on from where it was.", file=sys.stderr)
        # the jobs of a run that was killed go on in Slurm, and would do what this one does
        slurm.cancel_left(slurm.runs(FOLDER), say, lambda: signals.came)
        unlock()
    if signals.came:
        say_stopped()
        return STOPPED
    return run(arguments, lock, signals)


def run(arguments: list[str], lock: int, signals: Signals) -> int:
    """Runs Snakemake.

    Args:
        arguments: passed on to Snakemake.
        lock: the lock's file; Snakemake holds it too, its jobs do not.
        signals: what this process was asked.

    Returns:
        Snakemake's exit code, or 130 when the run was stopped.
    """
    STOPPING.unlink(missing_ok=True)
    logger = logger_arguments(arguments)
    inherited = {} if os.name == "nt" else {"pass_fds": (lock,)}
    # in a session of its own a terminal's Ctrl-C reaches this process alone
    snakemake = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *logger, *arguments],
        start_new_session=True,
        **inherited,
    )
    write(lock, f"{os.getpid()} {snakemake.pid}")
    if hasattr(signal, "SIGTSTP"):
        signal.signal(signal.SIGTSTP, lambda *_: pause(snakemake.pid))
    while snakemake.poll() is None:
        if signals.came:
            stop(snakemake.pid, snakemake)
            STOPPING.unlink(missing_ok=True)
            if snakemake.returncode == -signal.SIGKILL:
                unlock()
            say_stopped()
            return STOPPED
        time.sleep(POLL_S)
    code = snakemake.returncode
    return code if code >= 0 else 128 - code


def faulty_configuration(arguments: list[str]) -> str:
    """What is wrong with the text of the configuration files named; '' where nothing is.

    Snakemake reads them before any Snakefile: a missing one ends it with a traceback, and one that
    is nested without end never ends it.
    """
    from sensigap.config import ConfigError
    from sensigap.config.reading import check_file

    named: list[str] = []
    taking = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option in ("--configfile", "--configfiles"):
            taking = not equals
            named += [value] if equals else []
        elif argument.startswith("-"):
            taking = False
        elif taking:
            named.append(argument)
    for name in named:
        try:
            check_file(name)
        except ConfigError as error:
            return str(error)
    return ""


def pause(group: int) -> None:
    """Halts Snakemake and its jobs with this process, as Ctrl-Z asks, until it goes on.

    Args:
        group: the process group of Snakemake.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.killpg(group, signal.SIGCONT)


def logger_arguments(arguments: list[str]) -> list[str]:
    """The choice of this project's logger, unless another is chosen or it cannot be used."""
    if any(argument.partition("=")[0] == "--logger" for argument in arguments):
        return []
    try:
        import snakemake_logger_plugin_sensigap  # noqa: F401
    except ImportError:
        return []
    return ["--logger=sensigap"]


def take(lock: int) -> bool:
    """Takes the lock.

    Args:
        lock: its file.

    Returns:
        Whether it was free. Where there are no such locks nobody holds one.
    """
    if fcntl is None:
        print("No lock against a second run can be held on this system.", file=sys.stderr)
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        print(f"No lock against a second run can be held here ({error}).", file=sys.stderr)
    return True


def write(lock: int, text: str) -> None:
    """Says in the lock's file who holds it."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, text.encode(), 0) if hasattr(os, "pwrite") else os.write(lock, text.encode())


def holders(lock: int) -> tuple[int | None, int | None]:
    """The processes that hold the lock: this command of the other run, and its Snakemake."""
    numbers = [int(number) for number in os.read(lock, 64).decode().split()]
    return (*numbers, None, None)[:2]


def alive(process: int) -> bool:
    """Whether there is a process of that number."""
    import psutil

    return psutil.pid_exists(process)


def stop(pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
    """Stops a Snakemake and its jobs, and waits for them, however long they write what they have.

    Snakemake starts no more jobs after SIGTERM, and tells its jobs nothing; they get one SIGTERM
    each from here. SIGINT would have it print exceptions. Jobs in Slurm it cancels after SIGINT
    alone, and not while it asks how they are, so they are cancelled from here too.

    Args:
        pid: Snakemake's process.
        child: the same, if it is this process's child.
    """
    import psutil

    import slurm

    STOPPING.write_text(str(pid))
    # by program too: a process gets the signal again once it runs another one
    told: dict[tuple[int, tuple[str, ...]], psutil.Process] = {}
    try:
        snakemake = psutil.Process(pid)
        # first: one that ends at once leaves its jobs to themselves
        found = jobs(snakemake)
        since = snakemake.create_time()
        in_slurm = slurm.runs(FOLDER, since)
        snakemake.send_signal(signal.SIGINT if in_slurm else signal.SIGTERM)
    except psutil.Error:
        return
    if in_slurm:
        say("The run's jobs in Slurm are cancelled; they keep what they have.")
        slurm.cancel(in_slurm)
    idle_since = time.monotonic()
    firmly = bool(in_slurm)
    # with its jobs in Slurm it only waits, for as long as it meant to before it asks after them
    patience = PATIENCE_S[0] if in_slurm else PATIENCE_S[1]
    while True:
        # a job may have been on its way when Snakemake was told
        for process in [*found, *jobs(snakemake)]:
            with contextlib.suppress(psutil.Error):
                program = process.pid, tuple(process.cmdline())
                if program not in told:
                    told[program] = process
                    process.terminate()
        ended = child.poll() is not None if child else not is_running(snakemake)
        if any(map(is_running, told.values())):
            idle_since = time.monotonic()
        elif ended:
            # one may have been on its way to Slurm too
            slurm.cancel_left(slurm.runs(FOLDER, since), say)
            return
        idle = time.monotonic() - idle_since
        if not ended and idle > patience:
            with contextlib.suppress(psutil.Error):
                snakemake.kill()
        elif not ended and idle > PATIENCE_S[0] and not firmly:
            # it waits for jobs elsewhere, such as a cluster's, or hangs in its own handler, which
            # takes a lock that the interrupted code may hold
            firmly = True
            with contextlib.suppress(psutil.Error):
                snakemake.send_signal(signal.SIGINT)
        time.sleep(POLL_S)


def jobs(snakemake: "psutil.Process") -> "list[psutil.Process]":
    """The processes that Snakemake has started, without the shells that wait for them."""
    import psutil

    found = []
    with contextlib.suppress(psutil.Error):
        for process in snakemake.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.name() not in ("sh", "bash", "dash", "zsh"):
                    found.append(process)
    return found


def is_running(process: "psutil.Process") -> bool:
    """Whether a process is at work: one that has ended and waits for its parent is not."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def unlock() -> None:
    """Removes the lock of a Snakemake that was killed: `--unlock` does no more, in seconds."""
    for path in (FOLDER / "locks").glob("*"):
        path.unlink(missing_ok=True)


def say(line: str) -> None:
    """Says a line to the user; nothing where the terminal is gone."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def say_stopped() -> None:
    """Says that the run was stopped: the last line."""
    clear = "\r\x1b[2K" if sys.stderr.isatty() else ""
    try:
        print(
            f"{clear}The run was stopped; what is finished is kept, and the same command goes on "
            "from here.",
            file=sys.stderr,
            flush=True,
        )
    except OSError:
        # the terminal is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
