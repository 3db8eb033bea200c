"""What `make run` says: Snakemake's records go in, lines come out."""

import dataclasses
import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake.logging import DefaultFilter, DefaultFormatter
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

import snakemake_logger_plugin_sensigap as plugin
from sensigap import progress
from sensigap.progress import Expected
from snakemake_logger_plugin_sensigap.run_progress import RunProgress

TABLE = Expected(
    study="tiny",
    report="results/tiny/report.html",
    seconds={f"train-tiny-{c}": 100.0 for c in "abcd"} | {f"measure-tiny-{c}": 25 for c in "abcd"},
    networks={f"train-tiny-{c}": 10 for c in "abcd"},
    cores=2,
)
STATS = {"train": 4, "measure": 4, "total": 8}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with nothing in it, and nothing that is expected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress._Handed, "expected", None)
    return tmp_path


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestInterface(TestLogHandlerBase):
    """The interface's own tests."""

    __test__ = True

    def get_log_handler_cls(self):
        return plugin.LogHandler

    def get_log_handler_settings(self):
        return None


def test_snakemake_finds_it():
    assert LoggerPluginRegistry().is_installed("sensigap")


def test_it_leaves_open_which_library_is_meant():
    code = "import sys, snakemake_logger_plugin_sensigap; print('sensigap' in sys.modules)"
    source = Path(plugin.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


@pytest.fixture
def make(monkeypatch):
    """Handlers as Snakemake sets them up, with the stream they write to."""
    handlers = []

    def make(terminal=False, quiet=(), **settings):
        stream = Terminal() if terminal else io.StringIO()
        common = MockOutputSettings()
        common.printshellcmds = False
        vars(common).update(settings)
        monkeypatch.setattr("sys.stdout" if common.stdout else "sys.stderr", stream)
        handler = plugin.LogHandler(common, None)
        handler.interval = 3600.0  # drawn by hand
        handler.addFilter(DefaultFilter(set(quiet), False, common.verbose, common.dryrun, False))
        handler.setFormatter(DefaultFormatter(set(quiet), True))
        handlers.append(handler)
        return handler, stream

    yield make
    for handler in handlers:
        handler.close()


def say(handler, message, event=None, level=logging.INFO, **fields):
    record = logging.LogRecord("snakemake.logging", level, "x.py", 1, message, (), None)
    record.__dict__.update(fields, **({"event": event} if event else {}))
    handler.handle(record)


def plan(handler, stats=None):
    stats = STATS if stats is None else stats
    say(handler, "Job stats:\njob count\n", LogEvent.RUN_INFO, stats=stats)


def start(handler, job, cohort, rule="train", message=None):
    say(
        handler,
        f"Rule: {rule}",
        LogEvent.JOB_INFO,
        jobid=job,
        rule_name=rule,
        rule_msg=message,
        wildcards={"study": "tiny", "cohort": cohort},
        local=False,
        is_checkpoint=False,
        input=["in"],
        output=["out"],
        log=[],
        benchmark=None,
        reason="",
        priority=0,
        threads=1,
        resources={},
    )


def finish(handler, job):
    say(handler, f"Finished jobid: {job}", LogEvent.JOB_FINISHED, job_id=job)


def fail(handler, job, log):
    fields = {"input": [], "output": ["out"], "conda_env": None, "aux": {}, "shellcmd": None}
    say(
        handler,
        "Error in rule train",
        LogEvent.JOB_ERROR,
        logging.ERROR,
        jobid=job,
        rule_name="train",
        rule_msg=None,
        log=[str(log)],
        indent=False,
        **fields,
    )


def test_a_run_says_its_table_its_faults_and_the_report(make, folder):
    progress.expect(TABLE)
    (folder / "results" / "tiny").mkdir(parents=True)
    (folder / TABLE.report).touch()
    handler, stream = make()
    for chatter in (
        "Using shell: /bin/bash",
        "Building DAG of jobs...",
        "Conda environments: ignored",
        "Select jobs to execute...",
    ):
        say(handler, chatter)
    say(handler, "Provided cores: 2", LogEvent.RESOURCES_INFO)
    plan(handler)
    say(handler, "Execute 1 jobs...", LogEvent.JOB_STARTED, jobs=[1])
    start(handler, 1, "a")
    finish(handler, 1)
    say(handler, None, LogEvent.PROGRESS, done=1, total=8)
    say(handler, "Select jobs is what this warning says", level=logging.WARNING)
    say(handler, "Elapsed time: 0:00:10")
    handler.close()
    handler.close()
    assert stream.getvalue() == (
        "Job stats:\njob count\n\nSelect jobs is what this warning says\nElapsed time: 0:00:10\n"
        f"Report: {TABLE.report}\n"
    )


def test_a_job_that_is_done_at_its_second_attempt_has_not_failed(make, folder):
    progress.expect(TABLE)
    (folder / "results" / "tiny").mkdir(parents=True)
    (folder / TABLE.report).touch()
    slurms = folder / "7.log"
    slurms.write_text(
        "much\nslurmstepd-vm: error: *** JOB 7 CANCELLED AT 0 DUE TO TIME LIMIT ***\n"
    )
    handler, stream = make()
    plan(handler)
    start(handler, 1, "a")
    fail(handler, 1, slurms)
    start(handler, 1, "a")
    finish(handler, 1)
    handler.close()
    text = stream.getvalue()
    assert "Slurm ended the job: it took longer than it had asked for" in text
    assert "much" not in text
    assert text.endswith(f"Report: {TABLE.report}\n")


def test_a_run_without_a_report_names_none(make):
    progress.expect(TABLE)
    handler, stream = make()
    plan(handler)
    handler.close()
    assert "Report" not in stream.getvalue()


def test_nothing_to_be_done_names_the_report(make, folder):
    progress.expect(TABLE)
    (folder / "results" / "tiny").mkdir(parents=True)
    (folder / TABLE.report).touch()
    handler, stream = make()
    say(handler, "Nothing to be done (all requested files are present and up to date).")
    handler.close()
    assert stream.getvalue().splitlines()[-1] == f"Report: {TABLE.report}"


def test_a_failed_job_shows_its_log_and_where_the_others_are(make, folder):
    progress.expect(TABLE)
    (folder / "results" / "tiny").mkdir(parents=True)
    (folder / TABLE.report).touch()
    (folder / "job.log").write_text("the data set is damaged\n")
    handler, stream = make()
    plan(handler)
    start(handler, 1, "a")
    fail(handler, 1, folder / "job.log")
    say(handler, "WorkflowError: at least one job", LogEvent.ERROR, logging.ERROR)
    handler.close()
    lines = stream.getvalue().splitlines()
    assert "the data set is damaged" in lines
    assert "WorkflowError: at least one job" in lines
    assert lines[-1].endswith("goes on from here. Logs of the jobs: results/tiny/logs/")
    assert sum("goes on from here" in line for line in lines) == 1


def test_an_error_without_a_failed_job_is_followed_by_nothing(make):
    progress.expect(TABLE)
    handler, stream = make()
    say(handler, "MissingInputException: none", LogEvent.ERROR, logging.ERROR)
    handler.close()
    assert stream.getvalue() == "MissingInputException: none\n"


def test_a_dry_run_lists_jobs_in_one_line_each_and_the_table_once(make, folder):
    progress.expect(TABLE)
    (folder / "results" / "tiny").mkdir(parents=True)
    (folder / TABLE.report).touch()
    handler, stream = make(dryrun=True, stdout=True)
    plan(handler)
    start(handler, 12, "a", message="train the\n  networks of a")
    start(handler, 13, "b")
    plan(handler)
    say(handler, "This was a dry-run (flag -n).")
    handler.close()
    output = stream.getvalue()
    assert output.count("Job stats:") == 1
    assert "\nJob 12: train the networks of a\n[" in output  # the next one as Snakemake has it
    assert "rule train:" in output
    assert output.endswith("This was a dry-run (flag -n).\n")


def test_verbose_says_everything(make):
    handler, stream = make(verbose=True)
    say(handler, "Select jobs to execute...")
    start(handler, 1, "a")
    assert "Select jobs" in stream.getvalue()
    assert "rule train:" in stream.getvalue()


def test_what_the_user_asked_to_be_quiet_about_is_counted_all_the_same(make):
    progress.expect(TABLE)
    handler, stream = make(quiet=[Quietness.RULES, Quietness.PROGRESS])
    plan(handler)
    start(handler, 1, "a")
    finish(handler, 1)
    assert stream.getvalue() == ""
    assert handler.run.line().startswith("tiny: 10 of 40 networks trained, 1 of 8 jobs, 20%")


@pytest.mark.parametrize("of_this_process", [True, False])
def test_once_it_is_stopped_it_says_nothing(make, folder, of_this_process):
    progress.expect(TABLE)
    handler, stream = make(terminal=True)
    plan(handler)
    plugin.STOPPING.parent.mkdir(parents=True)
    plugin.STOPPING.write_text(str(os.getpid() if of_this_process else os.getpid() + 1))
    before = stream.getvalue()
    say(handler, "Traceback", LogEvent.ERROR, logging.ERROR)
    fail(handler, 1, folder / "none.log")
    handler.close()
    after = stream.getvalue().removeprefix(before)
    # the progress line goes, in either case
    assert (after == "\r\x1b[2K") == of_this_process
    assert ("Traceback" in after) != of_this_process


def test_on_a_terminal_one_line_stays_below_the_output(make):
    progress.expect(TABLE)
    handler, stream = make(terminal=True)
    plan(handler)
    start(handler, 1, "a")
    say(handler, "something failed", level=logging.ERROR)
    lines = re.split(r"[\r\n]+", stream.getvalue())
    shown = [line.replace("\x1b[2K", "") for line in lines if line]
    # the time left may move on between the two
    untimed = [re.sub(r"about [^|]* left", "about some left", line) for line in shown[-2:]]
    now = re.sub(r"about [^|]* left", "about some left", handler.run.line())
    assert untimed[0] == "\x1b[31msomething failed\x1b[0m"
    # as much of it as the terminal is wide
    assert now.startswith(untimed[1])
    assert len(untimed[1]) > 40
    assert handler.run.line().endswith("| running: 1 train")
    handler.close()
    assert stream.getvalue().endswith("\r\x1b[2K")


def test_elsewhere_a_line_comes_from_time_to_time(make):
    progress.expect(TABLE)
    handler, stream = make()
    assert plugin.LogHandler(MockOutputSettings(), None).interval == 60.0
    handler.interval = 0.01
    plan(handler)
    while stream.getvalue().count("tiny: 0 of 40 networks trained, 0 of 8 jobs, 0%") < 2:
        pass
    handler.close()
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_that_is_gone_ends_no_run(make):
    handler, stream = make(terminal=True)
    stream.close()
    plan(handler)
    handler.close()


def test_an_error_of_its_own_does_not_reach_snakemake(make, capsys):
    handler, _ = make()
    plan(handler)
    handler.handleError = lambda record: None
    say(handler, "no fields", LogEvent.JOB_FINISHED)  # would raise KeyError
    say(handler, "still here", level=logging.WARNING)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def running(table=TABLE, stats=STATS, folder="told"):
    clock = Clock()
    Path(folder).mkdir(exist_ok=True)
    return RunProgress(table, stats, Path(folder), clock), clock, Path(folder)


def tell(folder, name, fraction, units):
    told = {"fraction": fraction, "left_s": 1.0, "units_done": units}
    (folder / f"{name}.json").write_text(json.dumps(told))


def numbers(line):
    found = re.match(
        r"tiny: (\d+) of (\d+) networks trained, (\d+) of (\d+) jobs, (\d+)%, about (.*) left", line
    )
    return [int(text) for text in found.groups()[:5]], found[6]


def test_what_was_handed_to_a_cluster_need_not_run_yet():
    run, _, _ = running(dataclasses.replace(TABLE, queued=True))
    run.start(1, "train-tiny-a")
    assert run.line().endswith("| queued or running: 1 train")


def test_time_left_is_the_tables_first_and_the_runs_own_later():
    run, clock, folder = running()
    # 500 s of work on two cores
    assert numbers(run.line()) == ([0, 40, 0, 8, 0], "4 min")
    assert run._left(500) == pytest.approx(250)
    run.start(1, "train-tiny-a")
    run.start(2, "train-tiny-b")
    # twice as slow as expected
    for elapsed in (20, 50, 100):
        clock.now = elapsed
        for name in ("a", "b"):
            tell(folder, f"train-tiny-{name}", elapsed / 200, elapsed // 20)
        run.line()
    left = run._left(500)
    assert 300 < left < 400  # 200 s by the table, 400 s by what was seen
    assert numbers(run.line())[0] == [10, 40, 0, 8, 20]
    # once most is done, its own speed: a second of work a second
    for job in range(1, 8):
        run.start(job, f"{'train' if job < 5 else 'measure'}-tiny-{'abcdabc'[job - 1]}")
        run.finish(job)
    clock.now = 475
    run.line()
    assert run._left(500) == pytest.approx(25, rel=0.1)


def test_neither_share_nor_networks_run_backward():
    run, clock, folder = running()
    seen = []
    for step in range(40):
        clock.now += 5
        job = step // 10
        name = f"train-tiny-{'abcd'[job]}"
        if step % 10 == 0:
            run.start(job, name)
        tell(folder, name, step % 10 / 10, step % 10)
        if step == 15:  # a job fails and starts again from nothing
            run.fail(job)
            run.start(job, name)
        if step % 10 == 9:
            # its file goes before Snakemake hears of its end
            (folder / f"{name}.json").unlink()
            seen.append(numbers(run.line())[0])
            run.finish(job)
        seen.append(numbers(run.line())[0])
    for column in (0, 2, 4):
        values = [found[column] for found in seen]
        assert values == sorted(values)
    assert seen[-1][:4] == [40, 40, 4, 8]
    assert seen[-1][4] == 80


def test_a_run_that_goes_on_counts_what_is_left(folder):
    outputs = {name: f"{name}.out" for name in TABLE.seconds}
    for done in ("train-tiny-a", "train-tiny-b", "train-tiny-c", "measure-tiny-a"):
        (folder / f"{done}.out").touch()
    seconds = dict(TABLE.seconds) | {"train-tiny-d": 300.0}
    networks = dict(TABLE.networks) | {"train-tiny-d": 70}
    table = Expected("tiny", TABLE.report, seconds, networks, 1, outputs)
    run, _, _ = running(table, {"train": 1, "measure": 3, "total": 4})
    assert run._all() == (300 + 75, 70)
    # one more than is missing: any of the others
    run, _, _ = running(table, {"train": 2, "measure": 3, "total": 5})
    assert run._all() == (300 + 100 + 75, 80)
    # without knowing what is there: the mean
    run, _, _ = running(Expected("tiny", "", seconds, networks), {"train": 1, "total": 1})
    assert run._all() == (150, 25)
    run.start(1, "train-tiny-d")
    assert run._all() == (300, 70)


def test_jobs_that_the_table_does_not_know_are_counted():
    run, clock, _ = running(Expected("tiny", "", {}, {}), {"all": 1, "report": 2, "total": 3})
    run.start(1, "report-tiny")
    run.finish(1)
    clock.now = 3.0
    assert run.line() == "tiny: 1 of 3 jobs, 33%, about 6 s left"


def test_all_is_said_only_when_all_is_done():
    run, _, folder = running(TABLE, {"train": 1, "total": 1})
    run.start(1, "train-tiny-a")
    assert numbers(run.line())[0] == [0, 10, 0, 1, 0]
    tell(folder, "train-tiny-a", 1.0, 10)
    assert numbers(run.line())[0] == [10, 10, 0, 1, 99]
    run.finish(1)
    assert numbers(run.line())[0] == [10, 10, 1, 1, 100]


def test_a_job_keeps_how_far_it_is(folder, monkeypatch):
    monkeypatch.setenv("SENSIGAP_PROGRESS", str(folder / "job.json"))
    made = progress.Progress(4, "working", interval=0)
    made.advance()
    assert json.loads((folder / "job.json").read_text()).keys() == {"fraction", "left_s"}
    made.units_done = 2
    made.advance()
    told = json.loads((folder / "job.json").read_text())
    assert (told["fraction"], told["units_done"]) == (0.5, 2)
