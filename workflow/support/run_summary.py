"""One line that says how far the whole run is and when it will end; at the end, the report.

Snakemake hands every log record to the handlers of its logger, whatever the profile keeps quiet. A
handler of ours counts jobs and their cost; on a terminal it redraws one line below Snakemake's own
output, elsewhere it writes a line a minute.
"""

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from sensigap.progress import duration

#: rough seconds of a job beside its matrix products: starting Python, importing, reading, writing
OVERHEAD_S = 3.0
#: rough operations a second of one core; only ratios matter, and the run itself corrects them
FLOPS = 3e10
#: the share of a cohort's cost that each of its jobs takes
SHARES = {
    "train": 0.68,
    "transitions": 0.2,
    "jacobian": 0.07,
    "complexity": 0.02,
    "ellipses": 0.02,
    "slices": 0.01,
}
#: events and beginnings of messages that say no more than the summary line does
_CHATTER_EVENTS = {
    "job_info",
    "job_started",
    "job_finished",
    "progress",
    "shellcmd",
    "resources_info",
}
_CHATTER = ("Select jobs to execute", "Execute ", "Conda environments: ignored", "Using shell:")


class RunSummary(logging.Handler):
    """Counts jobs started and finished from Snakemake's log records and draws the summary line.

    Args:
        study: the study's name.
        report: the report's path.
        costs: FLOP of each cohort.
        stream: where the line goes.
    """

    def __init__(self, study: str, report: str, costs: Mapping[str, float], stream: TextIO) -> None:
        super().__init__()
        self.study = study
        self.report = report
        self.costs = costs
        self.stream = stream
        self.terminal = stream.isatty()
        self.started = time.monotonic()
        self.running: dict[int, tuple[str, str, float]] = {}
        self.total = 0
        self.finished = 0
        self.cost_total = 0.0
        self.cost_finished = 0.0
        self.over = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes note of what Snakemake says; other threads read what is kept here."""
        event = _event(record)
        if event == "run_info":
            self._plan(getattr(record, "stats", {}))
        elif event == "job_info":
            rule = record.__dict__["rule_name"]
            name = "-".join(
                [rule, *map(str, dict(record.__dict__.get("wildcards") or {}).values())]
            )
            self.running[int(record.__dict__["jobid"])] = (rule, name, self._cost(rule, name))
        elif event == "job_finished":
            job = self.running.pop(int(record.__dict__["job_id"]), None)
            self.finished += 1
            self.cost_finished += job[2] if job else OVERHEAD_S
        elif record.getMessage().startswith("Nothing to be done"):
            self.over.set()
            say_report(self.report)

    def _plan(self, stats: Mapping[str, Any]) -> None:
        if self.total == 0 and stats:
            self.total = int(stats.get("total", 0))
            mean = sum(self.costs.values()) / FLOPS / max(len(self.costs), 1)
            self.cost_total = sum(
                count * (OVERHEAD_S + SHARES.get(rule, 0.0) * mean)
                for rule, count in stats.items()
                if rule != "total"
            )
            threading.Thread(target=self._draw_until_over, daemon=True).start()

    def _cost(self, rule: str, name: str) -> float:
        cohort = next((cost for cohort, cost in self.costs.items() if name.endswith(cohort)), 0.0)
        return OVERHEAD_S + SHARES.get(rule, 0.0) * cost_seconds(cohort)

    def line(self) -> str:
        """The summary line."""
        done = self.cost_finished
        for _, name, cost in list(self.running.values()):
            done += cost * self._fraction(name)
        elapsed = time.monotonic() - self.started
        share = min(done / self.cost_total, 1.0) if self.cost_total else 0.0
        left = (
            f"about {duration(elapsed * (1 - share) / share)} left" if share > 0.02 else "starting"
        )
        rules = [rule for rule, _, _ in list(self.running.values())]
        now = ", ".join(f"{rules.count(rule)} {rule}" for rule in dict.fromkeys(rules))
        return f"{self.study}: {self.finished} of {self.total} jobs, {share:.0%}, {left}" + (
            f" | running: {now}" if now else ""
        )

    def _fraction(self, name: str) -> float:
        path = Path("results") / self.study / "progress" / f"{name}.json"
        try:
            return float(json.loads(path.read_text())["fraction"])
        except (OSError, ValueError, KeyError):
            return 0.0

    def _draw_until_over(self) -> None:
        while not self.over.wait(1.0 if self.terminal else 60.0):
            if self.terminal:
                # the cursor goes back, so that the next message of Snakemake overwrites the line
                self.stream.write(f"\r\x1b[2K{self.line()[:110]}\r")
                self.stream.flush()
            else:
                print(self.line(), file=self.stream, flush=True)


class _Quiet(logging.Filter):
    """Keeps Snakemake's messages to what a person acts on, and the summary line out of their way.

    What starts and what is selected is dropped: the summary line says it. Faults, a failed job's
    log, the table of jobs and the final words pass. (The profile's `quiet: rules` would drop a
    failed job's log too, and with `progress` a dry run's jobs.)
    """

    def __init__(self, summary: RunSummary) -> None:
        super().__init__()
        self.summary = summary

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if _event(record) in _CHATTER_EVENTS or (
            record.levelno <= logging.INFO and text.startswith(_CHATTER)
        ):
            return False
        if self.summary.terminal:
            self.summary.stream.write("\x1b[2K")
        return True


def _event(record: logging.LogRecord) -> str | None:
    return getattr(getattr(record, "event", None), "value", None)


def cost_seconds(flop: float) -> float:
    """Rough seconds of so many floating-point operations on one core."""
    return flop / FLOPS


def show_summary(main: bool, study: str, report_path: str, costs: Mapping[str, float]) -> None:
    """Follows the run that is about to start; not in a job's process, nor in a dry run."""
    logger = logging.getLogger("snakemake.logging")
    if any(isinstance(handler, RunSummary) for handler in logger.handlers):
        return
    if not main or any(map(_only_looks, sys.argv)):
        return
    summary = RunSummary(study, report_path, costs, sys.stderr)
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(_Quiet(summary))
    logger.addHandler(summary)


def _only_looks(argument: str) -> bool:
    """Whether an argument asks for something other than a run: -n, also among others as in -np."""
    looks = r"-[a-zA-Z]*n[a-zA-Z]*|--(dry-?run|lint|(detailed-)?summary|dag|rulegraph)"
    return bool(re.fullmatch(looks, argument))


def say_report(path: str) -> None:
    """Ends a run by naming the report, if there is one: a run of some targets alone makes none."""
    if Path(path).exists():
        print(f"Report: {path}", file=sys.stderr)
