"""Says how far a long step is and when it will end, in lines of the job's log."""

import json
import logging
import os
import time
from pathlib import Path

logger = logging.getLogger(__name__)


class Progress:
    """Counts work done and logs a line at most every `interval` seconds.

    If the environment variable SENSIGAP_PROGRESS names a file, the share done is also kept
    there, for the summary line of the whole run.

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
        self.started = time.monotonic()
        self.reported = self.started
        path = os.environ.get("SENSIGAP_PROGRESS")
        self.path = Path(path) if path else None

    def advance(self, amount: float = 1.0) -> None:
        """Counts `amount` more as done, and says so if the last line is old enough."""
        self.done += amount
        now = time.monotonic()
        if now - self.reported >= self.interval:
            self.reported = now
            self._say(now - self.started)

    def _say(self, elapsed: float) -> None:
        fraction = min(self.done / self.total, 1.0)
        left = elapsed * (1 - fraction) / fraction if fraction > 0 else float("inf")
        rest = f"about {duration(left)} left" if fraction > 0 else "time left unknown"
        logger.info("%s: %.0f%% after %s, %s", self.what, 100 * fraction, duration(elapsed), rest)
        if self.path:
            temporary = self.path.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps({"fraction": fraction, "left_s": left}))
            temporary.replace(self.path)


def duration(seconds: float) -> str:
    """Seconds as people say them: '8 s', '3 min', '2 h 10 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds == float("inf"):
        return "unknown time"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min"
