"""What `make run` says: a plugin for Snakemake's logger, chosen by `--logger sensigap`.

A run's chatter gives way to one line that says how far it is and when it will end; faults, failed
jobs' logs, the table of jobs and the final words are Snakemake's own. Snakemake finds the plugin by
the package's name; without `--logger sensigap` it says what it always says.

The library is imported only once a Snakefile has been read: Snakemake imports every plugin that it
finds, also one installed from another checkout, and the Snakefile says which library is meant.
"""

import contextlib
import copy
import logging
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_sensigap.slurm import ACCOUNT_GUESSES, why

if TYPE_CHECKING:
    from snakemake_logger_plugin_sensigap.run_progress import RunProgress

__all__ = ["STOPPING", "LogHandler"]

#: the run command writes Snakemake's process id here when it stops the run: from then on nothing
#: that Snakemake says is news
STOPPING = Path(".snakemake") / "sensigap" / "stopping"
#: events that say no more than the progress line does
_CHATTER_EVENTS = (
    LogEvent.JOB_INFO,
    LogEvent.GROUP_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.JOB_FINISHED,
    LogEvent.PROGRESS,
    LogEvent.RESOURCES_INFO,
    LogEvent.WORKFLOW_STARTED,
    LogEvent.RULEGRAPH,
)
_CHATTER = re.compile(
    r"Using shell:|Building DAG|Assuming unrestricted shared|Conda environments: ignored|"
    r"Singularity containers: ignored|Group jobs: inactive|Select jobs|Execute \d|"
    r"Shutting down, this might|Will exit after finishing"
)
_RED, _PLAIN, _CLEAR = "\x1b[31m", "\x1b[0m", "\r\x1b[2K"


