"""The leaderboard of measures and the granulated Kendall coefficient."""

import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import synthetic
from sensigap import survey as stores
from sensigap.analysis import kendall
from sensigap.analysis import leaderboard as boards
from sensigap.analysis.claims import claims
from sensigap.analysis.kendall import axis_pairs, granulated_kendall
from sensigap.analysis.leaderboard import (
    COLUMNS,
    STATISTICS,
    disagreement,
    leaderboard,
    measured,
    read_leaderboard,
    write_leaderboard,
)
from sensigap.analysis.survey_table import COMPARED, survey_members
from sensigap.analysis.verdicts import Settings
from sensigap.declarations import PREDICTORS

SETTINGS = Settings(point_networks=2)


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(pairs=0)


@pytest.fixture(scope="module")
def board(survey):
    return leaderboard({"digits": survey}, SETTINGS).set_index("measure")


# --- the leaderboard ------------------------------------------------------------------------------


def test_every_measure_has_a_row_in_order(board):
    assert sorted(board.index) == sorted(measure.name for measure in PREDICTORS)
    assert ["measure", *board.columns] == [
        "measure",
        *(name for name in COLUMNS if name != "measure"),
    ]
    known = board["within"].dropna()
    assert (known.diff().dropna() <= 0).all()
    assert board["within"].isna().tolist() == sorted(board["within"].isna())
    # what the made-up survey holds
    assert board.index[0] == "sensitivity"
    assert board.loc["sharpness_magnitude", "within"] > 0.3
    assert board.loc["parameters", "raw"] < -0.2
    assert abs(board.loc["path_norm", "within"]) < 0.25


def test_numbers_are_those_of_the_claims(survey, board):
    table = claims({"digits": survey}, {"digits": None}, SETTINGS)
    for measure, column, key in (
        ("sensitivity", "raw", "C2.raw"),
        ("sensitivity", "within", "C2.within"),
        ("parameters", "raw", "C0.size.raw"),
        ("parameters", "within", "C0.size"),
        ("train_loss", "raw", "C0.loss"),
        ("train_loss", "within", "C0.loss.within"),
    ):
        (row,) = table[table["key"] == key].to_dict("records")
        found = board.loc[measure]
        assert found[column] == pytest.approx(row["estimate"], rel=1e-9)
        assert found["n"] == row["n"]
        # the claims' intervals have test points in them as well
        assert found[f"{column}_low"] == pytest.approx(row["low"], abs=0.1)
        assert found[f"{column}_high"] == pytest.approx(row["high"], abs=0.1)


def test_raw_correlations_are_those_of_scipy(survey, board):
    table, values, _ = measured(survey)
    for measure in PREDICTORS:
        kept = values[measure.name].notna()
        x, gap = values[measure.name][kept], table["gap"][kept]
        if len(x) < SETTINGS.minimum_networks:
            assert "of at least" in board.loc[measure.name, "note"]
        elif np.ptp(x) > 0:
            expected = stats.spearmanr(x, gap).statistic
            assert board.loc[measure.name, "raw"] == pytest.approx(expected, rel=1e-9)
        assert board.loc[measure.name, "n"] == kept.sum()


def test_values_are_what_their_names_say(survey):
    table, values, _ = measured(survey)
    chosen = survey.sel(network=table.index.to_numpy())
    np.testing.assert_allclose(
        values["logit_jacobian"], chosen["logit_jacobian_norm"].mean("sample")
    )
    margin = chosen["inverse_margin"].to_numpy() ** -0.5
    np.testing.assert_allclose(
        10 ** values["path_norm_over_margin"], 10 ** chosen["path_norm_log10"] / margin
    )
    np.testing.assert_allclose(
        10 ** values["spectral_product_over_margin"],
        10 ** chosen["spectral_product_log10"] / margin,
    )


