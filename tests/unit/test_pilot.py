"""Which networks are trained first, and what they foretell."""

import math
from collections import Counter

import pytest
from scipy import stats

from sensigap import config, pilot
from sensigap.config import Analysis
from sensigap.design import design
from sensigap.pilot import Trained
from sensigap.workplan import WorkPlan

AXES = {
    "depth": [1, 2, 3, 4],
    "width": [16, 32, 64, 96],
    "unit": ["relu", "hardtanh"],
    "gain": [1.0, 2.0],
}
PAIRS = {"depth": [1, 2, 3], "width": [32, 64], "gain": [1.0, 2.0], "seed": [0, 1]}


def mapping(draws=300, pairs=PAIRS, **more):
    return {
        "study": "small",
        "datasets": {"digits": {}},
        "survey": [{"search": "random", "draws": draws, "axes": AXES}],
        "factors": {name: {"axes": pairs} for name in ("labels", "unit", "noise")},
        **more,
    }


def members(**changes):
    return design(config.load(mapping(**changes)))


def trained(design_of, fits, accuracy=0.8):
    """Networks as if trained: those that `fits` takes fit at step 100."""
    return {
        identity: Trained(True, 100, 1.0) if fits(member.spec) else Trained(False, -1, accuracy)
        for identity, member in design_of.items()
    }


def findings(design_of, fits, among=None, accuracy=0.8, **analysis):
    known = trained(design_of, fits, accuracy)
    known = {identity: known[identity] for identity in among or known}
    settings = Analysis(**{"minimum_architectures": 3, **analysis})
    return pilot.findings(design_of, known, settings, lambda dataset: 1.0)


def row(found, **values):
    table = found.table
    for name, value in values.items():
        table = table[table[name] == value]
    assert len(table) == 1, values
    return table.iloc[0]


# --- the choice -----------------------------------------------------------------------------------


def test_each_value_and_side_is_met_often_enough():
    everyone = members()
    chosen = pilot.choose(everyone)
    assert len(set(chosen)) == len(chosen)
    survey = [everyone[i].spec for i in chosen if everyone[i].in_survey]
    assert len(survey) >= 40
    for name, values in AXES.items():
        counts = Counter(getattr(spec, name) for spec in survey)
        assert all(counts[value] >= 8 for value in values), name
    for factor, sides in pilot.pairs(everyone).items():
        whole = [pair for pair, both in sides.items() if {*both} <= {*chosen}]
        assert len(whole) >= 4, factor
    # and not much more
    assert len(chosen) < 0.4 * len(everyone)


def test_the_choice_goes_by_ids_alone():
    everyone = members()
    backwards = dict(reversed(everyone.items()))
    assert set(pilot.choose(backwards)) == set(pilot.choose(everyone))


def test_a_larger_design_keeps_most_pilots():
    few, many = members(draws=300), members(draws=330)
    assert set(few) < set(many)
    kept = set(pilot.choose(few)) & set(pilot.choose(many))
    assert len(kept) >= 0.8 * len(pilot.choose(few))


def test_a_small_study_is_its_own_pilot(tmp_path):
    assert pilot.choose(members(draws=20, pairs={"depth": [1], "seed": [0]})) == []
    plan = WorkPlan(mapping(draws=20, pairs={"depth": [1], "seed": [0]}), tmp_path)
    assert plan.pilots == []
    assert plan.pilot_cohorts == list(plan.cohorts)


def test_pilots_have_cohorts_of_their_own(tmp_path):
    plan = WorkPlan(mapping(), tmp_path)
    apart = {spec.id for cohort in plan.pilot_cohorts for spec in plan.specs[cohort]}
    assert apart == set(plan.pilots)
    assert set(plan.pilot_cohorts) < set(plan.cohorts)
    # without it the same networks are trained
    without = WorkPlan(mapping(execution={"pilot": "off"}), tmp_path)
    assert without.pilots == []
    assert set(without.members) == set(plan.members)


# --- what they foretell ---------------------------------------------------------------------------


def test_shares_and_expected_numbers():
    everyone = members()
    chosen = pilot.choose(everyone)
    found = findings(everyone, lambda spec: spec.depth <= 2, chosen)
    survey = [everyone[i].spec for i in chosen if everyone[i].in_survey]
    fitted = sum(spec.depth <= 2 for spec in survey)
    total = sum(member.in_survey for member in everyone.values())

    one = row(found, kind="survey", name="C0, C2")
    assert (one["pilots"], one["fitted"], one["in_study"]) == (len(survey), fitted, total)
    assert one["expected"] == pytest.approx(total * fitted / len(survey))
    law = stats.beta(fitted + 0.5, len(survey) - fitted + 0.5)
    assert one["share_low"] == pytest.approx(law.ppf(0.025))
    assert one["share_high"] == pytest.approx(law.ppf(0.975))
    assert one["expected_low"] == pytest.approx(total * law.ppf(0.025))
    assert one["steps"] == 100

    for depth in AXES["depth"]:
        of_depth = row(found, kind="axis", name="depth", value=depth)
        assert of_depth["fitted"] == (of_depth["pilots"] if depth <= 2 else 0)
        assert of_depth["share_low" if depth > 2 else "share_high"] == (0 if depth > 2 else 1)


