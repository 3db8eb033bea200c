"""A Snakemake that is at work in a folder is told from one that was killed there."""

import subprocess
import sys

import pytest

from running import refusal_beside_another


@pytest.fixture
def folder(tmp_path):
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").touch()
    (tmp_path / "snakemake").write_text("import sys; print(1, flush=True); sys.stdin.read()")
    return tmp_path


def at_work(folder, *arguments):
    process = subprocess.Popen(
        [sys.executable, "snakemake", *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    return process


def test_one_that_is_at_work_is_named(folder):
    with at_work(folder) as process:
        told = refusal_beside_another(folder)
        process.communicate()
    assert f"process {process.pid}) is at work in {folder}" in told
    assert "--unlock" not in told
    assert refusal_beside_another(folder) == ""


def test_jobs_that_outlived_theirs_are_no_run(folder):
    with at_work(folder, "--target-jobs", "train:") as process:
        assert refusal_beside_another(folder) == ""
        process.communicate()


def test_without_a_lock_nobody_is_asked(folder):
    for lock in (folder / ".snakemake" / "locks").iterdir():
        lock.unlink()
    with at_work(folder) as process:
        assert refusal_beside_another(folder) == ""
        process.communicate()