def test_behind_is_a_paired_difference(board):
    for name in board.index.drop("sensitivity"):
        row = board.loc[name]
        if np.isnan(row["within"]):
            continue
        ahead = board.loc["sensitivity", "within"] - row["within"]
        assert row["behind"] == pytest.approx(ahead, abs=1e-12)
        assert row["behind_low"] <= row["behind"] <= row["behind_high"]
    assert np.isnan(board.loc["sensitivity", "behind"])
    # measures that go together have a narrower difference than two intervals apart would give
    twin = board.loc["logit_jacobian"]
    apart = np.hypot(
        np.ptp(board.loc["sensitivity", ["within_low", "within_high"]].to_numpy(float)),
        np.ptp(twin[["within_low", "within_high"]].to_numpy(float)),
    )
    assert twin["behind_high"] - twin["behind_low"] < apart


def test_undefined_values_are_left_out_and_counted(survey):
    changed = survey.copy(deep=True)
    table, _ = survey_members(changed)
    rows = np.flatnonzero(np.isin(changed["network"], table.index[:7]))
    changed["sharpness"][rows[:4]] = np.nan
    changed["inverse_margin"][rows] = np.inf
    found = leaderboard({"digits": changed}, SETTINGS).set_index("measure")
    assert found.loc["sharpness", "n"] == len(table) - 4
    assert found.loc["sharpness", "left_out"].endswith("4 without a value of the measure")
    assert found.loc["inverse_margin", "n"] == len(table) - 7
    # what is defined is as before
    before = leaderboard({"digits": survey}, SETTINGS).set_index("measure")
    pd.testing.assert_series_equal(found.loc["path_norm"], before.loc["path_norm"])
    assert found.loc["sharpness", "within"] != before.loc["sharpness", "within"]
    # a measure without any value
    changed["sharpness"][:] = np.nan
    none = leaderboard({"digits": changed}, SETTINGS).set_index("measure").loc["sharpness"]
    assert none["n"] == 0
    assert np.isnan(none["within"])
    assert "0 of at least 20" in none["note"]


def test_networks_that_all_have_one_gap_have_a_row_without_numbers(survey):
    """Of easy images every network classifies all: nothing can go with the gap."""
    flat = survey.copy(deep=True)
    flat["gap"][:] = 0.0
    flat["correct"][:] = np.where(survey["correct"] < 0, -1, 1)
    board = leaderboard({"digits": flat}, SETTINGS).set_index("measure")
    assert board[["within", "raw", "kendall", "information", "sign_error"]].isna().all(axis=None)
    for what in ("within", "kendall", "information", "sign error"):
        told = f"{what} does not apply: gap is the same for all networks"
        assert told in board.loc["sensitivity", "note"]


def test_of_many_networks_a_seeded_choice_tells_the_conditional_information(
    survey, board, monkeypatch
):
    monkeypatch.setattr(boards, "INFORMED", 60)
    found = leaderboard({"digits": survey}, SETTINGS).set_index("measure")
    again = leaderboard({"digits": survey}, SETTINGS).set_index("measure")
    pd.testing.assert_frame_equal(found, again)
    assert found["note"].str.contains("conditional information: of 60 networks").all()
    informed = [name for name in found if name.startswith("information")]
    others = found.columns.difference([*informed, "note"])
    pd.testing.assert_frame_equal(found.loc[board.index, others], board[others])
    # fewer networks tell less surely, but of the same
    few, all_of_them = (table.loc["sensitivity"] for table in (found, board))
    assert few["information"] != all_of_them["information"]
    assert few["information_low"] < all_of_them["information"] < few["information_high"]


def test_a_measure_that_does_not_vary_has_no_number(board):
    # every network of the made-up survey fits at the same step
    row = board.loc["fit_step"]
    assert row[[name for columns in STATISTICS.values() for name in columns]].isna().all()
    assert "is the same for all networks" in row["note"]


def test_few_networks_or_architectures_have_no_numbers(survey):
    table, _ = survey_members(survey)
    few = survey.sel(network=table.index[:10].to_numpy())
    one = survey.isel(network=np.flatnonzero(survey["depth"] == 1)).copy(deep=True)
    one["width"][:] = 64
    one["unit"][:] = "relu"
    none = survey.isel(network=[])
    found = leaderboard({"few": few, "one": one, "none": none}, SETTINGS)
    assert found["dataset"].unique().tolist() == ["few", "one", "none"]
    names = [name for columns in STATISTICS.values() for name in columns]
    assert found[names].isna().all(axis=None)
    notes = found.groupby("dataset")["note"].unique()
    assert notes["few"].tolist() == ["10 of at least 20"]
    assert "architectures, fewer than" in notes["one"][0]
    assert notes["none"].tolist() == ["0 of at least 20"]


