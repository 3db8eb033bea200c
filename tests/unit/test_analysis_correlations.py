"""C0 and C2, and the choice of networks that they are about."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

import synthetic
from sensigap.analysis import correlations, resampled
from sensigap.analysis.bootstrap import resample_counts
from sensigap.analysis.survey_table import (
    LeftOut,
    dummies,
    networks_table,
    sensitive,
    survey_members,
    varying,
)
from sensigap.analysis.verdicts import Settings
from sensigap.seeds import generator

FAST = Settings(bootstrap=300)


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(networks=200, pairs=3, samples=100, transition_points=20)


def test_members_are_the_fitted_true_label_networks_of_the_survey(survey):
    table, left_out = survey_members(survey)
    frame = survey[["status"]].to_dataframe()
    members = frame[frame["in_survey"]]
    assert set(table.index) == set(members.index[members["status"] == "fitted"])
    assert left_out.total == 200
    assert left_out.reasons == {
        "not fitted": (members["status"] == "not fitted").sum(),
        "diverged": (members["status"] == "diverged").sum(),
    }
    assert left_out.count + len(table) == 200


def test_random_label_members_are_left_out(survey):
    changed = survey.copy(deep=True)
    changed["labels"][:7] = "random"
    table, left_out = survey_members(changed)
    assert left_out.reasons["trained on random labels"] == 7
    assert not set(changed["network"].to_numpy()[:7]) & set(table.index)


def test_networks_without_sensitivity_are_left_out_with_their_count(survey):
    changed = survey.copy(deep=True)
    fitted = np.flatnonzero((survey["status"] == "fitted") & survey["in_survey"])
    changed["sensitivity"][fitted[:4]] = 0
    changed["sensitivity"][fitted[4:6]] = np.nan
    table, left_out = sensitive(*survey_members(changed))
    assert left_out.reasons["with J = 0 at every test point"] == 4
    assert left_out.reasons["without a measured sensitivity"] == 2
    assert len(table) == len(fitted) - 6
    assert table["sensitivity_log10"].to_numpy() == pytest.approx(
        np.log10(changed["sensitivity"].to_numpy()[fitted[6:]])
    )
    rows = correlations.sensitivity_and_gap(changed, "synthetic", FAST)
    assert all("4 with J = 0 at every test point" in row.left_out for row in rows)
    assert {row.n for row in rows} == {len(fitted) - 6}


def test_left_out_in_words():
    left_out = LeftOut(10, "pairs")
    assert str(left_out) == "0 of 10 pairs"
    left_out.add("bad", 2)
    left_out.add("none", 0)
    other = left_out.copy()
    other.add("worse", 1)
    assert str(left_out) == "2 of 10 pairs: 2 bad"
    assert str(other) == "3 of 10 pairs: 2 bad, 1 worse"


def test_dummies_are_independent_and_span_all_levels(survey):
    table = networks_table(survey)
    names = ["unit", "gain", "optimizer"]
    design = dummies(table, names)
    assert np.linalg.matrix_rank(design) == design.shape[1] == 1 + 3 + 3 + 3
    for name in names:
        for level in table[name].unique():
            column = (table[name] == level).to_numpy(float)
            fitted = design @ np.linalg.lstsq(design, column, rcond=None)[0]
            assert fitted == pytest.approx(column, abs=1e-9)


def test_dummies_leave_out_what_others_determine(survey):
    table = networks_table(survey)
    table["steps"] = np.where(table["optimizer"] == "sgd", 100, 1000)
    assert dummies(table, ["optimizer", "steps"]).shape == dummies(table, ["optimizer"]).shape


def test_only_what_varies_gets_dummies(survey):
    table, _ = survey_members(survey)
    assert varying(table) == [
        "depth",
        "width",
        "unit",
        "optimizer",
        "learning_rate",
        "batch_size",
        "gain",
    ]


def test_spearman_rows_are_scipys(survey):
    table, _ = survey_members(survey)
    rows = correlations.size_and_loss(survey, "synthetic", FAST)[::2]
    rows.append(correlations.sensitivity_and_gap(survey, "synthetic", FAST)[0])
    for row, column in zip(rows, ("parameters", "train_loss", "sensitivity_log10"), strict=True):
        expected = stats.spearmanr(table[column], table["gap"]).statistic
        assert row.result.estimate == pytest.approx(expected, abs=1e-12)
        assert row.result.low < expected < row.result.high
        assert row.n == len(table)


def test_clustered_interval_is_that_of_a_plain_loop(survey):
    table, _ = survey_members(survey)
    row = correlations.size_and_loss(survey, "synthetic", FAST)[0]
    codes, names = pd.factorize(table["architecture"], sort=True)
    rng = row.question.draws(FAST)
    counts = resample_counts(rng, len(names), FAST.bootstrap)
    drawn_rhos = []
    for column in range(FAST.bootstrap):
        drawn = np.repeat(np.arange(len(table)), counts[codes, column])
        resample = table.iloc[drawn]
        drawn_rhos.append(stats.spearmanr(resample["parameters"], resample["gap"]).statistic)
    error = np.std(np.arctanh(drawn_rhos), ddof=0) * np.sqrt(len(names) / (len(names) - 1))
    half = stats.t.ppf(0.975, len(names) - 1) * error
    centre = np.arctanh(row.result.estimate)
    assert row.result.low == pytest.approx(np.tanh(centre - half))
    assert row.result.high == pytest.approx(np.tanh(centre + half))
    assert row.result.p == pytest.approx(
        2 * stats.t.sf(abs(centre) / error, len(names) - 1), rel=1e-6
    )


@pytest.mark.parametrize(
    ("column", "apart"),
    [("sensitivity_log10", ()), ("parameters", ("depth", "width")), ("train_loss", ())],
)
def test_within_rows_are_the_correlation_of_rank_residuals(survey, column, apart):
    table, _ = survey_members(survey)
    of_size = correlations.size_and_loss(survey, "synthetic", FAST)
    row = {
        "sensitivity_log10": correlations.sensitivity_and_gap(survey, "synthetic", FAST)[1],
        "parameters": of_size[1],
        "train_loss": of_size[3],
    }[column]
    names = [name for name in varying(table) if name not in apart]
    terms = " + ".join(f"C({name})" for name in names)
    residuals = [
        smf.ols(f"rank ~ {terms}", table.assign(rank=stats.rankdata(table[name]))).fit().resid
        for name in ("gap", column)
    ]
    assert row.result.estimate == pytest.approx(stats.pearsonr(*residuals).statistic, abs=1e-8)
    assert row.note.startswith(f"dummies for {', '.join(names)}; ")
    assert (
        row.question.claimed == {"sensitivity_log10": 1, "parameters": -1, "train_loss": 0}[column]
    )
    assert row.question.quantity.endswith(" within hyper-parameters")


def test_size_that_a_hyperparameter_hides_shows_within_the_others(survey):
    """Larger networks have larger gains, which alone make the gap larger."""
    changed = survey.copy(deep=True)
    rank = stats.rankdata(survey["parameters"]) / survey.sizes["network"]
    noise = generator(0, "hidden").normal(0, 0.05, (2, len(rank)))
    gain = 2.0 ** np.round(4 * np.clip(rank + 4 * noise[0], 0, 1))
    changed["gain"] = ("network", gain)
    changed["gap"] = ("network", 0.1 * np.log2(gain) - 0.3 * rank + noise[1] / 5)
    raw, within = correlations.size_and_loss(changed, "synthetic", FAST)[:2]
    assert raw.result.low > 0
    assert within.result.high < 0


def test_a_bent_relation_is_called_not_linear(survey):
    straight = correlations.sensitivity_and_gap(survey, "synthetic", FAST)[2]
    assert "not linear" not in straight.note
    changed = survey.copy(deep=True)
    log10 = np.log10(survey["sensitivity"])
    changed["gap"] = 0.1 + 0.05 * (log10 - log10.mean()) ** 2
    table, _ = survey_members(changed)
    bent = correlations.sensitivity_and_gap(changed, "synthetic", FAST)[2]
    terms = " + ".join(f"C({name})" for name in varying(table))
    fits = [
        smf.ols(f"gap ~ sensitivity_log10 {square} + {terms}", table).fit().rsquared
        for square in ("", "+ I(sensitivity_log10 ** 2)")
    ]
    assert fits[1] - fits[0] > 0.05
    assert (
        f"not linear: R2 {fits[0]:.2f}, with the square of the sensitivity's logarithm "
        f"{fits[1]:.2f}"
    ) in bent.note


def test_regression_row_is_statsmodels_formula(survey):
    table, _ = survey_members(survey)
    row = correlations.sensitivity_and_gap(survey, "synthetic", FAST)[2]
    terms = " + ".join(f"C({name})" for name in varying(table))
    codes = pd.factorize(table["architecture"])[0]
    fit = smf.ols(f"gap ~ sensitivity_log10 + {terms}", table).fit(
        cov_type="cluster", cov_kwds={"groups": codes}, use_t=True
    )
    low, high = fit.conf_int().loc["sensitivity_log10"]
    assert row.result.estimate == pytest.approx(fit.params["sensitivity_log10"])
    assert (row.result.low, row.result.high) == pytest.approx((low, high))
    assert row.result.p == pytest.approx(fit.pvalues["sensitivity_log10"])
    assert "architecture clusters" in row.question.test


def few_architectures(survey, count):
    """The survey with its networks dealt out to a few architectures."""
    changed = survey.copy(deep=True)
    place = np.arange(survey.sizes["network"]) % count
    for name, values in (("depth", 1 + place % 2), ("width", 16 * (1 + place // 2))):
        changed[name] = ("network", values)
    changed["unit"] = ("network", np.full(len(place), "relu", object))
    return changed


def test_fewer_than_thirty_architectures_get_the_wild_bootstrap(survey):
    row = correlations.sensitivity_and_gap(few_architectures(survey, 10), "synthetic", FAST)[2]
    assert "wild bootstrap clustered by architecture" in row.question.test
    assert "3000 wild resamples" in row.note
    assert 1 / 3001 <= row.result.p < 10 / 3001
    assert row.result.low < 0.15 < row.result.high


def test_too_few_architectures_to_cluster_by(survey):
    rows = correlations.sensitivity_and_gap(few_architectures(survey, 4), "synthetic", FAST)
    assert [row.note for row in rows] == [
        "does not apply: 4 architectures, fewer than 5 clusters"
    ] * 3
    assert all(row.result is None for row in rows)


def test_constant_gap_does_not_apply(survey):
    changed = survey.copy(deep=True)
    changed["gap"][:] = 0.25
    rows = correlations.size_and_loss(changed, "synthetic", FAST)
    rows += correlations.sensitivity_and_gap(changed, "synthetic", FAST)
    assert {row.note for row in rows} == {"does not apply: gap is the same for all networks"}


def test_infinite_input_does_not_apply(survey):
    changed = survey.copy(deep=True)
    fitted = np.flatnonzero((survey["status"] == "fitted") & survey["in_survey"])
    changed["train_loss"][fitted[:2]] = np.nan
    rows = correlations.size_and_loss(changed, "synthetic", FAST)
    assert [row.note for row in rows[2:]] == [
        "does not apply: train_loss is not finite for 2 networks"
    ] * 2
    assert all(row.result is not None for row in rows[:2])


def test_too_many_dummies_do_not_apply(survey):
    few = survey.isel(network=slice(0, 26))
    rows = correlations.sensitivity_and_gap(few, "synthetic", FAST)
    assert rows[0].result is not None
    assert "degrees of freedom" in rows[1].note
    assert "degrees of freedom" in rows[2].note


def test_sensitivity_that_hyperparameters_determine_does_not_apply(survey):
    changed = survey.copy(deep=True)
    changed["sensitivity"] = changed["gain"].astype(float)
    rows = correlations.sensitivity_and_gap(changed, "synthetic", FAST)
    assert "no value" in rows[1].note
    assert rows[2].note == "does not apply: the hyper-parameters determine the sensitivity"


def test_estimate_is_the_resample_of_every_network_once(survey):
    table, _ = survey_members(survey)
    x, y = table["gap"].to_numpy(), table["parameters"].to_numpy(float)
    once = resampled.rank_correlation(x, y, np.ones((len(x), 1)))[0]
    assert once == pytest.approx(stats.spearmanr(x, y).statistic)
