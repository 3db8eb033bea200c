"""What a run is said to take before it starts."""

import dataclasses

import pytest

from sensigap import cohorts, cost, estimate, records
from sensigap.datasets.known import KNOWN
from sensigap.declarations import MEASURES
from sensigap.estimate import Estimate
from sensigap.workplan import OldResultsError, WorkPlan
from test_spec import BASE

STUDY = {
    "study": "small",
    "datasets": {"digits": {}},
    "survey": [{"search": "grid", "axes": {"depth": [1, 2], "width": [16, 64], "seed": [0, 1]}}],
    "measures": {"ellipses": {"share": 1}, "slices": {"networks": [{"depth": 1, "width": 16}]}},
    "execution": {"cohort_tflop": 0.02},
}


@pytest.fixture
def plan(tmp_path):
    return WorkPlan(STUDY, tmp_path)


def train(plan, cohort, seconds, factor=1.0, made_by=None):
    """Makes it look as if a cohort had been trained in `factor` times the time that it should."""
    place = plan.root / "networks" / cohort
    store = place / cohorts.TRAINING
    store.mkdir(parents=True)
    made_by = made_by or plan.made_by("train")
    cohorts.write_table(plan.specs[cohort], place / cohorts.TABLE)
    (place / cohorts.WEIGHTS).write_bytes(b"")
    records.write_inside(store, made_by)
    (place / "train.tsv").write_text(f"s\th:m:s\n{seconds * factor}\t0:00\n")


def test_what_a_clusters_queue_takes_is_not_known(plan):
    queued = Estimate(plan, side_by_side=2, queued=True)
    assert "side by side, and what jobs wait in the cluster's queue.\n" in queued.text()
    assert queued.expected("report.html").queued


def test_nothing_there_means_everything_is_to_be_made(plan):
    whole = Estimate(plan, side_by_side=2)
    assert all(job.needed for job in whole.jobs)
    stages = {job.stage for job in whole.jobs}
    # the study names no functions of its own
    assert stages == {"train", *MEASURES, *estimate.AFTERWARDS} - {"custom"}
    text = whole.text()
    assert f"small: {len(plan.members)} networks on digits; 0 are trained" in text
    assert f"to train in {len(plan.cohorts)} cohorts" in text
    assert "by the cost model alone" in text
    assert "with 2 jobs side by side.\n" in text
    assert "WARNING" not in text
    names = {job.name for job in whole.jobs}
    expected = whole.expected("report.html")
    assert set(expected.seconds) == names
    assert sum(expected.networks.values()) == len(plan.members)
    assert {"survey-digits", "claims", f"train-{next(iter(plan.cohorts))}"} <= names


def test_what_is_trained_is_not_to_be_trained_and_its_timings_correct_the_model(plan, tmp_path):
    first = next(iter(plan.cohorts))
    alone = {cohort: Estimate(plan).seconds("train", cohort) for cohort in plan.cohorts}
    train(plan, first, alone[first], factor=3.0)
    later = Estimate(WorkPlan(STUDY, tmp_path))
    untrained = [job.of for job in later.jobs if job.stage == "train" and job.needed]
    assert first not in untrained
    assert len(untrained) == len(plan.cohorts) - 1
    assert later.corrections == {"train": pytest.approx(3.0, rel=1e-6)}
    for cohort in untrained:
        assert later.seconds("train", cohort) == pytest.approx(3 * alone[cohort], rel=1e-6)
    assert f"{len(plan.cohorts[first])} are trained" in later.text()
    assert "by earlier timings" in later.text()


def test_training_by_other_code_counts_as_none(plan, tmp_path):
    first = next(iter(plan.cohorts))
    train(plan, first, 10, made_by="other code")
    place = tmp_path / "networks" / first / cohorts.TRAINING
    assert not WorkPlan(STUDY, tmp_path).trained(first)
    assert plan.stale(place, plan.made_by("train"))


def test_a_small_disk_is_a_warning_with_both_numbers(plan, monkeypatch):
    monkeypatch.setattr(estimate, "_free", lambda folder: 5e8)
    text = Estimate(plan).text()
    assert "WARNING: the disk of" in text
    assert "found 500 MB" in text


def test_odd_timings_are_passed_over(plan, tmp_path):
    first = next(iter(plan.cohorts))
    train(plan, first, 10)
    for text in ("", "s\n", "s\tx\n-\t1\n", "nonsense"):
        (tmp_path / "networks" / first / "train.tsv").write_text(text)
        assert Estimate(WorkPlan(STUDY, tmp_path)).corrections == {}


@pytest.mark.parametrize(
    "more",
    [{"width": 128}, {"depth": 5}, {"steps": 5000}, {"batch_size": 256}, {"optimizer": "lbfgs"}],
)
def test_more_work_costs_more(more):
    larger, facts = dataclasses.replace(BASE, **more), KNOWN[BASE.dataset]
    assert cost.training_flops(larger, facts) > cost.training_flops(BASE, facts)
    if more.keys() & {"width", "depth"}:
        settings = {
            "jacobian": {"points": 300, "training_points": 300},
            "transitions": {"points": 300, "precision": 0.01, "least": 150},
            "complexity": {"points": 200, "draws": 10},
            "ellipses": {"count": 8, "angles": 192},
            "slices": {},
        }
        for name, given in settings.items():
            assert cost.measuring_flops(name, larger, facts, given) > cost.measuring_flops(
                name, BASE, facts, given
            )
        assert cost.training_bytes([larger], facts) > cost.training_bytes([BASE], facts)


def test_transitions_cost_what_their_precision_asks_for():
    """STATISTICS, section 4: 140 points for 1%, and their number goes with 1 / precision^2."""
    facts = KNOWN[BASE.dataset]
    for points, precision, least, expected in (
        (300, 0.01, 25, 140),
        (300, 0.01, 150, 150),
        (1000, 0.005, 150, 560),
        (300, 0.005, 150, 300),
        (100, 0.02, 150, 100),
    ):
        settings = {"points": points, "precision": precision, "least": least}
        found = cost.measuring_flops("transitions", BASE, facts, settings)
        one = cost.measuring_flops("transitions", BASE, facts, settings | {"points": 1})
        assert found == pytest.approx(expected * one), settings


def test_the_time_of_a_step_is_about_what_was_measured():
    # benchmarks/README.md: microseconds of a core for a network's step, twice the whole machine's
    for inputs, width, depth, batch, measured in (
        ("digits", 32, 2, 64, 34),
        ("digits", 100, 3, 64, 193),
        ("digits", 100, 10, 64, 848),
        ("mnist", 100, 3, 128, 894),
        ("mnist", 500, 3, 128, 8_326),
        ("cifar10", 200, 3, 128, 5_080),
    ):
        spec = dataclasses.replace(
            BASE, dataset=inputs, width=width, depth=depth, batch_size=batch, steps=1
        )
        longer = dataclasses.replace(spec, steps=1001)
        more = cost.training_flops(longer, KNOWN[inputs]) - cost.training_flops(spec, KNOWN[inputs])
        step = more / 1000 / cost.CORE_RATE
        assert 0.6 < 1e6 * step / measured < 1.7, (inputs, width, depth)


def test_results_of_an_earlier_version_are_refused(tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "plan.csv").touch()
    with pytest.raises(OldResultsError, match=r"mv .*small .*small-old"):
        WorkPlan(STUDY, tmp_path)