def test_each_data_set_stands_alone(survey, board):
    other = synthetic.survey(pairs=0, seed=1)
    found = leaderboard({"MNIST": other, "digits": survey}, SETTINGS)
    assert found["dataset"].tolist() == ["MNIST"] * len(PREDICTORS) + ["digits"] * len(PREDICTORS)
    again = found[found["dataset"] == "digits"].set_index("measure")
    pd.testing.assert_frame_equal(again, board)


def test_the_csv_is_the_same_each_time(survey, tmp_path):
    stores.write(survey, tmp_path / "digits.zarr", "survey")
    texts = []
    for name in ("a", "b"):
        write_leaderboard(
            {"digits": tmp_path / "digits.zarr"}, tmp_path / f"{name}.csv", Settings()
        )
        texts.append((tmp_path / f"{name}.csv").read_bytes())
    assert texts[0] == texts[1]
    read = pd.read_csv(tmp_path / "a.csv")
    assert read.columns.tolist() == list(COLUMNS)
    assert len(read) == len(PREDICTORS)
    whole = leaderboard({"digits": survey}, Settings())
    again = read_leaderboard(tmp_path / "a.csv")
    texts = ["kendall_axes", "information_given", "sign_error_environment", "note"]
    pd.testing.assert_frame_equal(
        again.drop(columns=texts), whole.drop(columns=texts), check_dtype=False, rtol=1e-5
    )
    for name in texts:
        assert again[name].isna().tolist() == (whole[name] == "").tolist()


def test_a_table_that_is_no_leaderboard_is_refused(tmp_path):
    pd.DataFrame({"dataset": ["digits"], "within": [0.5]}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match=r"missing: measure, label, .*; run the analysis again"):
        read_leaderboard(tmp_path / "b.csv")


def test_disagreement_is_the_share_of_points_between_seeds():
    classes = np.array([[0, 1, 2, 3], [0, 1, 2, 4], [0, 0, 0, 3], [9, 9, 9, 9], [0, 1, 2, 3]])
    alike = pd.DataFrame({"depth": [1, 1, 1, 2, 1], "gain": [1.0, 1.0, 1.0, 1.0, 2.0]})
    # three alike: 1 of 4, 2 of 4 and 3 of 4 points between them
    np.testing.assert_array_equal(disagreement(classes, alike), [0.375, 0.5, 0.625, np.nan, np.nan])


def test_disagreement_is_among_networks_that_differ_in_their_seeds_alone(survey):
    changed = survey.copy(deep=True)
    table, values, _ = measured(survey)
    (predictor,) = (each for each in PREDICTORS if each.between_seeds)
    first, second = table.index[:2]
    place = {name: k for k, name in enumerate(survey["network"].to_numpy())}
    for name in COMPARED:
        changed[name][place[second]] = changed[name].to_numpy()[place[first]]
    changed["width"][[place[first], place[second]]] = 77
    a, b = (changed["prediction"].sel(network=name).to_numpy() for name in (first, second))
    found = measured(changed)[1][predictor.name]
    assert found[first] == found[second] == (a != b).mean() > 0
    others = table.index[2:]
    np.testing.assert_array_equal(found[others].notna(), values.loc[others, predictor.name].notna())


def test_a_survey_that_opens_lazily_will_do(survey, board, tmp_path):
    stores.write(survey, tmp_path / "digits.zarr", "survey")
    opened = xr.open_zarr(tmp_path / "digits.zarr")
    found = leaderboard({"digits": opened}, SETTINGS).set_index("measure")
    pd.testing.assert_frame_equal(found, board, check_dtype=False)


# --- the granulated Kendall coefficient -----------------------------------------------------------


