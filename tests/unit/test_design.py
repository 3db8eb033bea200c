import collections
import csv
import dataclasses
import io

import numpy as np

from sensigap.config import load
from sensigap.design import design, network, table
from sensigap.factors import FACTORS
from sensigap.spec import NetworkSpec

AXES = {"depth": [1, 2, 3], "width": [16, 32], "unit": ["relu", "hardtanh"]}


def study(**changes):
    return load(
        {
            "study": "t",
            "datasets": {"digits": {}},
            "survey": [{"search": "grid", "axes": AXES}],
            **changes,
        }
    )


def test_a_grid_is_every_combination():
    members = design(study())
    assert len(members) == 12
    found = {(m.spec.depth, m.spec.width, m.spec.unit) for m in members.values()}
    assert len(found) == 12
    assert all(m.in_survey and m.spec.id == identity for identity, m in members.items())


def test_rows_depart_from_the_defaults():
    members = design(
        study(
            defaults={"gain": 2}, survey=[{"search": "rows", "rows": [{"depth": 4}, {"width": 9}]}]
        )
    )
    assert [(m.spec.depth, m.spec.width, m.spec.gain) for m in members.values()] == [
        (4, 64, 2.0),
        (2, 9, 2.0),
    ]


def test_raising_the_draws_only_adds():
    def draws(count):
        return list(design(study(survey=[{"search": "random", "draws": count, "axes": AXES}])))

    few, many = draws(5), draws(12)
    assert many[:5] == few
    assert len(set(many)) == 12


def test_draws_are_uniform_over_the_axes():
    members = design(
        study(survey=[{"search": "random", "draws": 600, "axes": AXES | {"seed": list(range(60))}}])
    )
    counts = np.bincount([m.spec.depth for m in members.values()])[1:]
    # 4.5 standard deviations of a multinomial with three equal shares
    assert np.abs(counts - counts.sum() / 3).max() < 4.5 * np.sqrt(counts.sum() * 2 / 9)


def test_pairs_differ_in_their_factor_alone():
    factors = {
        "labels": {"axes": {"depth": [1, 2]}},
        "augmentation": {"axes": {"depth": [1, 2]}},
        "unit": {"axes": {"depth": [1, 2], "labels": ["true", "random"]}},
        "augmentation_30": {"axes": {"depth": [1, 2]}},
        "batch": {"axes": {"depth": [1, 2], "learning_rate": [0.03]}},
        "batch_loss": {"axes": {"depth": [1, 2], "steps": [5000]}},
        "lbfgs": {"axes": {"depth": [1, 2]}},
        "noise": {"axes": {"depth": [1, 2]}},
        "noise_half": {"axes": {"depth": [1, 2]}},
    }
    members = design(study(factors=factors))
    differing = {
        "labels": {"labels"},
        "augmentation": {"max_shift", "augmentation_share"},
        "augmentation_30": {"max_shift", "augmentation_share"},
        "unit": {"unit"},
        "batch": {"batch_size"},
        "batch_loss": {"batch_size"},
        "lbfgs": {"optimizer", "learning_rate", "batch_size", "steps"},
        "noise": {"input_noise"},
        "noise_half": {"input_noise"},
    }
    names = [field.name for field in dataclasses.fields(NetworkSpec)]
    for factor, fields in differing.items():
        sides = {}
        for member in members.values():
            if factor in member.pairs:
                pair, side = member.pairs[factor]
                sides.setdefault(pair, {})[side] = member.spec
        assert len(sides) == (4 if factor == "unit" else 2)
        for pair, specs in sides.items():
            assert tuple(sorted(specs)) == tuple(
                sorted(side.name for side in FACTORS[factor].sides)
            )
            worse, better = (specs[side.name] for side in FACTORS[factor].sides)
            assert better.id == pair
            assert {f for f in names if getattr(worse, f) != getattr(better, f)} == fields


def test_a_data_set_decides_what_its_sides_have():
    axes = {"axes": {"depth": [1]}}
    members = design(
        study(
            datasets={
                "digits": {"train_size": 300, "primary_share": 0.25, "shift_mode": "wrap"},
                "mnist": {"train_size": 900, "input_noise": 0.2},
            },
            survey=[{"search": "grid", "axes": {"depth": [9]}}],
            factors=dict.fromkeys(("augmentation", "batch", "batch_loss", "noise_half"), axes),
        )
    )

    def sides(factor, dataset):
        of = [m for m in members.values() if factor in m.pairs and m.spec.dataset == dataset]
        return {m.pairs[factor][1]: m.spec for m in of}

    for dataset, share, mode, size, noise in (
        ("digits", 0.25, "wrap", 300, 0.235),
        ("mnist", 0.1, "zeros", 900, 0.1),
    ):
        augmentation = sides("augmentation", dataset)
        shares = [augmentation[side].augmentation_share for side in ("none", "augmented")]
        assert shares == [1.0, share]
        modes = [augmentation[side].shift_mode for side in ("none", "augmented")]
        assert modes == ["zeros", mode]
        for factor in ("batch", "batch_loss"):
            batch = sides(factor, dataset)
            assert [batch[side].batch_size for side in ("full", "minibatch")] == [size, 64]
            assert {spec.optimizer for spec in batch.values()} == {"momentum"}
        found = {(spec.stop, spec.target_loss) for spec in sides("batch_loss", dataset).values()}
        assert found == {("loss", 0.01)}
        noisy = sides("noise_half", dataset)
        assert [noisy[side].input_noise for side in ("none", "noise")] == [0, noise]