class LogHandler(LogHandlerBase):
    """Writes Snakemake's messages, and follows the run in a line of its own.

    Snakemake calls it in one thread, a second one draws the line; the handler's lock keeps them
    apart.
    """

    def __post_init__(self) -> None:
        """Sets up what a run of Snakemake needs; called at the end of `__init__`."""
        self.stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.terminal = self.stream.isatty()
        #: seconds between two states of the line
        self.interval = 1.0 if self.terminal else 60.0
        self.run: RunProgress | None = None
        self._nothing_to_do = False
        #: jobs that failed and have not been done since
        self._failed: set[int] = set()
        self._errors = False
        self._told_table = False
        self._over = threading.Event()

    @property
    def writes_to_stream(self) -> bool:
        """It does, so Snakemake's own handler does not."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """It does not; Snakemake keeps its log file."""
        return False

    @property
    def has_filter(self) -> bool:
        """None of its own: what the user asked to be quiet about is quiet."""
        return False

    @property
    def has_formatter(self) -> bool:
        """None of its own: errors come out as Snakemake writes them."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """It does not."""
        return False

    def handle(self, record: logging.LogRecord) -> bool:
        """Takes note of a record, and writes it if it passes Snakemake's filter.

        Args:
            record: of Snakemake's logger.

        Returns:
            Whether it passed the filter.
        """
        if _stopping():
            return False
        try:
            with _locked(self):
                self._follow(record)
        except Exception:
            # an error here would end the thread that serves all of Snakemake's handlers
            self.handleError(record)
        return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record, above the progress line.

        Args:
            record: of Snakemake's logger, past its filter.
        """
        try:
            text = self._text(record)
            if text:
                if record.levelno >= logging.ERROR and self._colours():
                    text = f"{_RED}{text}{_PLAIN}"
                self._write(f"{text}\n")
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Ends the run's output: the line goes, the last words come."""
        with _locked(self):
            if not self._over.is_set():
                self._over.set()
                self._write("" if _stopping() else self._last_words())
        super().close()

    def _follow(self, record: logging.LogRecord) -> None:
        """Keeps the books, whatever the filter hides."""
        event = getattr(record, "event", None)
        fields = record.__dict__
        self._errors |= record.levelno >= logging.ERROR
        if event == LogEvent.JOB_ERROR:
            self._failed.add(int(fields["jobid"]))
        elif event == LogEvent.GROUP_ERROR:
            self._failed |= {int(job["jobid"]) for job in fields.get("job_error_info") or []}
        elif event == LogEvent.JOB_FINISHED and int(fields["job_id"]) in self._failed:
            # at a later attempt; what was said of the first one is over
            self._failed.discard(int(fields["job_id"]))
            self._errors = bool(self._failed)
        if record.getMessage().startswith("Nothing to be done"):
            self._nothing_to_do = True
        elif event == LogEvent.RUN_INFO and self.run is None and not self.common_settings.dryrun:
            from sensigap.progress import PROGRESS_FOLDER, Expected, expected
            from snakemake_logger_plugin_sensigap.run_progress import RunProgress

            table = expected() or Expected("run", "", {}, {})
            self.run = RunProgress(table, fields.get("stats") or {}, PROGRESS_FOLDER)
            threading.Thread(target=self._draw_until_over, daemon=True).start()
        elif self.run is None:
            return
        elif event == LogEvent.JOB_INFO:
            from sensigap.progress import job_name

            rule, wildcards = fields["rule_name"], fields.get("wildcards") or {}
            self.run.start(int(fields["jobid"]), job_name(rule, dict(wildcards)))
        elif event == LogEvent.JOB_FINISHED:
            self.run.finish(int(fields["job_id"]))
        elif event == LogEvent.JOB_ERROR:
            self.run.fail(int(fields["jobid"]))
        elif event == LogEvent.GROUP_ERROR:
            for job in fields.get("job_error_info") or []:
                self.run.fail(int(job["jobid"]))

    def _text(self, record: logging.LogRecord) -> str:
        """What is written for a record; '' for nothing."""
        if self.common_settings.verbose:
            return self.format(record)
        event = getattr(record, "event", None)
        chatter = record.levelno <= logging.INFO and _CHATTER.match(record.getMessage())
        if self.common_settings.dryrun:
            message = getattr(record, "rule_msg", None)
            if event == LogEvent.JOB_INFO and message:
                return f"Job {record.__dict__['jobid']}: {' '.join(str(message).split())}"
            if event == LogEvent.RUN_INFO and self._told_table:
                return ""
            self._told_table |= event == LogEvent.RUN_INFO
        elif event in _CHATTER_EVENTS:
            return ""
        if chatter or ACCOUNT_GUESSES.match(record.getMessage()):
            return ""
        if event != LogEvent.JOB_ERROR:
            return self.format(record)
        fields = record.__dict__
        logs = list(fields.get("log") or ())
        reason, told_by = why(logs, str(fields.get("rule_name")))
        if not reason:
            return self.format(record)
        # the line says what a hundred of Slurm's log do
        shown = copy.copy(record)
        shown.__dict__["log"] = [log for log in logs if log != told_by]
        return f"{self.format(shown)}\n    {reason}"

    def _last_words(self) -> str:
        if self.common_settings.dryrun or not (self.run or self._nothing_to_do):
            return ""
        from sensigap.progress import expected

        table = expected()
        if table is None:
            return ""
        if self._failed:
            return (
                "Jobs failed; what is finished is kept, and the same command goes on from here. "
                f"Logs of the jobs: {Path(table.report).parent / 'logs'}/\n"
            )
        # a run of some targets alone makes no report
        done = not self._errors and Path(table.report).exists()
        return f"Report: {table.report}\n" if done else ""

    def _draw_until_over(self) -> None:
        while not self._over.wait(self.interval):
            with _locked(self):
                if self.run and not self._over.is_set() and not _stopping():
                    self._write("" if self.terminal else f"{self.run.line()}\n")

    def _write(self, text: str) -> None:
        """Writes text that ends a line; on a terminal the progress line stays below it."""
        if self.terminal:
            text = _CLEAR + text
            if self.run and not self._over.is_set():
                width = shutil.get_terminal_size((110, 24)).columns - 1
                # the cursor goes back, so that what a job itself writes begins at the left
                text += f"{self.run.line()[:width]}\r"
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            # the terminal is gone or the stream closed; the run itself need not end for that
            self.terminal = False

    def _colours(self) -> bool:
        dumb = os.environ.get("TERM") == "dumb"
        return self.terminal and not self.common_settings.nocolor and not dumb


@contextlib.contextmanager
def _locked(handler: logging.Handler) -> Iterator[None]:
    handler.acquire()
    try:
        yield
    finally:
        handler.release()


def _stopping() -> bool:
    """Whether the run command is stopping this Snakemake, rather than one of an earlier time."""
    try:
        return STOPPING.read_text() == str(os.getpid())
    except OSError:
        return False
