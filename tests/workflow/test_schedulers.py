"""The profiles of other schedulers than Slurm: what they ask for, and how they take an answer."""

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys

import psutil
import pytest

from checkouts import REPOSITORY, copy_repository, processes_of, wait_for

pytestmark = pytest.mark.workflow
RUN = ("workflow/run.py",)
PATIENCE_S = 120
PROFILE = ("--workflow-profile", "profiles/pbs", "--until", "train")
SCRIPTS = REPOSITORY / "profiles" / "generic"
#: two trainings of ten seconds, or some
LONG = {
    "defaults": {"steps": 200_000, "width": 16, "batch_size": 20, "learning_rate": 0.1},
    "factors": {},
    "measures": {"ellipses": {"share": 0}},
    "execution": {"cohort_tflop": 0.5, "checkpoint_seconds": 0.5},
}


@pytest.fixture
def pbs(tmp_path, monkeypatch):
    """A folder with what a PBS on this host knows of its jobs."""
    commands, known = tmp_path / "bin", tmp_path / "pbs"
    known.mkdir()
    commands.mkdir()
    for name in ("qsub", "qstat", "qdel"):
        (commands / name).symlink_to(REPOSITORY / "tests" / "workflow" / "pbs.sh")
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PBS", str(known))
    monkeypatch.setenv("SENSIGAP_PRETEND_DEVICES", "4")
    yield known
    for path in known.glob("[0-9]*"):
        if not path.suffix:
            with contextlib.suppress(OSError):
                os.killpg(int(path.read_text()), signal.SIGKILL)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    checkout = copy_repository(tmp_path_factory.mktemp("here"))
    checkout.configure(LONG)
    checkout.snakemake("--until", "train", command=RUN)
    return checkout.contents()


@pytest.fixture
def checkout(tmp_path):
    copy = copy_repository(tmp_path / "copy")
    copy.configure(LONG)
    return copy


