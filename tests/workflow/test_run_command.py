"""`make run` after a kill, and beside another run."""

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from checkouts import copy_repository

pytestmark = pytest.mark.workflow
RUN = ("workflow/run.py",)


def start(checkout, *targets):
    return subprocess.Popen(
        [sys.executable, *RUN, "--cores", "2", "--configfile", "tiny.yaml", *targets],
        cwd=checkout.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(condition, what):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited a minute for {what}")


@pytest.mark.parametrize("orphans", [False, True], ids=["jobs killed too", "jobs go on as orphans"])
def test_a_killed_run_goes_on_by_itself(tmp_path, orphans):
    checkout = copy_repository(tmp_path)
    # enough steps that a job is still at work when the run is killed
    checkout.configure({"defaults": {"steps": 4000, "width": 16, "batch_size": 20}})
    run = start(checkout, "--until", "train")
    wait_for(lambda: list(checkout.networks.glob("*/train.log")), "a training job")
    if orphans:
        run.kill()
    else:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert any((checkout.folder / ".snakemake" / "locks").iterdir())
    done = checkout.snakemake("--until", "train", command=RUN)
    assert "going on from where it was" in done.stderr
    weights = {path.parent.name for path in checkout.weights()}
    assert weights == {cohort for cohort, _ in checkout.plan().values()}
    assert not list(checkout.networks.glob("*/*.checkpoint"))


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
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def test_eight_jobs_share_four_devices(tmp_path, monkeypatch):
    checkout = copy_repository(tmp_path)
    # eight cohorts of one network, long enough to be at work at the same time
    checkout.configure(
        {
            "survey": [{"search": "grid", "axes": {"seed": list(range(8)), "steps": [3000]}}],
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
