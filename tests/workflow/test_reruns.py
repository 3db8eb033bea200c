"""What runs again after a change, counted in jobs."""

import hashlib
import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

from checkouts import TINY
from sensigap.figure_names import FIGURES

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
    assert found[measure] == len(checkout.weights())


def test_a_seed_added_trains_and_measures_only_its_networks(checkout):
    weights = {path: digest(path) for path in checkout.weights()}
    times = {path: path.stat().st_mtime_ns for path in weights}
    old = checkout.plan()
    checkout.configure(
        {"survey": [{"search": "grid", "axes": {"depth": [1, 2], "seed": [0, 1, 2, 3]}}]}
    )
    jobs = checkout.jobs()
    assert checkout.plan() == old, "a dry run plans nothing"
    checkout.snakemake()
    new = checkout.plan()
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
    path = checkout.weights()[0]
    before = digest(path)
    others = {p: p.stat().st_mtime_ns for p in checkout.weights() if p != path}
    path.unlink()
    jobs = checkout.jobs()
    for rule in ("train", "jacobian", "transitions", "complexity", "survey"):
        assert jobs[rule] == 1, rule
    assert jobs | AFTER_SURVEY == jobs
    checkout.snakemake("--until", "train")
    assert digest(path) == before
    assert {p: p.stat().st_mtime_ns for p in others} == others


def test_weights_that_are_cut_short_are_made_again_at_once(checkout):
    path = checkout.weights()[0]
    before = path.read_bytes()
    path.write_bytes(before[:-50])
    told = checkout.snakemake("--until", "train")
    assert re.search(r"weights\.safetensors is made again: it is cut short", told.stderr)
    assert path.read_bytes() == before


def test_damaged_weights_are_named_and_made_again(checkout):
    path = checkout.weights()[0]
    before = path.read_bytes()
    path.write_bytes(before[:-9] + bytes([before[-9] ^ 1]) + before[-8:])
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


def test_a_lost_table_of_a_cohort_trains_nothing(checkout):
    path = sorted(checkout.networks.glob("*/networks.csv"))[0]
    text = path.read_text()
    path.unlink()
    assert checkout.jobs() == {"cohort": 1}
    checkout.snakemake()
    assert path.read_text() == text
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
        shutil.rmtree(untouched.folder / "results", ignore_errors=True)
        untouched.configure()


def remade(checkout):
    """Rules that run again for each kind of output that is taken away."""
    weights = checkout.weights()[0]
    cohort = weights.parent.name
    measures = {
        path.stem for path in (checkout.study / "measures" / cohort).iterdir() if path.is_dir()
    }
    after = set(AFTER_SURVEY)
    return {
        "results/datasets/*.zarr": set(),
        f"results/networks/{cohort}/networks.csv": {"cohort"},
        f"results/networks/{cohort}/weights.safetensors": {"train", *measures, "survey", *after},
        f"results/networks/{cohort}/training.zarr": {"train", *measures, "survey", *after},
        **{
            f"results/tiny/measures/{cohort}/{name}.zarr": {name, "survey", *after}
            for name in measures
        },
        "results/tiny/design.csv": {"design", "survey", *after},
        "results/tiny/survey/digits.zarr": {"survey", *after},
        "results/tiny/claims.csv": {"claims", "figures", "report"},
        "results/tiny/claims.record.json": {"claims", "figures", "report"},
        "results/tiny/leaderboard.csv": {"leaderboard", "figures", "report"},
        "results/tiny/leaderboard.record.json": {"leaderboard", "figures", "report"},
        "results/tiny/figures/sensitivity.png": {"figures", "report"},
        "results/tiny/figures/slices.txt": {"figures", "report"},
        "results/tiny/figures/points.csv": {"figures", "report"},
        "results/tiny/figures/record.json": {"figures", "report"},
        "results/tiny/report.html": {"report"},
        "results/tiny/report.record.json": {"report"},
    }


def test_what_is_deleted_is_made_again_and_only_what_follows(checkout):
    aside = checkout.folder / "aside"
    for name, rules in remade(checkout).items():
        (path,) = checkout.folder.glob(name)
        path.rename(aside)
        assert checkout.jobs().keys() == rules, name
        aside.rename(path)
    assert checkout.jobs() == {}


def damaged_at(checkout):
    """What a run finds damaged before it starts, and the rules that run for it."""
    cohort = checkout.weights()[0].parent.name
    after = set(AFTER_SURVEY)
    return {
        f"results/networks/{cohort}/networks.csv": {"cohort"},
        f"results/tiny/measures/{cohort}/jacobian.zarr/jacobian_norm/0.0": {
            "jacobian",
            "survey",
            *after,
        },
        "results/tiny/design.csv": {"design", "survey", *after},
        "results/tiny/survey/digits.zarr/.zmetadata": {"survey", *after},
        "results/tiny/claims.csv": {"claims", "figures", "report"},
        "results/tiny/figures/points.csv": {"figures", "report"},
        "results/tiny/report.html": {"report"},
        "results/tiny/report.record.json": {"report"},
    }


def test_what_is_emptied_or_changed_is_made_again_and_only_what_follows(checkout):
    for name, rules in damaged_at(checkout).items():
        path = checkout.folder / name
        content, times = path.read_bytes(), path.stat()
        for damage in (b"", content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]):
            path.write_bytes(damage)
            assert checkout.jobs().keys() == rules, name
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert checkout.jobs() == {}