def test_a_pair_fits_if_both_sides_do():
    everyone = members()
    # every random label fails, and HardSigmoid does at depth 3
    found = findings(
        everyone,
        lambda spec: spec.labels == "true" and not (spec.unit == "hardsigmoid" and spec.depth == 3),
        minimum_networks=18,
    )
    assert row(found, kind="pairs", name="labels")["fitted"] == 0
    assert row(found, kind="pairs", name="labels")["outlook"] == "too few"
    unit = row(found, kind="pairs", name="unit")
    pairs = 3 * 2 * 2 * 2
    assert (unit["pilots"], unit["fitted"]) == (pairs, pairs * 2 / 3)
    assert unit["outlook"] == "may be too few"
    noise = row(found, kind="pairs", name="noise")
    assert noise["fitted"] == noise["pilots"] == pairs
    assert noise["outlook"] == "enough"
    assert pilot.short(found.table)
    sides = found.table[(found.table["kind"] == "side") & (found.table["name"] == "labels")]
    assert sorted(sides["fitted"]) == [0, pairs]
    assert any("side random" in line or "side true" in line for line in found.lines)


@pytest.mark.parametrize(
    ("fitted", "outlook"), [(0, "too few"), (40, "may be too few"), (150, "enough")]
)
def test_outlook_goes_by_the_number_needed(fitted, outlook):
    everyone = members(factors={}, measures={"ellipses": {"share": 1}})
    good = set(sorted(everyone)[:fitted])
    known = {i: Trained(i in good, 10 if i in good else -1, 0.5) for i in sorted(everyone)[:150]}
    found = pilot.findings(
        everyone, known, Analysis(minimum_networks=80 + fitted // 2), lambda _: 1.0
    )
    assert row(found, name="C0, C2")["outlook"] == outlook
    assert pilot.short(found.table) == (outlook != "enough")


def test_advice_names_the_axis_and_what_is_missing():
    everyone = members()
    chosen = pilot.choose(everyone)
    lines = "\n".join(
        findings(everyone, lambda s: s.width == 96, chosen, minimum_networks=200).lines
    )
    (seldom,) = [line for line in lines.split("\n") if "Seldom fit: width" in line]
    assert all(f"{width} (0 of" in seldom for width in (16, 32, 64))
    assert "against 96 (10 of 10)" in seldom
    assert "far from it; raise steps" in lines

    near = findings(everyone, lambda s: False, chosen, accuracy=0.985)
    text = "\n".join(near.lines)
    assert "No axis tells the networks that fit from the others" in text
    assert "0.985 in the median: nearly there" in text


def test_too_few_architectures_are_too_few_however_many_fit():
    """The error of a row is over them: nine are no ten, if all networks fit."""
    everyone = members()
    survey = [member.spec for member in everyone.values() if member.in_survey]
    kinds = len({(spec.depth, spec.width, spec.unit) for spec in survey})
    enough = findings(everyone, lambda spec: True, minimum_architectures=kinds)
    assert row(enough, name="C0, C2")["outlook"] == "enough"
    few = findings(everyone, lambda spec: True, minimum_architectures=kinds + 1)
    assert row(few, name="C0, C2")["outlook"] == "too few"
    assert any(f"of {kinds} architectures, {kinds + 1} needed: too few" in x for x in few.lines)
    assert any("give these axes more values" in line for line in few.lines)
    # a pair's sides may differ in their units
    of_pairs = {(m.spec.depth, m.spec.width) for m in everyone.values() if "labels" in m.pairs}
    assert row(few, kind="pairs", name="labels")["architectures"] == len(of_pairs)


def test_c1_needs_more_networks_than_the_others():
    everyone = members(measures={"ellipses": {"share": 1}})
    found = findings(everyone, lambda spec: True)
    assert row(found, name="C0, C2")["needed"] == 20
    assert row(found, name="C1")["needed"] == 30


def test_nothing_is_advised_where_enough_fits():
    everyone = members(measures={"ellipses": {"share": 0.5}})
    found = findings(everyone, lambda spec: True, pilot.choose(everyone))
    assert not pilot.short(found.table)
    assert not [line for line in found.lines if "Seldom" in line or "do not fit" in line]
    assert all("enough" in line for line in found.lines[1:])


def test_diverged_networks_are_unfitted():
    everyone = members()
    known = {i: Trained(False, -1, math.nan) for i in pilot.choose(everyone)}
    found = pilot.findings(everyone, known, Analysis(), lambda dataset: 1.0)
    assert row(found, name="C0, C2")["fitted"] == 0
    assert any("0.000 in the median" in line for line in found.lines)


def test_networks_of_other_studies_do_not_count():
    everyone = members()
    chosen = pilot.choose(everyone)
    known = trained(everyone, lambda spec: True)
    known = {i: known[i] for i in chosen} | {"0" * 12: Trained(False, -1, 0.1)}
    found = pilot.findings(everyone, known, Analysis(), lambda dataset: 1.0)
    assert row(found, name="C0, C2")["share_high"] == 1


def test_the_largest_share_of_augmentation_that_fits_is_named():
    everyone = members(
        factors={name: {"axes": PAIRS} for name in ("augmentation_10", "augmentation_30")},
        datasets={"digits": {"primary_share": 1.0}},
    )
    found = findings(everyone, lambda spec: spec.augmentation_share < 0.2 or not spec.augmented)
    assert row(found, kind="augmentation_share", value=0.1)["share_high"] == 1
    assert row(found, kind="augmentation_share", value=0.3)["fitted"] == 0
    (line,) = [line for line in found.lines if "primary_share" in line]
    assert line.endswith("for primary_share: 0.1.")
    nothing = findings(everyone, lambda spec: not spec.augmented)
    assert any(line.endswith("for primary_share: none.") for line in nothing.lines)