def test_every_architecture_of_a_factor_has_its_draws_and_keeps_them():
    axes = {"depth": [1, 2, 3, 4], "width": [16, 32, 48], "gain": [1, 2, 4], "seed": [0, 1]}

    def bases(factor="unit", **changes):
        block = {"axes": axes | changes.pop("axes", {}), **changes}
        members = design(study(factors={factor: block}))
        better = FACTORS[factor].better.name
        specs = [m.spec for m in members.values() if m.pairs.get(factor, ("", ""))[1] == better]
        return {(s.depth, s.width, s.gain, s.seed) for s in specs}

    two = bases(draws=2)
    counts = collections.Counter(base[:2] for base in two)
    assert len(counts) == 12
    assert set(counts.values()) == {2}
    assert {base[2] for base in two} == {1, 2, 4}
    assert two < bases(draws=3) < bases()
    assert bases(draws=6) == bases(draws=100) == bases()
    # one and the same for other factors; more architectures leave the old ones as they are
    assert bases("labels", draws=2) == two
    assert two < bases(draws=2, axes={"width": [16, 32, 48, 64]})


def test_an_axis_goes_before_what_a_factor_takes_by_itself():
    factors = {"batch_loss": {"axes": {"target_loss": [0.1, 0.2]}}}
    members = design(study(factors=factors))
    found = sorted(m.spec.target_loss for m in members.values() if m.pairs)
    assert found == [0.1, 0.1, 0.2, 0.2]


def test_a_network_that_two_comparisons_want_stands_once():
    members = design(study(factors={"labels": {"axes": AXES | {"unit": ["relu"]}}}))
    assert len(members) == 12 + 6
    both = [m for m in members.values() if m.in_survey and m.pairs]
    assert len(both) == 6


def test_unused_fields_do_not_make_another_network():
    s = study()
    first = network(
        s, "digits", {"optimizer": "lbfgs", "learning_rate": 0.1, "batch_size": 32, "steps": 7}
    )
    second = network(s, "digits", {"optimizer": "lbfgs"})
    assert first.id == second.id
    assert (first.batch_size, first.learning_rate, first.steps) == (500, 1.0, 100)
    whole, part = ({"augmentation_share": share} for share in (1.0, 0.3))
    assert network(s, "digits", whole).id == network(s, "digits", part).id
    augmented = {"augmentation": True}
    assert network(s, "digits", whole | augmented).id != network(s, "digits", part | augmented).id
    flipped = study(datasets={"digits": {"max_shift": 0, "flip": True, "shift_mode": "wrap"}})
    assert network(flipped, "digits", augmented).shift_mode == "zeros"
    assert network(s, "digits", {"gain": 1}).id == network(s, "digits", {"gain": 1.0}).id


def test_a_share_of_the_survey_gets_ellipses_and_keeps_them():
    def chosen(widths):
        axes = {"width": widths, "seed": list(range(50))}
        members = design(
            study(survey=[{"search": "grid", "axes": axes}], measures={"ellipses": {"share": 0.3}})
        )
        return {identity for identity, m in members.items() if "ellipses" in m.chosen}, set(members)

    few, all_few = chosen([16, 32])
    many, _ = chosen([16, 32, 64, 128])
    assert few == many & all_few
    assert 0.15 * 100 < len(few) < 0.45 * 100


def test_slices_name_their_networks():
    members = design(
        study(measures={"slices": {"networks": [{"depth": 1, "width": 16}, {"depth": 7}]}})
    )
    sliced = [m for m in members.values() if "slices" in m.chosen]
    assert [(m.spec.depth, m.in_survey) for m in sliced] == [(1, True), (7, False)]
    assert len(members) == 13


def test_table_holds_every_network_and_field():
    members = design(study(factors={"labels": {"axes": {"depth": [1]}}}))
    rows = list(csv.DictReader(io.StringIO(table(members))))
    assert [row["network"] for row in rows] == list(members)
    for row, member in zip(rows, members.values(), strict=True):
        assert row["width"] == str(member.spec.width)
        assert row["labels"] == member.spec.labels
        assert row["in_survey"] == str(member.in_survey)
        assert (row["pair_labels"], row["side_labels"]) == member.pairs.get("labels", ("", ""))


def test_a_value_added_to_an_axis_of_a_random_search_leaves_most_draws_as_they_are():
    def drawn(**axes):
        block = {"search": "random", "draws": 300, "axes": AXES | axes}
        return design(study(survey=[block]))

    before, after = drawn(), drawn(width=[16, 32, 64])
    # a third of the draws should move to the new value; 4.5 standard deviations of a binomial
    moved = len(after.keys() - before.keys())
    assert abs(moved - 100) < 4.5 * np.sqrt(300 * 2 / 9)
    assert {after[i].spec.width for i in after.keys() - before.keys()} == {64}


def test_axes_of_single_data_sets_replace_those_of_a_factor():
    axes = {"depth": [1, 2], "steps": [1000], "learning_rate": [0.05]}
    block = {"axes": axes, "by_dataset": {"mnist": {"steps": [2500], "gain": [1.0, 2.0]}}}
    members = design(
        load(
            {
                "study": "t",
                "datasets": {"digits": {}, "mnist": {}},
                "survey": [{"search": "rows", "rows": [{"width": 3}]}],
                "factors": {"labels": block},
            }
        )
    )
    specs = [member.spec for member in members.values() if member.pairs]
    of = {name: [s for s in specs if s.dataset == name] for name in ("digits", "mnist")}
    assert len(of["digits"]) == 2 * 2
    assert len(of["mnist"]) == 2 * 2 * 2
    assert {(s.steps, s.gain) for s in of["digits"]} == {(1000, 1.0)}
    assert {(s.steps, s.gain) for s in of["mnist"]} == {(2500, 1.0), (2500, 2.0)}
    assert {s.learning_rate for s in specs} == {0.05}
