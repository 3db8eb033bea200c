"""How the run command stops a Snakemake, whatever that does, and what it hands on to it."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "run_command", Path(__file__).parents[2] / "workflow" / "run.py"
)
run_command = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run_command)

#: in Snakemake's place: starts a job through a shell, and does with signals what is said
FAKE = """
import signal, subprocess, sys, time
for name in sys.argv[2:]:
    signal.signal(getattr(signal, name), signal.SIG_IGN)
job = subprocess.Popen(["sh", "-c", sys.argv[1] + "; true"])
print("ready", flush=True)
try:
    job.wait()
    while True:
        time.sleep(0.05)
except KeyboardInterrupt:
    sys.exit(7)
"""
#: takes a while to write what it has; a second signal would end it
JOB = """
import signal, time
from pathlib import Path
def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(1)
    Path("kept").touch()
    raise SystemExit(1)
signal.signal(signal.SIGTERM, end)
Path("begun").touch()
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / run_command.STOPPING).parent.mkdir(parents=True)
    return tmp_path


def stopped(command, *ignored):
    """Starts the fake, stops it and returns its exit code."""
    fake = subprocess.Popen(
        [sys.executable, "-c", FAKE, command, *ignored],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert fake.stdout.readline() == b"ready\n"
    while "begun" in command and not Path("begun").exists():
        pass
    run_command.stop(fake.pid, fake)
    assert run_command.STOPPING.read_text() == str(fake.pid)
    fake.stdout.close()
    return fake.returncode


def test_it_waits_for_a_job_that_writes(folder):
    (folder / "begun.py").write_text(JOB)
    # Snakemake is gone at once, its job takes its time
    assert stopped(f"{sys.executable} begun.py") == -signal.SIGTERM
    assert (folder / "kept").exists()


def test_one_that_waits_for_jobs_elsewhere_is_told_more_firmly(monkeypatch):
    monkeypatch.setattr(run_command, "PATIENCE_S", (0.3, 30.0))
    assert stopped("true", "SIGTERM") == 7


def test_one_that_hangs_is_killed(monkeypatch):
    monkeypatch.setattr(run_command, "PATIENCE_S", (0.2, 0.5))
    assert stopped("true", "SIGTERM", "SIGINT") == -signal.SIGKILL


@pytest.mark.parametrize(("ignored", "code"), [((), 7), (("SIGINT",), -signal.SIGKILL)])
def test_jobs_in_slurm_are_cancelled_at_once(folder, monkeypatch, capsys, ignored, code):
    monkeypatch.setattr(run_command, "PATIENCE_S", (0.3, 30.0))
    (folder / "bin").mkdir()
    for name, does in (("squeue", "cat queue"), ("scancel", ": > queue")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >> asked\n{does}\n')
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (folder / "queue").write_text("7 sensigap_a-run\n")
    (folder / ".snakemake" / "log").mkdir()
    (folder / ".snakemake" / "log" / "1.snakemake.log").write_text("SLURM run ID: sensigap_a-run\n")
    assert stopped("true", "SIGTERM", *ignored) == code
    assert "--name sensigap_a-run" in (folder / "asked").read_text()
    assert (folder / "queue").read_text() == ""
    assert "they keep what they have" in capsys.readouterr().err


def test_one_that_has_ended_needs_no_stopping():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    run_command.stop(ended.pid, ended)


def test_the_users_logger_is_left_alone(monkeypatch):
    assert run_command.logger_arguments(["--cores", "2"]) == ["--logger=sensigap"]
    assert run_command.logger_arguments(["--logger", "other"]) == []
    assert run_command.logger_arguments(["--logger=other"]) == []
    monkeypatch.setitem(sys.modules, "snakemake_logger_plugin_sensigap", None)
    assert run_command.logger_arguments(["--cores", "2"]) == []


def test_without_file_locks_it_says_so_and_goes_on(monkeypatch, capsys, folder):
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)

    def unsupported(*_):
        raise OSError("not supported")

    monkeypatch.setattr(run_command.fcntl, "flock", unsupported)
    assert run_command.take(lock)
    monkeypatch.setattr(run_command, "fcntl", None)
    assert run_command.take(lock)
    assert len(capsys.readouterr().err.splitlines()) == 2
    os.close(lock)


def test_who_holds_the_lock_can_be_read(folder):
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    assert run_command.holders(lock) == (None, None)
    run_command.write(lock, "12345 678")
    run_command.write(lock, "12 34")
    assert run_command.holders(lock) == (12, 34)
    os.close(lock)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--configfile", "nowhere.yaml"], "nowhere.yaml"),
        (["--cores", "2", "--configfile=nowhere.yaml", "-n"], "nowhere.yaml"),
        (["--configfiles", "there.yaml", "nowhere.yaml", "--cores", "2"], "nowhere.yaml"),
        (["--configfile", "."], "."),
        (["--configfile", "there.yaml", "-n"], ""),
        (["--cores", "2"], ""),
    ],
)
def test_a_configuration_file_that_is_not_there_is_one_message(folder, arguments, named):
    (folder / "there.yaml").write_text("study: there\n")
    told = run_command.faulty_configuration(arguments)
    assert (f"1. {named}: found " in told) == bool(named)
    assert ("a configuration file (YAML)" in told) == bool(named)
    assert bool(told) == bool(named)