def test_a_directory_in_place_of_the_report_gives_way(checkout):
    path = checkout.study / "report.html"
    path.unlink()
    path.mkdir()
    (path / "something").touch()
    checkout.snakemake()
    assert path.stat().st_size > 10_000


def test_a_data_set_that_is_newer_or_gone_trains_nothing(checkout):
    (store,) = checkout.folder.glob("results/datasets/*.zarr")
    for path in [*store.rglob("*"), store]:
        os.utime(path)
    assert checkout.jobs() == {}
    shutil.rmtree(store)
    assert checkout.jobs() == {}
    # one depth added: the data set comes back, and only the new networks train
    checkout.configure(
        {"survey": [{"search": "grid", "axes": {"depth": [1, 2, 3], "seed": [0, 1, 2]}}]}
    )
    jobs = checkout.jobs()
    assert jobs["dataset"] == 1
    assert jobs["cohort"] == jobs["train"] == jobs["jacobian"] == 1
    checkout.snakemake("--until", "train", "transitions")
    assert {spec.depth for _, spec in checkout.plan().values()} == {1, 2, 3}
    assert "train" not in checkout.jobs()


def test_a_study_of_another_name_trains_nothing(checkout):
    checkout.configure({"study": "other"})
    jobs = checkout.jobs()
    assert "train" not in jobs
    assert "cohort" not in jobs
    assert jobs["survey"] == 1


def test_networks_that_two_studies_share_are_trained_once(checkout):
    other = {
        "study": "other",
        "survey": [{"search": "grid", "axes": {"depth": [2], "seed": [0, 1, 2, 3]}}],
        "factors": {},
    }
    checkout.configure(other)
    before = checkout.plan()
    checkout.snakemake("--until", "train")
    new = {identity for identity in checkout.plan() if identity not in before}
    assert len(new) == 1


def test_a_copy_without_time_stamps_is_taken_over_once_it_is_verified(checkout):
    results = checkout.folder / "results"
    shutil.rmtree(checkout.folder / ".snakemake")
    copy = checkout.folder / "copy"
    shutil.copytree(results, copy, copy_function=shutil.copyfile)
    # as if the measures had been copied before the networks
    for path in copy.glob("tiny/**/*"):
        os.utime(path, (1e9, 1e9))
    shutil.rmtree(results)
    copy.rename(results)
    assert checkout.jobs().keys() >= {"jacobian", "survey", "report"}
    told = checkout.snakemake(command=("-m", "sensigap", "adopt"), plain=True)
    assert "all files are as they were written" in told.stderr
    assert checkout.jobs() == {}
    # damaged on the way: told, and made again with what follows
    claims = checkout.study / "claims.csv"
    claims.write_bytes(claims.read_bytes()[:-1])
    (chunk,) = checkout.study.glob("survey/digits.zarr/gap/0")
    chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])
    told = checkout.snakemake(command=("-m", "sensigap", "adopt"), plain=True, check=False)
    assert told.returncode == 1
    assert "claims.csv is damaged: " in told.stderr
    assert "digits.zarr is damaged" in told.stderr
    assert checkout.jobs() == {"survey": 1, **AFTER_SURVEY}


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"analysis": {"seed": 1}}, set(AFTER_SURVEY)),
        (
            {"measures": TINY["measures"] | {"complexity": {"draws": 11}}},
            {"complexity", "survey", *AFTER_SURVEY},
        ),
    ],
    ids=["analysis", "complexity"],
)
def test_no_stale_result_passes_where_snakemakes_own_notes_are_gone(checkout, changes, rules):
    shutil.rmtree(checkout.folder / ".snakemake")
    assert checkout.jobs() == {}
    checkout.configure(changes)
    assert checkout.jobs().keys() == rules
    checkout.snakemake()
    assert checkout.jobs() == {}
    # and back, also where nothing but the stores can tell
    checkout.configure()
    shutil.rmtree(checkout.folder / ".snakemake" / "metadata")
    assert checkout.jobs().keys() == rules


def test_stale_code_does_not_pass_where_snakemakes_own_notes_are_gone(checkout):
    shutil.rmtree(checkout.folder / ".snakemake")
    path = checkout.folder / "src" / "sensigap" / "measures" / "transitions.py"
    path.write_text(path.read_text() + "\nWIDER = 1\n")
    assert checkout.jobs().keys() == {"transitions", "survey", *AFTER_SURVEY}


def test_results_of_an_earlier_version_are_told(checkout):
    (checkout.study / "plan.csv").write_text("network,cohort,spec\n")
    told = checkout.snakemake("-n", check=False)
    assert told.returncode != 0
    assert re.search(r"results of an earlier version.*mv results/tiny", told.stderr, re.S)
    assert "Traceback" not in told.stderr


def test_snakemakes_own_report_holds_report_figures_and_tables(checkout):
    checkout.snakemake("--report", "archive.zip")
    with zipfile.ZipFile(checkout.folder / "archive.zip") as archive:
        held = {Path(name).name for name in archive.namelist()}
        (page,) = [name for name in archive.namelist() if re.fullmatch(r"\w+/report\.html", name)]
        text = archive.read(page).decode()
    figures = {f"{name}.png" for name in FIGURES}
    assert {"report.html", "claims.csv", "leaderboard.csv", *figures} <= held
    for title in FIGURES.values():
        assert title in text
