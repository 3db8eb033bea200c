"""The Slurm profile on a real Slurm of one node, and faults: the results are those of two cores.

`make test-slurm`; for root on a Debian, which need not have Slurm: see cluster.sh.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from checkouts import Checkout, copy_repository, processes_of

pytestmark = pytest.mark.slurm
CLUSTER = Path(__file__).with_name("cluster.sh")
RUN = ("workflow/run.py",)
PROFILE = ("--workflow-profile", "profiles/slurm")
#: asks soon whether a job has ended: the trials are short
SOON = ("--slurm-init-seconds-before-status-checks", "3")
STEPS = 20_000
#: two trainings of some ten seconds, with a checkpoint every second
CHANGES = {
    "defaults": {"steps": STEPS, "width": 16, "batch_size": 20, "learning_rate": 0.05},
    "factors": {},
    "measures": {"transitions": {"points": 10}, "ellipses": {"share": 0}},
    "execution": {"cohort_tflop": 2.5e-6 * STEPS, "checkpoint_seconds": 1},
}
#: Slurm takes a minute to enforce a limit, and holds a job back for two that it starts again
PATIENCE_S = 400
MESSAGES_WITHOUT_MEANING = ("No account was given", "Unable to guess", "No SLURM account given")
STOPPED = "The run was stopped; what is finished is kept, and the same command goes on from here."


def cluster(*arguments):
    return subprocess.run(
        [CLUSTER, *arguments], check=False, capture_output=True, text=True, timeout=900
    )


def slurm(*command):
    """What a command of Slurm's says."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def node():
    """Slurm, for as long as the tests of this file take."""
    up = cluster("up")
    if up.returncode == 77:
        pytest.skip((up.stdout + up.stderr).strip().splitlines()[-1])
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        yield
    finally:
        down = cluster("down")
        assert down.returncode == 0, down.stdout + down.stderr


@pytest.fixture(scope="module", autouse=True)
def devices():
    """Jobs lease pretended devices and compute on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSIGAP_PRETEND_DEVICES", "4")
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> Checkout:
    """The study by two cores of this host."""
    checkout = copy_repository(tmp_path_factory.mktemp("two_cores"))
    checkout.configure(CHANGES)
    checkout.snakemake("--until", "claims", command=RUN)
    assert len(checkout.weights()) == 2
    return checkout


class Head:
    """A run of the study by the profile, in the background."""

    def __init__(self, checkout, *arguments):
        self.checkout = checkout
        self.told = checkout.folder / f"head_{len(list(checkout.folder.glob('head_*')))}.txt"
        with self.told.open("w") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, *RUN, *PROFILE, *SOON, "--configfile", "tiny.yaml"),
                    *arguments,
                ],
                cwd=checkout.folder,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self):
        return self.told.read_text()

    def wait(self, condition, what):
        """Waits for something to be true while the head goes on, and returns it."""
        ends = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert self.process.poll() is None, f"the head ended before {what}:\n{self.text}"
            assert time.monotonic() < ends, f"waited for {what}:\n{self.text}"
            time.sleep(0.1)
        return found

    def succeeds(self):
        assert self.process.wait(900) == 0, self.text
        for message in MESSAGES_WITHOUT_MEANING:
            assert message not in self.text
        return self.text

    def jobs(self, *which):
        """Numbers of this head's jobs in the queue, those in a state with `-t STATE`."""
        named = re.search(r"SLURM run ID: (\S+)", self.log)
        return (
            slurm("squeue", "-h", "--name", named[1], "-o", "%i", *which).split() if named else []
        )

    def running(self):
        return self.jobs("-t", "RUNNING")

    def pending(self):
        return self.jobs("-t", "PENDING")

    @property
    def log(self):
        logs = sorted((self.checkout.folder / ".snakemake" / "log").glob("*.log"))
        return logs[-1].read_text() if logs else ""

    def end(self):
        """Ends what a failed test leaves."""
        with contextlib.suppress(psutil.Error):
            for process in processes_of(self.process):
                process.kill()
        self.process.wait()
        for job in self.jobs():
            subprocess.run(["scancel", job], check=False)


@pytest.fixture
def study(tmp_path, expected):
    """A folder in which the study is to run, with its data set."""
    checkout = copy_repository(tmp_path)
    checkout.configure(CHANGES)
    shutil.copytree(
        expected.folder / "results" / "datasets",
        checkout.folder / "results" / "datasets",
        copy_function=shutil.copy2,
    )
    heads = []

    def start(*arguments):
        heads.append(Head(checkout, *arguments))
        return heads[-1]

    checkout.start = start
    yield checkout
    for head in heads:
        head.end()


def training_process(job):
    """The process of a Slurm job that trains: the newest, below the Snakemakes around it."""
    steps = slurm("scontrol", "listpids", job).splitlines()[1:]
    processes = []
    for line in steps:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(line.split()[0]))
            processes += [process, *process.children(recursive=True)]
    scripts = [p for p in processes if any("tmp" in w and "train.py" in w for w in p.cmdline())]
    return max(scripts or processes, key=lambda process: process.create_time())


