"""Says how far a long step is and when it will end, and what a whole run is expected to take."""

import contextlib
import dataclasses
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

#: seconds between two states of the file
_KEEP_S = 1.0


#: jobs keep how far they are here, in files of their names; relative to the working directory
PROGRESS_FOLDER = Path(".snakemake") / "sensigap" / "progress"


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the jobs of a study are expected to take, for the progress line of a run.

    A job's name is its rule and its wildcards' values, joined by '-', see `job_name`.
    """

    #: the study's name
    study: str
    #: the report's path
    report: str
    #: seconds of each job by itself
    seconds: Mapping[str, float]
    #: networks that each training job trains
    networks: Mapping[str, int]
    #: jobs that run side by side: where all take one core, the cores
    cores: float = 1
    #: a file or folder that each job makes: from it follows which of a rule's jobs have to run.
    #: Without it a run that goes on from an earlier one knows that only roughly
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: whether jobs that have been started may wait in a cluster's queue
    queued: bool = False


class _Handed:
    """What was handed over in this process."""

    expected: Expected | None = None


def expect(expected: Expected) -> None:
    """Hands over what the jobs are expected to take, to whoever follows the run."""
    _Handed.expected = expected


def expected() -> Expected | None:
    """What was handed over last in this process; None: nothing."""
    return _Handed.expected


def job_name(rule: str, wildcards: Mapping[str, object]) -> str:
    """The name of a job: '<rule>-<wildcard values joined by ->'."""
    return "-".join([rule, *map(str, wildcards.values())])


class Progress:
    """Counts work done and logs a line at most every `interval` seconds.

    If the environment variable SENSIGAP_PROGRESS names a file, the share done is also kept
    there, for the progress line of the whole run.

    Args:
        total: the amount of work, in any unit, above 0.
        what: what is being done, for example 'training 64 networks'.
        interval: seconds between lines.
    """

    def __init__(self, total: float, what: str, *, interval: float = 5.0) -> None:
        self.total = total
        self.what = what
        self.interval = interval
        self.done = 0.0
        #: things that are finished, such as networks; None: not counted
        self.units_done: int | None = None
        self.started = time.monotonic()
        self.reported = self.started
        self.kept = self.started
        path = os.environ.get("SENSIGAP_PROGRESS")
        self.path = Path(path) if path else None

    def advance(self, amount: float = 1.0) -> None:
        """Counts `amount` more as done, and says so if the last line is old enough."""
        self.done += amount
        now = time.monotonic()
        fraction = min(self.done / self.total, 1.0)
        elapsed = now - self.started
        left = elapsed * (1 - fraction) / fraction if fraction > 0 else float("inf")
        if now - self.reported >= self.interval:
            self.reported = now
            rest = f"about {duration(left)} left" if fraction > 0 else "time left unknown"
            logger.info(
                "%s: %.0f%% after %s, %s", self.what, 100 * fraction, duration(elapsed), rest
            )
        if self.path and now - self.kept >= min(self.interval, _KEEP_S):
            self.kept = now
            self._keep(self.path, {"fraction": fraction, "left_s": left})

    def _keep(self, path: Path, told: dict[str, float]) -> None:
        if self.units_done is not None:
            told["units_done"] = self.units_done
        temporary = path.with_suffix(f".{os.getpid()}")
        # no work is lost for want of room to say how far it is
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(told))
            temporary.replace(path)


def duration(seconds: float) -> str:
    """Seconds as people say them: '8 s', '3 min', '2 h 10 min', '1,200 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds == float("inf"):
        return "unknown time"
    hours, rest = divmod(round(seconds / 60), 60)
    if hours >= 100:
        return f"{hours:,} h"
    return f"{hours} h {rest} min"
