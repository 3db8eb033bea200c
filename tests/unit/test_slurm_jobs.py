"""Slurm jobs of a run: found by the log, cancelled with it, and why Slurm ended one."""

import os
import time

import pytest

import slurm
from snakemake_logger_plugin_sensigap.slurm import ACCOUNT_GUESSES, why

NAME = "sensigap_0b7f5c1e-0000-4000-8000-000000000000"
OTHER = "sensigap_11111111-0000-4000-8000-000000000000"
#: in the place of Slurm's commands: a queue in a file, and what was asked
SQUEUE = '#!/bin/sh\necho "squeue $*" >> asked\n[ ! -e silent ] && cat queue\n'
SCANCEL = '#!/bin/sh\necho "scancel $*" >> asked\n: > queue\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    for name, text in (("squeue", SQUEUE), ("scancel", SCANCEL)):
        command = tmp_path / "bin" / name
        command.write_text(text)
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "ASK_EVERY_S", 0.0)
    (tmp_path / ".snakemake" / "log").mkdir(parents=True)
    (tmp_path / "queue").write_text(f"7 {NAME}\n8 {OTHER}\n9 another\n")
    return tmp_path


def log(folder, name, text, age=0.0):
    path = folder / ".snakemake" / "log" / f"{name}.snakemake.log"
    path.write_text(text)
    changed = time.time() - age
    os.utime(path, (changed, changed))


def asked(folder):
    path = folder / "asked"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_runs_are_found_in_snakemakes_logs(folder):
    assert slurm.runs(folder / ".snakemake") == []
    log(folder, "old", f"Building DAG\nSLURM run ID: {OTHER}\nmore\n", age=4000)
    log(folder, "local", "Building DAG\n", age=100)
    log(folder, "new", f"SLURM run ID: {NAME}\n")
    assert slurm.runs(folder / ".snakemake") == [NAME, OTHER]
    assert slurm.runs(folder / ".snakemake", since=time.time() - 200) == [NAME]
    assert slurm.runs(folder / "nowhere") == []


def test_jobs_of_other_runs_are_left_alone(folder):
    assert slurm.in_queue([NAME]) == ["7"]
    assert slurm.in_queue([NAME, OTHER]) == ["7", "8"]


def test_where_no_run_was_in_slurm_nothing_is_asked(folder):
    assert slurm.in_queue([]) == []
    slurm.cancel([])
    assert asked(folder) == []


def test_what_is_left_is_cancelled_and_waited_for(folder):
    said = []
    slurm.cancel_left([NAME], said.append)
    assert asked(folder) == ["squeue", "scancel", "squeue"]
    assert f"--name {NAME}" in (folder / "asked").read_text()
    assert said == ["Jobs of a run that is over are still in Slurm (7): they are cancelled."]
    slurm.cancel_left([NAME], said.append)
    assert len(said) == 1


def test_a_slurm_that_does_not_answer_is_told(folder):
    (folder / "silent").touch()
    said = []
    slurm.cancel_left([NAME], said.append)
    assert asked(folder) == ["squeue"]
    assert f"scancel --name {NAME}" in said[0]


@pytest.mark.parametrize(
    ("text", "reason", "more"),
    [
        (
            "slurmstepd-node7.cluster: error: Step 7.0 exceeded memory limit (636973056 > "
            "314572800), being killed\n"
            "slurmstepd-vm: error: *** JOB 7 ON vm CANCELLED AT 2026-01-01T00:00:00 ***\n",
            "it took 607 MB of memory, of 300 MB",
            "--set-resources train:mem_mb=",
        ),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks "
            "have been OOM Killed.\n",
            "it took more memory than it had asked for",
            "--set-resources train:mem_mb=",
        ),
        (
            "slurmstepd-vm: error: *** JOB 7 ON vm CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME "
            "LIMIT ***\n",
            "it took longer than it had asked for",
            "--set-resources train:runtime=",
        ),
        (
            "slurmstepd-vm: error: *** JOB 7 ON vm CANCELLED AT 2026-01-01T00:00:00 DUE TO "
            "PREEMPTION ***\n",
            "another job took its place",
            "",
        ),
        (
            "slurmstepd-vm: error: *** JOB 7 ON vm CANCELLED AT 2026-01-01T00:00:00 ***\n",
            "somebody cancelled it",
            "",
        ),
    ],
    ids=["memory", "cgroups", "time", "preemption", "cancelled"],
)
def test_slurms_log_says_why_a_job_ended(folder, text, reason, more):
    (folder / "rule.log").write_text("trained; the paper was CANCELLED AT last\n")
    (folder / "7.log").write_text(f"Building DAG of jobs...\n{text}")
    told, log = why(["rule.log", "nowhere.log", "7.log"], "train")
    assert log == "7.log"
    assert told.startswith(f"Slurm ended the job: {reason}")
    assert told.endswith("(7.log)")
    assert more in told
    assert "\n" not in told


def test_a_job_that_failed_by_itself_is_not_slurms(folder):
    (folder / "7.log").write_text("Error in rule train\nsrun: error: vm: task 0: Exited with 1\n")
    assert why(["7.log"], "train") == ("", "")
    assert why([], "train") == ("", "")


def test_guesses_of_an_account_are_known():
    assert ACCOUNT_GUESSES.match("No SLURM account given, trying to guess.")
    assert not ACCOUNT_GUESSES.match("Guessed SLURM account: research")
