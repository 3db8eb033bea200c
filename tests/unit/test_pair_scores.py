"""Conditional mutual information and worst-environment sign error, against loops over pairs."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from sensigap.analysis import mutual_information, sign_error
from sensigap.analysis.bootstrap import DoesNotApply
from sensigap.analysis.mutual_information import conditional_information
from sensigap.analysis.sign_error import Environments, difference_error
from sensigap.seeds import generator

# --- conditional mutual information ---------------------------------------------------------------


def looped(measure, gap, axes, counts):
    """K, the set that gave it and the sign of the association, of one resample."""
    found = {}
    balance = 0.0
    for size in range(3):
        for given in itertools.combinations(axes, size):
            joint = {}
            for i, j in itertools.permutations(range(len(gap)), 2):
                signs = np.sign(measure[i] - measure[j]), np.sign(gap[i] - gap[j])
                weight = counts[i] * counts[j]
                if np.isnan(signs[0]) or 0 in signs or not weight:
                    continue
                u = tuple((axes[name][i], axes[name][j]) for name in given)
                cell = joint.setdefault(u, {})
                cell[signs] = cell.get(signs, 0) + weight
                if not given:
                    balance += signs[0] * signs[1] * weight
            total = sum(sum(cell.values()) for cell in joint.values())
            if not total:
                return math.nan, None, 0
            told = left = 0.0
            for cell in joint.values():
                pairs = sum(cell.values())
                of_measure = {s: sum(n for k, n in cell.items() if k[0] == s) for s in (-1, 1)}
                of_gap = {s: sum(n for k, n in cell.items() if k[1] == s) for s in (-1, 1)}
                for (m, g), n in cell.items():
                    told += n * math.log(n * pairs / (of_measure[m] * of_gap[g]))
                left -= sum(n * math.log(n / pairs) for n in of_gap.values() if n)
            found[given] = told / left if left > 1e-12 else 0.0
    least = min(found.values())
    return least, {given for given, share in found.items() if share < least + 1e-12}, balance


def networks(count=24, seed=0):
    """Axes, a gap and measures with ties, one with networks without a value."""
    rng = np.random.default_rng(seed)
    axes = {"depth": rng.integers(0, 3, count), "gain": rng.integers(0, 2, count)}
    axes["rate"] = rng.integers(0, 2, count)
    gap = np.round(0.5 * axes["gain"] + rng.normal(size=count), 1)
    near = np.round(gap + rng.normal(size=count), 1)
    made = axes["depth"] + 0.1 * axes["gain"]
    missing = np.where(np.arange(count) < 4, np.nan, -near)
    return np.stack([near, made, missing, rng.normal(size=count)]), gap, axes, rng


def test_information_is_that_of_a_loop_over_all_ordered_pairs(monkeypatch):
    monkeypatch.setattr(mutual_information, "_CHUNK", 7)
    monkeypatch.setattr(mutual_information, "_RESAMPLES", 2)
    measures, gap, axes, rng = networks()
    assert len(np.unique(gap)) < len(gap), "ties"
    counts = np.column_stack([np.ones(24), rng.integers(0, 3, (24, 3)), np.eye(24)[0]])
    found = conditional_information(measures, gap, axes, counts)
    assert found.sets[:2] == [(), ("depth",)]
    assert len(found.sets) == 1 + 3 + 3
    for k, r in itertools.product(range(len(measures)), range(counts.shape[1])):
        value, least, balance = looped(measures[k], gap, axes, counts[:, r])
        assert found.value[k, r] == pytest.approx(value, abs=1e-12, nan_ok=True)
        if least is not None:
            assert found.sets[found.least[k, r]] in least
        assert found.association[k, r] == np.sign(balance)
    assert np.isnan(found.value[:, -1]).all(), "copies of one network are no pair"
    assert (found.value[0, :4] > 0.01).all()
    # what the hyper-parameters make tells nothing once they are given
    np.testing.assert_allclose(found.value[1, :4], 0, atol=1e-12)
    assert found.association[0, 0] == 1
    assert found.association[2, 0] == -1


def test_information_of_three_networks_by_hand():
    """Gap 1, 2, 3 and measure 1, 3, 2: of six ordered pairs four are concordant.

    Nothing given: p(++) = p(--) = 1/3 and p(+-) = p(-+) = 1/6, H = ln 2, and
    I = 2/3 ln(4/3) + 1/3 ln(2/3). With the networks' depths 0, 0, 1 given: cell (0, 0) has both
    orders of the first pair, I = H = ln 2, a third of the pairs; in cells (0, 1) and (1, 0) the gap
    is known, H = 0; so I / H = 1.
    """
    measure, gap = np.array([[1.0, 3.0, 2.0]]), np.array([1.0, 2.0, 3.0])
    alone = (2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)) / math.log(2)
    assert alone == pytest.approx(0.0817, abs=1e-4)
    found = conditional_information(measure, gap, {"depth": np.array([0, 0, 1])}, np.ones((3, 1)))
    assert found.value[0, 0] == pytest.approx(alone, rel=1e-12)
    assert found.sets[found.least[0, 0]] == ()
    # depths 0, 1, 1: cell (1, 1) holds the discordant pair, I = H as well; depths 0, 1, 2: H = 0
    for depths, given in (([0, 1, 1], ()), ([0, 1, 2], ("depth",))):
        found = conditional_information(measure, gap, {"depth": np.array(depths)}, np.ones((3, 1)))
        assert found.sets[found.least[0, 0]] == given
        assert found.value[0, 0] == pytest.approx(alone if given == () else 0, abs=1e-12)


def test_information_does_not_depend_on_the_order_of_rows():
    measures, gap, axes, rng = networks(40, seed=3)
    order = rng.permutation(40)
    found = conditional_information(measures, gap, axes, np.ones((40, 1)))
    moved = {name: level[order] for name, level in axes.items()}
    again = conditional_information(measures[:, order], gap[order], moved, np.ones((40, 1)))
    np.testing.assert_allclose(again.value, found.value, atol=1e-12)


def test_a_measure_that_is_the_gap_tells_all_of_it():
    _, gap, axes, _ = networks(60)
    found = conditional_information(np.stack([gap, -gap]), gap, axes, np.ones((60, 1)))
    np.testing.assert_allclose(found.value, 1, rtol=1e-12)
    assert found.association[:, 0].tolist() == [1, -1]


# --- worst-environment sign error -----------------------------------------------------------------


def grid(seed=0, points=300):
    """A full grid of 3 x 2 x 2 with three seeds; the gap rises with the gain and falls with width.

    Which points are wrong is drawn by the gap.
    """
    cells = list(itertools.product([1, 2, 4], [16, 32], ["relu", "hardtanh"], range(3)))
    table = pd.DataFrame(cells, columns=["gain", "width", "unit", "seed"])
    rng = np.random.default_rng(seed)
    rate = 0.1 + 0.1 * np.log2(table["gain"]) - 0.1 * (table["width"] == 32)
    rate = rate + 0.1 * (table["unit"] == "relu") + 0.05
    wrong = rng.random((len(table), points)) < rate.to_numpy()[:, None]
    return table.assign(gap=wrong.mean(axis=1)), wrong, rng


NAMES = ["gain", "width", "unit"]


def environments(table, wrong, seed=0):
    return Environments(table, NAMES, wrong, generator(seed, "test coins"))


def looped_errors(table, wrong, measure):
    """Environment -> the sign errors of its kept pairs, and the networks in them."""
    found = {}
    for i, j in itertools.combinations(range(len(table)), 2):
        differ = [name for name in NAMES if table[name][i] != table[name][j]]
        if len(differ) != 1 or np.isnan(measure[i] + measure[j]):
            continue
        gaps = table["gap"][i] - table["gap"][j]
        error = np.std(wrong[i].astype(float) - wrong[j]) / np.sqrt(wrong.shape[1])
        if abs(gaps) <= 2 * error:
            continue
        levels = frozenset([table[differ[0]][i], table[differ[0]][j]])
        sign = np.sign(measure[i] - measure[j]) * np.sign(gaps)
        found.setdefault((differ[0], levels), []).append(((1 - sign) / 2, i, j))
    return found


@pytest.mark.parametrize("kind", ["noisy", "tied", "with NaN"])
def test_sign_error_is_that_of_a_loop_over_pairs(kind, monkeypatch):
    monkeypatch.setattr(sign_error, "MINIMUM_ENVIRONMENTS", 3)
    table, wrong, rng = grid()
    measure = table["gap"].to_numpy() + rng.normal(0, 0.1, len(table))
    if kind == "tied":
        measure = np.round(measure, 1)
    if kind == "with NaN":
        measure[::9] = np.nan
    found = environments(table, wrong).score(measure, 0.05)
    looped = {
        key: pairs
        for key, pairs in looped_errors(table, wrong, measure).items()
        if len(pairs) >= 10
    }
    means = {key: np.mean([error for error, _, _ in pairs]) for key, pairs in looped.items()}
    # the first of those that tie
    order = sorted(means, key=lambda key: (NAMES.index(key[0]), sorted(key[1])))
    worst = max(order, key=means.get)
    assert 0 < means[worst] < 1
    assert found.worst == pytest.approx(means[worst], rel=1e-12)
    assert found.mean == pytest.approx(np.mean(list(means.values())), rel=1e-12)
    assert found.environments == len(looped)
    assert found.pairs == sum(map(len, looped.values()))
    name, levels = worst
    assert found.environment.startswith(name)
    assert all(str(level) in found.environment for level in levels)
    # Wilson's interval by its formula, for as many trials as the networks make disjoint pairs
    trials = len({network for _, i, j in looped[worst] for network in (i, j)}) / 2
    z = 1.959963984540054
    middle = (means[worst] + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = np.sqrt(means[worst] * (1 - means[worst]) / trials + z**2 / (4 * trials**2))
    half *= z / (1 + z**2 / trials)
    np.testing.assert_allclose([found.low, found.high], [middle - half, middle + half], rtol=1e-9)


def test_the_pairs_share_their_points():
    rng = np.random.default_rng(0)
    wrong = rng.random((5, 200)) < 0.3
    wrong[1] = wrong[0]
    found = difference_error(wrong)
    for i, j in itertools.product(range(5), repeat=2):
        expected = np.std(wrong[i].astype(float) - wrong[j]) / np.sqrt(200)
        assert found[i, j] == pytest.approx(expected, abs=1e-12)
    assert found[0, 1] == 0
    # by hand: wrong at points 1, 2 of 4 and at 1, 3: differences 0, 1, -1, 0, variance 1/2
    two = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool)
    assert difference_error(two)[0, 1] == pytest.approx(math.sqrt(1 / 8), rel=1e-12)


def test_sign_error_by_hand(monkeypatch):
    """Two axes of two levels, one network a cell: gain raises the gap, width lowers it.

    The measure follows the gain at one width, ties at the other; it gets the width wrong at one
    gain and right at the other: sign errors 1/4 (0, 1/2) and 1/2 (0, 1).
    """
    monkeypatch.setattr(sign_error, "MINIMUM_PAIRS", 2)
    monkeypatch.setattr(sign_error, "MINIMUM_ENVIRONMENTS", 2)
    table = pd.DataFrame({"gain": [1, 2, 1, 2], "width": [16, 16, 32, 32]})
    wrong = np.arange(100) < np.array([40, 70, 10, 25])[:, None]
    table["gap"] = wrong.mean(axis=1)
    found = Environments(table, ["gain", "width"], wrong, generator(0, "coins"))
    # gain: .40 < .70 and measure 1 < 3, .10 < .25 and 2 = 2; width: .40 > .10 and 1 < 2,
    # .70 > .25 and 3 > 2
    score = found.score(np.array([1.0, 3.0, 2.0, 2.0]), 0.05)
    assert score.worst == 0.5
    assert score.environment == "width 16 and 32"
    assert score.mean == 0.375
    assert (score.environments, score.pairs) == (2, 4)
    # four networks are two disjoint pairs: Wilson's interval of 1 of 2 is .5 +- .4055
    assert score.low == pytest.approx(0.0945, abs=1e-4)
    assert score.high == pytest.approx(0.9055, abs=1e-4)


def test_a_coin_gets_what_random_measures_get(monkeypatch):
    monkeypatch.setattr(sign_error, "MINIMUM_ENVIRONMENTS", 3)
    table, wrong, _ = grid()
    found = environments(table, wrong)
    score = found.score(table["gap"].to_numpy(), 0.05)
    assert score.worst == 0
    rng = np.random.default_rng(1)
    worst = [found.score(rng.random(len(table)), 0.05).worst for _ in range(1000)]
    assert score.coin == pytest.approx(np.mean(worst), abs=0.02)
    assert score.coin_low == pytest.approx(np.quantile(worst, 0.05), abs=0.04)
    assert 0.4 < score.coin_low < score.coin - 0.05
    # named draws: the same again, others from another name
    assert environments(table, wrong).score(table["gap"].to_numpy(), 0.05) == score
    other = environments(table, wrong, seed=1).score(table["gap"].to_numpy(), 0.05)
    assert other.coin != score.coin


def test_few_environments_have_no_score():
    table, wrong, _ = grid()
    few = environments(table.iloc[:12], wrong[:12])
    with pytest.raises(
        DoesNotApply, match=r"^\d of at least 5 environments with 10 pairs .* largest have \d+"
    ):
        few.score(np.arange(12.0), 0.05)
    alike = environments(table.assign(gap=0.2), wrong)
    with pytest.raises(DoesNotApply, match=r"^0 of at least 5"):
        alike.score(np.arange(len(table), dtype=float), 0.05)
