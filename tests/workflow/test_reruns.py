"""What runs again after a change, counted in jobs."""

import hashlib
import re
import shutil

import pytest
import yaml

from checkouts import TINY
from sensigap import cohorts

pytestmark = pytest.mark.workflow
AFTER_SURVEY = {"claims": 1, "leaderboard": 1, "figures": 1, "report": 1}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_nothing_changed_nothing_runs_and_the_report_is_named(finished):
    assert finished.jobs() == {}
    again = finished.snakemake(command=("workflow/run.py",))
    assert "Nothing to be done" in again.stderr
    assert again.stderr.splitlines()[-1] == "Report: results/tiny/report.html"
    # by itself Snakemake says what it always says
    assert "Report:" not in finished.snakemake().stderr


def test_the_run_ends_by_naming_the_report(finished):
    assert finished.output.splitlines()[-1] == "Report: results/tiny/report.html"
    assert (finished.study / "report.html").stat().st_size > 10_000


def test_an_analysis_key_runs_the_analysis(checkout):
    checkout.configure({"analysis": {"seed": 1}})
    assert checkout.jobs() == AFTER_SURVEY


@pytest.mark.parametrize(
    "changed", [{"transitions": {"points": 11}}, {"complexity": {"draws": 11}}]
)
def test_a_measures_key_runs_that_measure(checkout, changed):
    checkout.configure({"measures": TINY["measures"] | changed})
    (measure,) = changed
    found = checkout.jobs()
    assert found.keys() == {measure, "survey", *AFTER_SURVEY}
    assert found[measure] == len(list((checkout.study / "cohorts").iterdir()))


def test_a_seed_added_trains_and_measures_only_its_networks(checkout):
    weights = {path: digest(path) for path in checkout.study.glob("cohorts/*/weights.safetensors")}
    times = {path: path.stat().st_mtime_ns for path in weights}
    old = cohorts.read_plan(checkout.study / "plan.csv")
    checkout.configure(
        {"survey": [{"search": "grid", "axes": {"depth": [1, 2], "seed": [0, 1, 2, 3]}}]}
    )
    jobs = checkout.jobs()
    assert (checkout.study / "plan.csv").read_text().count("\n") == len(old) + 1, (
        "a dry run plans nothing"
    )
    checkout.snakemake()
    new = cohorts.read_plan(checkout.study / "plan.csv")
    added = {identity: entry for identity, entry in new.items() if identity not in old}
    assert sorted(spec.depth for _, spec in added.values()) == [1, 2]
    assert {spec.seed for _, spec in added.values()} == {3}
    new_cohorts = {cohort for cohort, _ in added.values()}
    for rule in ("train", "jacobian", "transitions", "complexity"):
        assert jobs[rule] == len(new_cohorts), rule
    assert jobs.get("ellipses", 0) <= len(new_cohorts)
    assert "slices" not in jobs
    assert {path: path.stat().st_mtime_ns for path in weights} == times
    assert checkout.jobs() == {}


def test_one_cohorts_weights_deleted_trains_that_cohort_with_the_same_weights(checkout):
    path = sorted(checkout.study.glob("cohorts/*/weights.safetensors"))[0]
    before = digest(path)
    others = {
        p: p.stat().st_mtime_ns
        for p in checkout.study.glob("cohorts/*/weights.safetensors")
        if p != path
    }
    path.unlink()
    jobs = checkout.jobs()
    for rule in ("train", "jacobian", "transitions", "complexity", "survey"):
        assert jobs[rule] == 1, rule
    assert jobs | AFTER_SURVEY == jobs
    checkout.snakemake("--until", "train")
    assert digest(path) == before
    assert {p: p.stat().st_mtime_ns for p in others} == others


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damaged_weights_are_named_and_made_again(checkout, damage):
    path = sorted(checkout.study.glob("cohorts/*/weights.safetensors"))[0]
    before = path.read_bytes()
    content = (
        before[:-50]
        if damage == "truncated"
        else before[:-9] + bytes([before[-9] ^ 1]) + before[-8:]
    )
    path.write_bytes(content)
    failed = checkout.snakemake("--until", "jacobian", check=False)
    told = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert re.search(r"weights\.safetensors is damaged.*run the workflow again", told, re.S)
    assert "Traceback" not in told
    assert checkout.jobs()["train"] == 1
    checkout.snakemake("--until", "train")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "name",
    [
        "src/sensigap/training/trainer.py",
        "src/sensigap/survey.py",
        "workflow/scripts/train.py",
        "workflow/scripts/claims.py",
    ],
)
def test_a_comment_runs_nothing(checkout, name):
    path = checkout.folder / name
    path.write_text("# why this is here\n" + path.read_text())
    assert checkout.jobs() == {}


def test_code_of_the_analysis_runs_the_analysis(checkout):
    path = checkout.folder / "src" / "sensigap" / "analysis" / "claims.py"
    path.write_text(path.read_text() + "\nWIDER = 1\n")
    found = checkout.jobs()
    assert found["claims"] == 1
    assert "train" not in found
    assert "survey" not in found


def test_a_network_taken_out_stays_trained_and_leaves_the_survey(checkout):
    checkout.configure({"survey": [{"search": "grid", "axes": {"depth": [1, 2], "seed": [0, 1]}}]})
    found = checkout.jobs()
    assert "train" not in found
    assert found["survey"] == 1
    checkout.configure()
    assert checkout.jobs() == {} or set(checkout.jobs()) <= {"design", "survey", *AFTER_SURVEY}


def test_a_lost_plan_is_planned_again_the_same(checkout):
    (checkout.study / "plan.csv").unlink()
    assert checkout.jobs() == {}


def test_no_key_of_the_default_study_leaks_into_another(untouched, tmp_path):
    # the default study has factors, slices and lbfgs networks; this one names none of them
    other = {
        "study": "other",
        "datasets": {"digits": {}},
        "survey": [{"search": "rows", "rows": [{"depth": 1}]}],
    }
    path = untouched.configure()
    path.write_text(yaml.safe_dump(other))
    try:
        untouched.snakemake("--until", "design", "results/other/design.csv")
        table = (untouched.folder / "results/other/design.csv").read_text().splitlines()
        assert len(table) == 2
        assert untouched.jobs()["train"] == 1
        assert "slices" not in untouched.jobs()
    finally:
        shutil.rmtree(untouched.folder / "results" / "other", ignore_errors=True)
        untouched.configure()