def networks(count, seed=0, **axes):
    """A table of networks with axes drawn at random, and a gap."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({name: rng.choice(values, count) for name, values in axes.items()})
    return table.assign(gap=rng.normal(size=count)), rng


def test_pairs_differ_in_one_axis_alone():
    table, _ = networks(60, depth=[1, 2, 3], width=[16, 32], unit=["relu", "tanh"], gain=[1, 2])
    names = ["depth", "width", "unit", "gain"]
    expected = {name: set() for name in names}
    for i, j in itertools.combinations(range(len(table)), 2):
        differ = [name for name in names if table[name][i] != table[name][j]]
        if len(differ) == 1:
            expected[differ[0]].add((i, j))
    found = axis_pairs(table, names, least=1)
    assert list(found) == names
    for name, (i, j) in found.items():
        pairs = {tuple(sorted(pair)) for pair in zip(i.tolist(), j.tolist(), strict=True)}
        assert pairs == expected[name]
        assert len(i) == len(expected[name])


def test_axes_with_few_pairs_are_left_out():
    table = pd.DataFrame({"depth": [1, 2] * 12, "gain": [1] * 23 + [2]})
    # depth: 12 networks of gain 1 and depth 1 with 11 of depth 2; gain: 11 of depth 2 with one
    assert {name: len(i) for name, (i, _) in axis_pairs(table, ["depth", "gain"]).items()} == {
        "depth": 12 * 11
    }
    assert list(axis_pairs(table, ["depth", "gain"], least=11)) == ["depth", "gain"]
    assert axis_pairs(table, []) == {}


def test_on_a_full_grid_it_is_jiangs_coefficient():
    """Mean over groups of scipy's tau, mean over axes; no ties, so that tau-a is tau-b."""
    grid = list(itertools.product([1, 2, 3, 4], [16, 32, 64], [0.5, 1.0, 2.0]))
    table = pd.DataFrame(grid, columns=["depth", "width", "gain"])
    rng = np.random.default_rng(0)
    gap = rng.normal(size=len(table))
    measure = gap + rng.normal(size=len(table))
    pairs = axis_pairs(table, list(table))
    found = granulated_kendall(measure[None], gap, pairs, np.ones((len(table), 1)))
    by_axis = []
    for name in table:
        groups = table.groupby([other for other in table if other != name]).indices.values()
        by_axis.append(np.mean([stats.kendalltau(measure[g], gap[g]).statistic for g in groups]))
    assert found[0, 0] == pytest.approx(np.mean(by_axis), rel=1e-12)


def test_resamples_are_those_of_repeated_networks():
    table, rng = networks(40, depth=[1, 2, 3], gain=[1, 2])
    gap = table["gap"].to_numpy()
    measures = np.stack([gap + rng.normal(size=40), np.round(gap)])
    measures[0, :5] = np.nan
    counts = rng.integers(0, 3, size=(40, 6))
    pairs = axis_pairs(table, ["depth", "gain"])
    found = granulated_kendall(measures, gap, pairs, counts)
    assert found.shape == (2, 6)
    for k, resample in itertools.product(range(2), range(6)):
        axes = []
        for i, j in pairs.values():
            signs = []
            for a, b in zip(i, j, strict=True):
                sign = np.sign(measures[k, a] - measures[k, b]) * np.sign(gap[a] - gap[b])
                if not np.isnan(sign):
                    signs += [sign] * (counts[a, resample] * counts[b, resample])
            axes.append(np.mean(signs))
        assert found[k, resample] == pytest.approx(np.mean(axes), rel=1e-12)


def test_chunks_of_resamples_change_nothing(monkeypatch):
    table, rng = networks(50, depth=[1, 2, 3], gain=[1, 2])
    gap = table["gap"].to_numpy()
    counts = rng.integers(0, 3, size=(50, 9))
    pairs = axis_pairs(table, ["depth", "gain"])
    whole = granulated_kendall(gap[None], gap, pairs, counts)
    monkeypatch.setattr(kendall, "_CHUNK", 1)
    np.testing.assert_allclose(granulated_kendall(gap[None], gap, pairs, counts), whole, rtol=1e-12)
    np.testing.assert_allclose(whole, 1)


def test_without_pairs_there_is_no_coefficient():
    gap = np.arange(4.0)
    assert np.isnan(granulated_kendall(gap[None], gap, {}, np.ones((4, 2)))).all()
    pairs = {"depth": (np.array([0]), np.array([1]))}
    absent = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    found = granulated_kendall(gap[None], gap, pairs, absent)
    assert found[0, 0] == 1
    assert np.isnan(found[0, 1])
