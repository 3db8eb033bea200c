"""How far a run is: networks trained, jobs done, the share of the work, and the time left.

Snakemake says which jobs start and how many of each rule a run has, but neither which ones will
follow nor what they cost; that comes from the study, see `sensigap.progress.Expected`.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sensigap.progress import Expected, duration

#: seconds of a job that the table does not know: starting Python, importing, reading, writing
DEFAULT_S = 3.0
#: how long the table's word outweighs the run's own speed, as a share of the whole run
TRUST = 0.1


class RunProgress:
    """Counts what has started and finished; neither the share nor the networks run backward.

    Args:
        table: what the jobs are expected to take.
        stats: rule -> number of jobs in this run; 'total' is left out.
        folder: where jobs keep how far they are.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        table: Expected,
        stats: Mapping[str, int],
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self.folder = folder
        self.clock = clock
        self.began = clock()
        self.counts = {rule: int(count) for rule, count in stats.items() if rule != "total"}
        self.jobs = sum(self.counts.values())
        self.finished: dict[int, str] = {}
        self.running: dict[int, str] = {}
        self._begun: dict[str, set[str]] = {rule: set() for rule in self.counts}
        self._names: dict[str, set[str]] = {rule: set() for rule in self.counts}
        for name in table.seconds:
            self._names.setdefault(_rule(name), set()).add(name)
        #: jobs whose files are not there: they are in this run, if their rule is
        self._missing = {
            name for name, path in table.outputs.items() if name in table.seconds and _absent(path)
        }
        self._totals: tuple[float, float] | None = None
        #: how far each running job was when it last said so: it ends before Snakemake hears of it
        self._told: dict[str, tuple[float, int]] = {}
        self._share = 0.0
        self._networks = 0

    def start(self, job: int, name: str) -> None:
        """A job has been started.

        Args:
            job: Snakemake's number of the job.
            name: the job's name.
        """
        self.running[job] = name
        self._begun.setdefault(_rule(name), set()).add(name)
        self._totals = None
        self._told.pop(name, None)
        # of a job that was killed
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def finish(self, job: int) -> None:
        """A job has done its work.

        Args:
            job: Snakemake's number of the job.
        """
        self.finished[job] = self.running.pop(job, "")

    def fail(self, job: int) -> None:
        """A job has failed; it may be started again.

        Args:
            job: Snakemake's number of the job.
        """
        self.running.pop(job, None)

    def line(self) -> str:
        """The state of the run in one line."""
        seconds, networks = self._all()
        done, trained = self._done()
        self._share = max(self._share, min(done / seconds, 1.0) if seconds else 0.0)
        self._networks = max(self._networks, trained)
        # 100 % is for a run that is over
        share = self._share if len(self.finished) >= self.jobs else min(self._share, 0.99)
        parts = [f"{len(self.finished)} of {self.jobs} jobs", f"{share:.0%}"]
        if networks:
            count = max(round(networks), self._networks)
            parts.insert(0, f"{self._networks} of {count} networks trained")
        parts.append(f"about {duration(self._left(seconds))} left")
        rules = [_rule(name) for name in self.running.values()]
        now = ", ".join(f"{rules.count(rule)} {rule}" for rule in dict.fromkeys(rules))
        state = "queued or running" if self.table.queued else "running"
        return f"{self.table.study}: {', '.join(parts)}" + (f" | {state}: {now}" if now else "")

    def _left(self, seconds: float) -> float:
        """Seconds until the end, by the table first and ever more by this run's own speed."""
        side_by_side = max(min(self.table.cores, self.jobs), 1)
        done = self._share * seconds
        trusted = TRUST * seconds
        elapsed = self.clock() - self.began
        speed = (done + trusted) / max(elapsed + trusted / side_by_side, 1e-9)
        return (seconds - done) / speed if speed else 0.0

    def _done(self) -> tuple[float, int]:
        """Seconds of work done, as the table counts them, and networks trained."""
        seconds = sum(self._seconds(name) for name in self.finished.values())
        networks = sum(self.table.networks.get(name, 0) for name in self.finished.values())
        for name in self.running.values():
            fraction, units = self._job(name)
            seconds += fraction * self._seconds(name)
            networks += min(units, self.table.networks.get(name, 0))
        return seconds, networks

    def _job(self, name: str) -> tuple[float, int]:
        """How far a running job is: the share done, and its networks."""
        fraction, units = self._told.get(name, (0.0, 0))
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads((self.folder / f"{name}.json").read_text())
            fraction = max(fraction, float(told["fraction"]))
            units = max(units, int(told.get("units_done") or 0))
        self._told[name] = fraction, units
        return fraction, units

    def _seconds(self, name: str) -> float:
        return self.table.seconds.get(name, DEFAULT_S)

    def _all(self) -> tuple[float, float]:
        """Seconds and networks of the whole run; about, while it is open which jobs will start."""
        if self._totals is None:
            self._totals = (
                self._total(self._seconds, DEFAULT_S),
                self._total(lambda name: self.table.networks.get(name, 0), 0.0),
            )
        return self._totals

    def _total(self, value: Callable[[str], float], unknown: float) -> float:
        """The sum of `value` over the jobs of this run, those to come included."""
        total = 0.0
        for rule, count in self.counts.items():
            begun = self._begun[rule]
            left = max(count - len(begun), 0)
            waiting = self._names[rule] - begun
            missing = waiting & self._missing
            # of the jobs whose files are there, it is open which ones run again
            again = max(left - len(missing), 0)
            total += sum(map(value, begun)) + (left - again) * _mean(map(value, missing), unknown)
            total += again * _mean(map(value, waiting - missing), unknown)
        return total


def _rule(name: str) -> str:
    return name.partition("-")[0]


def _absent(path: str) -> bool:
    return not Path(path).exists()


def _mean(values: Iterable[float], default: float) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else default
