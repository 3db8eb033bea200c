import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensigap import cohorts
from test_spec import BASE


def specs(count, **changes):
    return [
        dataclasses.replace(BASE, seed=seed, width=16 * (1 + seed % 3), **changes)
        for seed in range(count)
    ]


def cohorts_of(plan):
    found = {}
    for identity, (cohort, _) in plan.items():
        found.setdefault(cohort, set()).add(identity)
    return found


@given(first=st.integers(0, 30), second=st.integers(0, 30), tflop=st.floats(1e-4, 10))
def test_a_plan_only_grows(first, second, tflop):
    old = cohorts.extend({}, specs(first), tflop * 1e12)
    new = cohorts.extend(old, specs(second), tflop * 1e12)
    assert list(new)[: len(old)] == list(old)
    assert all(new[identity] == old[identity] for identity in old)
    assert set(new) == {spec.id for spec in specs(max(first, second))}
    # no cohort of the old plan gained a member
    grown = cohorts_of(new)
    assert all(grown[cohort] == members for cohort, members in cohorts_of(old).items())


def test_cohorts_cost_about_the_budget():
    wanted = specs(60)
    budget = sum(map(cohorts.flops, wanted)) / 6
    plan = cohorts.extend({}, wanted, budget)
    costs = [
        sum(cohorts.flops(spec) for spec in cohorts.specs_by_cohort(plan)[cohort])
        for cohort in cohorts_of(plan)
    ]
    assert len(costs) in (6, 7)
    assert max(costs) < 1.5 * budget


def test_one_data_set_a_cohort():
    plan = cohorts.extend({}, [*specs(5), *specs(5, dataset="mnist")], 1e20)
    assert {cohort.rpartition("-")[0] for cohort in cohorts_of(plan)} == {"digits", "mnist"}
    for cohort in cohorts_of(plan):
        assert len({spec.dataset for spec in cohorts.specs_by_cohort(plan)[cohort]}) == 1


def test_a_large_network_is_a_cohort_alone():
    plan = cohorts.extend({}, specs(4), 1.0)
    assert sorted(map(len, cohorts_of(plan).values())) == [1, 1, 1, 1]


def test_round_trip_and_writing_only_news(tmp_path):
    path = tmp_path / "demo" / "plan.csv"
    assert cohorts.read_plan(path) == {}
    plan = cohorts.extend({}, specs(5), 1e11)
    cohorts.write_plan(plan, path)
    assert cohorts.read_plan(path) == plan
    written = path.stat().st_mtime_ns
    cohorts.write_plan(plan, path)
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "text", ["nonsense\n1\n", "network,cohort,spec\na,b,{}\n", "network,cohort,spec\na,b\n"]
)
def test_a_broken_plan_is_told(tmp_path, text):
    path = tmp_path / "plan.csv"
    path.write_text(text)
    with pytest.raises(cohorts.PlanError, match=r"plan\.csv: expected a plan"):
        cohorts.read_plan(path)


def test_members_leaves_out_cohorts_without_any():
    plan = cohorts.extend({}, specs(6), 1.0)
    chosen = [specs(6)[2].id]
    assert cohorts.members(plan, chosen) == {plan[chosen[0]][0]: chosen}
