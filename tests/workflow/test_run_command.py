"""`make run` when it is stopped, after a kill, and beside another run."""

import itertools
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from checkouts import Checkout, copy_repository, processes_of, wait_for
from sensigap import checkpoints

pytestmark = pytest.mark.workflow
logger = logging.getLogger(__name__)
RUN = ("workflow/run.py",)
#: how often a run is stopped by each signal before it is left alone
STOPS = int(os.environ.get("SENSIGAP_STOPS", "2"))
#: two training jobs of three networks each, with seconds of work before each stop
LONG = {
    "defaults": {
        "steps": 80_000 * (STOPS + 1),
        "width": 16,
        "batch_size": 20,
        "learning_rate": 0.1,
    },
    "factors": {},
    "measures": {"ellipses": {"share": 0}},
    "execution": {"cohort_tflop": 2.04e-1 * (STOPS + 1)},
}
STOPPED = "The run was stopped; what is finished is kept, and the same command goes on from here."


def start(checkout, *targets, output=subprocess.DEVNULL):
    return subprocess.Popen(
        [sys.executable, *RUN, "--cores", "2", "--configfile", "tiny.yaml", *targets],
        cwd=checkout.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def steps_in(checkpoint):
    """Steps of all networks that a checkpoint holds; 0 where there is none."""
    found = checkpoints.read(checkpoint)
    header = found[0] if found else {"finished": [], "running": []}
    made = sum(entry["record"]["steps"][-1] for entry in header["finished"])
    return made + sum(entry["step"] for entry in header["running"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Checkout:
    """A run of the trainings that nothing disturbed."""
    checkout = copy_repository(tmp_path_factory.mktemp("trained"))
    checkout.configure(LONG)
    checkout.snakemake("--until", "train", command=RUN)
    assert len(checkout.contents()) == 2
    return checkout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_stopped_run_repeats_no_step(trained, tmp_path, number):
    checkout = copy_repository(tmp_path)
    checkout.configure(LONG)
    shutil.copytree(
        trained.folder / "results" / "datasets",
        checkout.folder / "results" / "datasets",
        copy_function=shutil.copy2,
    )
    moments = random.Random(f"{number}")
    cohorts = checkout.networks
    telling = checkout.folder / ".snakemake" / "sensigap" / "progress"
    kept = dict.fromkeys(trained.contents(), 0)
    for _ in range(STOPS):
        told = tmp_path / "output"
        with told.open("w") as output:
            run = start(checkout, "--until", "train", output=output)
            wait_for(lambda: len(list(telling.glob("train-*.json"))) == 2, "both trainings")
            time.sleep(moments.uniform(0, 1.5))
            processes = processes_of(run)
            asked = time.time()
            run.send_signal(number)
            time.sleep(moments.uniform(0, 0.1))
            run.send_signal(number)  # a second one cuts nothing
            assert run.wait(60) == 130
        lasted = time.time() - asked
        lines = told.read_text().splitlines()
        assert lines[-1] == STOPPED
        assert lines.count(STOPPED) == 1
        assert "Traceback" not in "\n".join(lines)
        assert not any("rror" in line or "Terminat" in line for line in lines), lines
        assert not any(map(psutil.Process.is_running, processes)), "all has ended before it"
        for cohort, before in kept.items():
            checkpoint = cohorts / cohort / "weights.safetensors.checkpoint"
            assert checkpoint.stat().st_mtime >= asked, "it holds what was made until the signal"
            kept[cohort] = steps_in(checkpoint)
            assert kept[cohort] > before
            log = cohorts / cohort / "train.log"
            assert "asked to end" in log.read_text().splitlines()[-1]
        logger.info("%s: over after %.2f s; steps kept: %s", number.name, lasted, kept)
    checkout.snakemake("--until", "train", command=RUN)
    assert checkout.contents() == trained.contents()


def test_a_run_stopped_while_it_starts_says_one_line(trained, tmp_path):
    checkout = copy_repository(tmp_path)
    checkout.configure(LONG)
    for seconds in (0.3, 1.0, 2.5, 4.0):
        with (tmp_path / "output").open("w") as output:
            run = start(checkout, "--until", "train", output=output)
            time.sleep(seconds)
            run.send_signal(signal.SIGINT)
            assert run.wait(60) == 130
        lines = (tmp_path / "output").read_text().splitlines()
        assert lines[-1] == STOPPED
        assert "Traceback" not in "\n".join(lines)


@pytest.mark.parametrize("survivors", ["none", "jobs", "snakemake"])
def test_a_killed_run_goes_on_by_itself(tmp_path, survivors):
    checkout = copy_repository(tmp_path)
    # enough steps that a job is still at work when the run is killed
    checkout.configure({"defaults": {"steps": 4000, "width": 16, "batch_size": 20}})
    run = start(checkout, "--until", "train")
    wait_for(lambda: list(checkout.networks.glob("*/train.log")), "a training job")
    processes = processes_of(run)
    for process in {"none": processes, "jobs": processes[:2], "snakemake": processes[:1]}[
        survivors
    ]:
        process.kill()
    run.wait()
    assert any((checkout.folder / ".snakemake" / "locks").iterdir())
    done = checkout.snakemake("--until", "train", command=RUN)
    assert "going on from where it was" in done.stderr
    weights = {path.parent.name for path in checkout.weights()}
    assert weights == {cohort for cohort, _ in checkout.plan().values()}


def test_a_second_run_beside_the_first_is_refused(tmp_path):
    checkout = copy_repository(tmp_path)
    checkout.configure()
    run = start(checkout, "--until", "train")
    try:
        lock = checkout.folder / ".snakemake" / "run.lock"
        wait_for(lambda: lock.exists() and lock.read_text(), "the lock")
        second = checkout.snakemake(command=RUN, check=False)
        assert second.returncode == 1
        assert f"Another run (process {run.pid})" in second.stderr
    finally:
        run.terminate()
        assert run.wait(60) == 130


def test_eight_jobs_share_four_devices(tmp_path, monkeypatch):
    checkout = copy_repository(tmp_path)
    # eight cohorts of one network, long enough to be at work at the same time
    checkout.configure(
        {
            "survey": [{"search": "grid", "axes": {"seed": list(range(8)), "steps": [12_000]}}],
            "factors": {},
            "measures": {"ellipses": {"share": 0}},
            "execution": {"cohort_tflop": 1e-6},
        }
    )
    monkeypatch.setenv("SENSIGAP_PRETEND_DEVICES", "4")
    checkout.snakemake("--until", "train", "--cores", "8", "--resources", "gpu=4")
    spans = {}
    for log in checkout.networks.glob("*/train.log"):
        lines = log.read_text().splitlines()
        leased = next(line for line in lines if "leased" in line)
        trained = next(line for line in lines if "trained 1 networks" in line)
        assert "taken" not in log.read_text(), (
            "Snakemake starts no more jobs than there are devices"
        )
        spans.setdefault(leased.split("leased ")[1], []).append((leased[:23], trained[:23]))
    assert sum(map(len, spans.values())) == 8
    assert len(spans) == 4
    for times in spans.values():
        ordered = sorted(times)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ordered))