def halted(head):
    """Numbers of both trainings' jobs, halted with a checkpoint; Slurm wakes whom it ends."""
    jobs = head.wait(lambda: len(found := head.running()) == 2 and found, "both trainings")
    kept = head.checkout.networks
    head.wait(lambda: len(list(kept.glob("*/*.checkpoint"))) == 2, "checkpoints")
    for job in jobs:
        training_process(job).suspend()
    return jobs


def assert_as_expected(checkout, expected):
    """Weights as two cores make them, and what follows from them too."""
    assert checkout.contents() == expected.contents()
    if not (checkout.study / "claims.csv").exists():
        done = checkout.snakemake("--until", "claims", command=RUN)
        # the weights that were compared are the ones that are used
        assert not re.search(r"^train +\d", done.stdout + done.stderr, re.MULTILINE)
    assert (checkout.study / "claims.csv").read_bytes() == (
        expected.study / "claims.csv"
    ).read_bytes()


def test_a_study_to_its_report(study, expected):
    head = study.start()
    text = head.succeeds()
    assert "Report: results/tiny/report.html" in text
    name = re.search(r"SLURM run ID: (sensigap_\S+)", head.log)[1]
    accounted = slurm(
        "sacct", "-X", "-n", "-P", "--name", name, "--format", "State,Comment,AllocTRES"
    )
    asked = {}
    for line in accounted.splitlines():
        state, comment, resources = line.split("|")
        assert state == "COMPLETED"
        rule = re.match(r"rule_([a-z]+)", comment)[1]
        asked.setdefault(rule, set()).add("gres/gpu=1" in resources)
    on_gpu = {"train", "jacobian", "transitions", "complexity"}
    assert {rule for rule, given in asked.items() if given == {True}} == on_gpu
    assert {rule for rule, given in asked.items() if given == {False}} == {
        *("survey", "claims", "leaderboard", "figures", "report")
    }
    assert_as_expected(study, expected)


def test_a_cancelled_job_is_seen_and_done_again_and_a_drained_node_waits(study, expected):
    node = slurm("sinfo", "-h", "-o", "%N")
    head = study.start("--until", "train")
    job, other = halted(head)
    slurm("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=trial")
    try:
        slurm("scancel", job)
        head.wait(lambda: "somebody cancelled it" in head.text, "the head to see it")
        head.wait(head.pending, "the job to be submitted again")
        training_process(other).resume()
    finally:
        slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
    head.succeeds()
    assert study.went_on()
    assert_as_expected(study, expected)


def test_a_requeued_job_goes_on(study, expected):
    head = study.start("--until", "train")
    jobs = halted(head)
    slurm("scontrol", "requeue", ",".join(jobs))
    head.wait(lambda: sorted(head.pending()) == sorted(jobs), "Slurm to take them back")
    for job in jobs:
        # Slurm holds it for two minutes
        slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
    head.succeeds()
    assert study.went_on()
    assert_as_expected(study, expected)


def test_a_time_limit_is_told_and_the_job_keeps_its_gpu(study, expected):
    head = study.start("--until", "train", "--set-resources", "train:runtime=attempt")
    for job in halted(head):
        assert "gres/gpu=1" in slurm("scontrol", "show", "job", job)
    head.wait(lambda: "it took longer than it had asked for" in head.text, "the limit")
    assert "--set-resources train:runtime=" in head.text
    head.succeeds()
    assert study.went_on()
    assert_as_expected(study, expected)


def test_a_job_that_takes_too_much_memory_gets_more(study, expected):
    head = study.start("--until", "train", "--set-resources", "train:mem_mb=attempt*400")
    text = head.succeeds()
    assert re.search(r"Slurm ended the job: it took (\d+) MB of memory, of (400|800) MB", text)
    assert "--set-resources train:mem_mb=" in text
    assert_as_expected(study, expected)


def test_nothing_is_lost_while_the_accounting_is_away(study, expected):
    head = study.start("--until", "train")
    head.wait(head.running, "a training")
    assert cluster("stop", "slurmdbd").returncode == 0
    try:
        # for a minute, in which trainings end
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.process.wait(60)
    finally:
        assert cluster("start", "slurmdbd").returncode == 0
    head.succeeds()
    assert_as_expected(study, expected)


def test_a_killed_head_is_followed_by_one_that_cancels_its_jobs(study, expected):
    first = study.start("--until", "train")
    jobs = halted(first)
    for process in processes_of(first.process):
        process.kill()
    first.process.wait()
    second = study.start("--until", "train")
    text = second.succeeds()
    assert "The last run was cut short; going on from where it was." in text
    assert (
        f"Jobs of a run that is over are still in Slurm ({', '.join(jobs)}): they are cancelled"
        in text
    )
    ended = slurm("sacct", "-X", "-n", "-P", "-j", ",".join(jobs), "--format", "State")
    assert all(state.startswith("CANCELLED") for state in ended.splitlines())
    assert study.went_on()
    assert_as_expected(study, expected)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_stopped_head_cancels_its_jobs(study, expected, number):
    head = study.start("--until", "train")
    halted(head)
    head.process.send_signal(number)
    assert head.process.wait(300) == 130, head.text
    assert head.text.splitlines()[-1] == STOPPED
    assert "Traceback" not in head.text
    assert not head.jobs()
    assert not any((study.folder / ".snakemake" / "locks").glob("*"))
    assert study.start("--until", "train").succeeds()
    assert study.went_on()
    assert_as_expected(study, expected)
