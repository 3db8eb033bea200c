import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensigap import cohorts, cost, networks, weights
from sensigap.datasets.known import KNOWN
from test_spec import BASE


def cohort_cost(spec):
    return cost.cohort_cost(spec, KNOWN[spec.dataset])


def specs(count, **changes):
    return [
        dataclasses.replace(BASE, seed=seed, width=16 * (1 + seed % 3), **changes)
        for seed in range(count)
    ]


def extend(plan, wanted, budget):
    return cohorts.extend(plan, wanted, budget, cohort_cost)


def cohorts_of(plan):
    found = {}
    for identity, (cohort, _) in plan.items():
        found.setdefault(cohort, set()).add(identity)
    return found


def write_all(plan, folder):
    for cohort, members in cohorts.specs_by_cohort(plan).items():
        cohorts.write_table(members, folder / cohort / cohorts.TABLE)


def write_weights(folder, cohort, members):
    stacks = [([spec], networks.initial([spec], 64, 10)) for spec in members]
    weights.save(folder / cohort / cohorts.WEIGHTS, stacks)


@given(first=st.integers(0, 30), second=st.integers(0, 30), tflop=st.floats(1e-4, 10))
def test_a_plan_only_grows(first, second, tflop):
    old = extend({}, specs(first), tflop * 1e12)
    new = extend(old, specs(second), tflop * 1e12)
    assert list(new)[: len(old)] == list(old)
    assert all(new[identity] == old[identity] for identity in old)
    assert set(new) == {spec.id for spec in specs(max(first, second))}
    # no cohort of the old plan gained a member
    grown = cohorts_of(new)
    assert all(grown[cohort] == members for cohort, members in cohorts_of(old).items())


def test_cohorts_cost_about_the_budget():
    wanted = specs(60)
    budget = sum(map(cohort_cost, wanted)) / 6
    plan = extend({}, wanted, budget)
    costs = [
        sum(cohort_cost(spec) for spec in cohorts.specs_by_cohort(plan)[cohort])
        for cohort in cohorts_of(plan)
    ]
    assert len(costs) in (6, 7)
    assert max(costs) < 1.5 * budget


def test_one_data_set_a_cohort():
    plan = extend({}, [*specs(5), *specs(5, dataset="mnist")], 1e20)
    assert set(map(cohorts.dataset_of, cohorts_of(plan))) == {"digits", "mnist"}
    for cohort in cohorts_of(plan):
        assert len({spec.dataset for spec in cohorts.specs_by_cohort(plan)[cohort]}) == 1


def test_a_large_network_is_a_cohort_alone():
    plan = extend({}, specs(4), 1.0)
    assert sorted(map(len, cohorts_of(plan).values())) == [1, 1, 1, 1]


def test_what_is_written_is_read(tmp_path):
    assert cohorts.read_all(tmp_path / "networks", ["digits"]) == {}
    wanted = [
        *specs(5),
        dataclasses.replace(BASE, labels="random", max_shift=2, flip=True, learning_rate=1e-4),
        *specs(3, dataset="mnist"),
    ]
    plan = extend({}, wanted, 5e9)
    write_all(plan, tmp_path)
    assert cohorts.read_all(tmp_path, ["digits", "mnist"]) == plan
    only = cohorts.read_all(tmp_path, ["mnist"])
    assert {spec.dataset for _, spec in only.values()} == {"mnist"}


def test_the_name_is_that_of_its_networks_in_any_order(tmp_path):
    plan = extend({}, specs(4), 1e20)
    ((name, members),) = cohorts_of(plan).items()
    assert name == cohorts.name_of("digits", sorted(members, reverse=True))
    table = cohorts.table(cohorts.specs_by_cohort(plan)[name])
    assert table == cohorts.table(reversed(cohorts.specs_by_cohort(plan)[name]))