@contextlib.contextmanager
def head(checkout):
    """A run in the background."""
    with (checkout.folder / "told").open("w") as output:
        run = subprocess.Popen(
            [sys.executable, *RUN, *PROFILE, "--configfile", "tiny.yaml"],
            cwd=checkout.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield run
    finally:
        kill(run)


def kill(run):
    with contextlib.suppress(psutil.Error):
        for process in processes_of(run):
            process.kill()
    run.wait()


def in_training(checkout, run):
    wait_for(
        lambda: len([*checkout.networks.glob("*/*.checkpoint")]) == 2,
        "checkpoints",
        PATIENCE_S,
        run,
    )


def jobs(pbs):
    """Process groups of all jobs that were submitted."""
    return [int(path.read_text()) for path in sorted(pbs.glob("[0-9]*")) if not path.suffix]


def alive(group):
    return any(
        os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
        for process in psutil.process_iter()
        if psutil.pid_exists(process.pid)
    )


def test_a_job_asks_for_what_it_needs_and_a_killed_one_is_done_again(pbs, checkout, expected):
    with head(checkout) as run:
        in_training(checkout, run)
        os.killpg(jobs(pbs)[0], signal.SIGKILL)

        def noticed():
            # it asks once a minute
            for asked in (checkout.folder / "results" / "cluster").glob("*.asked"):
                os.utime(asked, (0, 0))
            return len(jobs(pbs)) == 3

        wait_for(noticed, "the job to be submitted again", PATIENCE_S, run)
        assert run.wait(300) == 0, (checkout.folder / "told").read_text()
    assert checkout.went_on()
    assert checkout.contents() == expected
    first, *_, again = (pbs / "asked").read_text().splitlines()
    asks = r"-l select=1:ncpus=1:ngpus=1:mem=(\d+)mb -l walltime=(\d+):00 "
    memory, minutes = map(int, re.search(asks, first).groups())
    assert re.search(asks, again).groups() == (str(2 * memory), str(2 * minutes))


def test_a_stopped_head_cancels_its_jobs(pbs, checkout):
    with head(checkout) as run:
        in_training(checkout, run)
        run.send_signal(signal.SIGTERM)
        assert run.wait(120) == 130
    for job in jobs(pbs):
        wait_for(lambda job=job: not alive(job), "its end", PATIENCE_S)


def test_after_a_killed_head_no_work_is_done_twice(pbs, checkout, expected):
    with head(checkout) as run:
        in_training(checkout, run)
        kill(run)
    assert all(map(alive, jobs(pbs)))
    with head(checkout) as run:
        assert run.wait(300) == 0, (checkout.folder / "told").read_text()
    assert checkout.contents() == expected
    for log in checkout.networks.glob("*/train.log"):
        text = log.read_text()
        assert "is being worked on by another process" in text or "resuming from" in text


def answering(folder, code, text):
    """A command that says `text` and ends with `code`."""
    path = folder / "answer"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def said(folder, script, *arguments):
    (folder / "results" / "cluster").mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [SCRIPTS / script, *map(str, arguments)],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def statuses(folder, code, text):
    """What is said of a job by three questions, a minute from one to the next."""
    answer = answering(folder, code, text)
    found = []
    for _ in range(3):
        found.append(said(folder, "status.sh", answer, "-j", "7")[1])
        asked = folder / "results" / "cluster" / "7.asked"
        if asked.exists():
            os.utime(asked, (0, 0))
    return found


GONE = [
    (153, "qstat: Unknown Job Id 7.here"),  # OpenPBS
    (153, "qstat: Unknown Job Id Error 7.here"),  # Torque
    (35, "qstat: 7.here Job has finished, use -x or -H to obtain historical job information"),
    (1, "Following jobs do not exist: \n7"),  # Grid Engine
    (255, "Job <7> is not found"),  # LSF
    (0, "EXIT"),
    (0, "DONE"),
    (1, "slurm_load_jobs error: Invalid job id specified"),
]
THERE = [
    (0, "7.here  snakejob.train.5  me  00:00:10 R workq"),
    (0, "RUN"),
    (0, "PEND"),
    # schedulers that do not answer
    (1, "error: commlib error: got select error (Connection refused)"),
    (1, 'error: unable to send message to qmaster using port 6444 on host "a": got send error'),
    (255, "qstat: cannot connect to server here (errno=15010)"),
    (255, "LSF is down. Please wait ..."),
    (127, "status.sh: 17: qstat: not found"),
]


@pytest.mark.parametrize(("code", "text"), GONE)
def test_a_job_that_left_no_word_has_failed_a_minute_after_it_is_gone(tmp_path, code, text):
    assert statuses(tmp_path, code, text)[:2] == ["running", "failed"]


@pytest.mark.parametrize(("code", "text"), THERE)
def test_a_job_runs_while_it_is_listed_or_nobody_answers(tmp_path, code, text):
    assert statuses(tmp_path, code, text) == ["running"] * 3


def test_a_scheduler_is_asked_once_a_minute(tmp_path):
    counting = answering(tmp_path, 0, "R")
    counting.write_text(counting.read_text().replace("cat", "echo >>asked; cat"))
    for _ in range(3):
        assert said(tmp_path, "status.sh", counting, "7")[1] == "running"
    assert len((tmp_path / "asked").read_text().splitlines()) == 1


@pytest.mark.parametrize(("code", "status"), [(0, "success"), (1, "failed"), (143, "failed")])
def test_what_a_job_left_is_its_end(tmp_path, code, status):
    script = tmp_path / "job.sh"
    script.write_text(
        (SCRIPTS / "job.sh").read_text().format(properties="{}", exec_job=f"cd / && exit {code}")
    )
    (tmp_path / "results" / "cluster").mkdir(parents=True)
    given = {"PBS_JOBID": "7.here", "PBS_O_WORKDIR": str(tmp_path)}
    done = subprocess.run(["sh", script], check=False, cwd="/", env=os.environ | given)
    assert done.returncode == code
    silent = answering(tmp_path, 1, "no answer")
    assert said(tmp_path, "status.sh", silent, "7")[1] == status
    assert not [*(tmp_path / "results" / "cluster").iterdir()]


@pytest.mark.parametrize(
    "text",
    [
        "7.here",
        "7",
        'Your job 7 ("snakejob.train.12.sh") has been submitted',
        "Job <7> is submitted to default queue <normal>.",
        "Submitted batch job 7",
    ],
)
def test_a_submission_tells_the_jobs_number(tmp_path, text):
    left = tmp_path / "results" / "cluster" / "7.ended"
    left.parent.mkdir(parents=True)
    left.write_text("0\n")
    assert said(tmp_path, "submit.sh", answering(tmp_path, 0, text), "script")[:2] == (0, "7")
    assert not left.exists(), "it was of another job of that number"


@pytest.mark.parametrize(("code", "text"), [(1, "7: no such queue"), (0, "submitted")])
def test_a_submission_that_fails_is_told(tmp_path, code, text):
    found, told, why = said(tmp_path, "submit.sh", answering(tmp_path, code, text), "script")
    assert found != 0
    assert not told
    assert text in why
