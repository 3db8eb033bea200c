import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sensigap import interrupt

SOURCE = Path(interrupt.__file__).parents[1]


@pytest.fixture(autouse=True)
def handlers_as_before(monkeypatch):
    """Signals of the process that runs the tests mean afterwards what they meant before."""
    before = {n: signal.getsignal(n) for n in (*interrupt.SIGNALS, signal.SIGALRM)}
    hook = sys.unraisablehook
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)
    sys.unraisablehook = hook
    monkeypatch.setattr(interrupt._requests, "made", False)


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_raises_where_the_process_is(number):
    interrupt.install()
    assert not interrupt.requested()
    with pytest.raises(interrupt.Interrupted):
        signal.raise_signal(number)
    assert interrupt.requested()
    signal.raise_signal(number)  # a second one disturbs no clean-up


def test_within_deferred_it_is_only_noted():
    interrupt.install()
    with interrupt.deferred():
        with interrupt.deferred():
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested()
    assert interrupt.requested()


def test_no_except_clause_for_errors_catches_it():
    interrupt.install()
    with pytest.raises(interrupt.Interrupted), contextlib.suppress(Exception):
        signal.raise_signal(signal.SIGTERM)


def test_what_was_ignored_stays_ignored_and_a_job_that_ends_ignores_signals():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt.install()
    signal.raise_signal(signal.SIGINT)
    assert not interrupt.requested()
    interrupt.ignore()
    signal.raise_signal(signal.SIGTERM)
    assert not interrupt.requested()


def test_a_request_that_python_drops_ends_the_process_all_the_same():
    code = """
import signal, time
from sensigap import interrupt
interrupt.PATIENCE_S = 0.2
class Gone:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
interrupt.install()
Gone()
print("dropped", flush=True)
for _ in range(200):
    time.sleep(0.05)
print("went on")
"""
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (interrupt.STATUS, "dropped\n", "")


def test_nothing_heavy_is_imported():
    done = python("import sys, sensigap.interrupt; print('torch' in sys.modules)")
    assert done.stdout == "False\n"


def python(code, **keywords):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **keywords,
    )


JOB = """
import sys, time
from types import SimpleNamespace
from job import job
class Wildcards(dict):
    pass
snakemake = SimpleNamespace(rule="rule", log=["logs/a.log"], wildcards=Wildcards(study="s", n=1))
with job(snakemake):
    from sensigap.progress import Progress
    progress = Progress(2, "working", interval=0)
    progress.units_done = 3
    progress.advance()
    while True:
        time.sleep(0.05)
"""


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_job_ends_with_a_line_in_its_log_and_silence_elsewhere(tmp_path, number):
    support = Path(__file__).parents[2] / "workflow" / "support"
    running = subprocess.Popen(
        [sys.executable, "-c", JOB],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(SOURCE), str(support)])},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    told = tmp_path / ".snakemake" / "sensigap" / "progress" / "rule-s-1.json"
    ends = time.monotonic() + 60
    while not told.exists():
        assert time.monotonic() < ends
        time.sleep(0.02)
    state = json.loads(told.read_text())
    assert (state["fraction"], state["units_done"]) == (0.5, 3)
    running.send_signal(number)
    output, _ = running.communicate(timeout=60)
    assert (running.returncode, output) == (interrupt.STATUS, b"")
    lines = (tmp_path / "logs" / "a.log").read_text().splitlines()
    assert [line for line in lines if "asked to end" in line] == lines[-1:]
    assert not told.exists()