@pytest.mark.parametrize("damage", ["a line lost", "a value changed", "emptied", "other columns"])
def test_a_damaged_table_of_a_trained_cohort_is_read_from_its_weights(tmp_path, damage):
    plan = extend({}, specs(3), 1e20)
    write_all(plan, tmp_path)
    ((name, members),) = cohorts.specs_by_cohort(plan).items()
    path = tmp_path / name / cohorts.TABLE
    text = path.read_text()
    path.write_text(
        {
            "a line lost": "".join(text.splitlines(keepends=True)[:-1]),
            "a value changed": text.replace("0.03", "0.04", 1),
            "emptied": "",
            "other columns": "a,b\n1,2\n",
        }[damage]
    )
    with pytest.raises(cohorts.CohortError, match=rf"{name}.*expected the networks of {name}"):
        cohorts.read_table(path)
    # not trained: planned anew, in the same cohort
    assert cohorts.read_all(tmp_path, ["digits"]) == {}
    assert extend({}, specs(3), 1e20) == plan
    write_weights(tmp_path, name, members)
    assert cohorts.read_all(tmp_path, ["digits"]) == plan
    path.unlink()
    assert cohorts.read_all(tmp_path, ["digits"]) == plan


def test_a_trained_cohort_that_nothing_names_is_an_error_with_its_remedy(tmp_path):
    folder = tmp_path / "digits-123456789abc"
    folder.mkdir()
    (folder / cohorts.WEIGHTS).write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(cohorts.CohortError, match=r"digits-123456789abc.*delete the folder"):
        cohorts.read_all(tmp_path, ["digits"])


def test_a_network_in_two_cohorts_counts_where_it_was_trained(tmp_path):
    first, second = specs(2), specs(3)
    names = [cohorts.name_of("digits", [spec.id for spec in some]) for some in (first, second)]
    for name, members in zip(names, (first, second), strict=True):
        cohorts.write_table(members, tmp_path / name / cohorts.TABLE)
    assert cohorts.read_all(tmp_path, ["digits"])[first[0].id][0] == min(names)
    write_weights(tmp_path, max(names), dict(zip(names, (first, second), strict=True))[max(names)])
    assert cohorts.read_all(tmp_path, ["digits"])[first[0].id][0] == max(names)


def test_what_an_earlier_design_planned_binds_only_what_is_asked_for(tmp_path):
    wanted = specs(12)
    plan = extend({}, wanted, sum(map(cohort_cost, wanted)) / 4)
    write_all(plan, tmp_path)
    asked = {spec.id for spec in wanted}
    assert cohorts.read_all(tmp_path, ["digits"], asked) == plan
    # one network is no longer asked for
    gone = wanted[0].id
    cohort = plan[gone][0]
    rest = {identity: found for identity, found in plan.items() if found[0] != cohort}
    assert 0 < len(rest) < len(plan) - 1
    assert cohorts.read_all(tmp_path, ["digits"], asked - {gone}) == rest
    # unless some of the cohort has been trained
    checkpoint = tmp_path / cohort / f"{cohorts.WEIGHTS}.checkpoint"
    checkpoint.touch()
    assert cohorts.read_all(tmp_path, ["digits"], asked - {gone}) == plan
    checkpoint.unlink()
    write_weights(tmp_path, cohort, [found[1] for i, found in plan.items() if found[0] == cohort])
    assert cohorts.read_all(tmp_path, ["digits"], asked - {gone}) == plan


def test_members_leaves_out_cohorts_without_any():
    plan = extend({}, specs(6), 1.0)
    chosen = [specs(6)[2].id]
    assert cohorts.members(plan, chosen) == {plan[chosen[0]][0]: chosen}


def test_no_bit_of_a_table_can_change_unseen(tmp_path):
    two = specs(2)
    folder = tmp_path / cohorts.name_of("digits", [spec.id for spec in two])
    path = folder / cohorts.TABLE
    cohorts.write_table(two, path)
    assert cohorts.fault(path) == ""
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in (0, 2, 5):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            assert cohorts.fault(path), (place, bit)
