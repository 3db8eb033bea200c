"""C0 and C2: every row against loops over resamples and halves, and the choice of networks."""

import functools
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

import synthetic
from sensigap.analysis.bootstrap import resample_counts
from sensigap.analysis.errors import Halvings
from sensigap.analysis.sensitivity_and_gap import sensitivity_and_gap
from sensigap.analysis.shared_points import SharedPoints
from sensigap.analysis.size_and_loss import SIZE_DUMMIES, size_and_loss
from sensigap.analysis.survey_table import (
    LeftOut,
    dummies,
    networks_table,
    sensitive,
    survey_members,
    varying,
)
from sensigap.analysis.verdicts import Settings, draws, verdict
from sensigap.seeds import generator

FAST = Settings(bootstrap=40, halvings=50, crossfit_splits=3)


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


def size_rows(survey, settings=FAST):
    return {
        row.question.key: row for row in size_and_loss(SharedPoints(survey, "made up", settings))
    }


def gap_rows(survey, settings=FAST):
    points = SharedPoints(survey, "made up", settings)
    return {row.question.key: row for row in sensitivity_and_gap(points)}


@pytest.fixture(scope="module")
def rows(survey):
    return size_rows(survey) | gap_rows(survey)


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
    found = gap_rows(changed)
    for key in ("C2.raw", "C2.within", "C2.within.crossfit", "C2.ols"):
        assert "4 with J = 0 at every test point" in found[key].left_out
        assert found[key].n == len(fitted) - 6


# --- every row, by loops --------------------------------------------------------------------------


class Slow:
    """Statistics of some networks over some test points, one at a time."""

    def __init__(self, survey):
        self.table, _ = survey_members(survey)
        chosen = survey.sel(network=self.table.index.to_numpy())
        self.norm = chosen["jacobian_norm"].to_numpy()
        self.right = chosen["margin"].to_numpy() > 0
        self.confidence = chosen["confidence"].to_numpy()
        self.transitions = chosen["transitions"].to_numpy()
        self.codes, self.names = pd.factorize(self.table["architecture"], sort=True)

    def gap(self, who, points):
        accuracy = self.table["train_accuracy"].to_numpy()[who]
        return accuracy - self.right[np.ix_(who, points)].mean(axis=1)

    def sensitivity(self, who, points, aggregate="arithmetic"):
        norm = self.norm[np.ix_(who, points)]
        values = []
        for row in norm:
            if aggregate == "arithmetic":
                values.append(np.mean(row))
            elif aggregate == "rms":
                values.append(np.sqrt(np.mean(row**2)))
            elif aggregate == "median":
                values.append(np.median(row))
            else:
                values.append(10 ** np.mean(np.log10(row[row > 0])))
        return np.log10(values)

    def rho(self, x, y, who, names=(), given=None):
        part = self.table.iloc[who]
        columns = [np.ones(len(who))]
        columns += [
            (part[name] == level).to_numpy(float) for name in names for level in set(part[name])
        ]
        if given is not None:
            columns.append(stats.rankdata(given))
        design = np.column_stack(columns)
        left = [
            r - design @ np.linalg.lstsq(design, r, rcond=None)[0]
            for r in map(stats.rankdata, (x, y))
        ]
        return math.atanh(stats.pearsonr(*left).statistic)

    def column(self, name, who):
        return self.table[name].to_numpy(float)[who]


def raw_and_within(x):
    """Raw and partial correlations of the gap with a function of (slow, who, points)."""

    def of(slow, who, points, names=()):
        return slow.rho(x(slow, who, points), slow.gap(who, points), who, names)

    return of


def with_sensitivity(aggregate):
    return raw_and_within(lambda slow, who, points: slow.sensitivity(who, points, aggregate))


with_size = raw_and_within(lambda slow, who, points: slow.column("parameters", who))
with_loss = raw_and_within(lambda slow, who, points: slow.column("train_loss", who))
with_transitions = raw_and_within(
    lambda slow, who, points: np.nanmean(slow.transitions[np.ix_(who, points)], axis=1)
)


def given_confidence(slow, who, points, names):
    doubt = np.log10((1 - slow.confidence[np.ix_(who, points)]).mean(axis=1))
    x, y = slow.sensitivity(who, points), slow.gap(who, points)
    return slow.rho(x, y, who, names, given=doubt)


def best_tenth(slow, who, points):
    gap, loss = slow.gap(who, points), slow.column("train_loss", who)
    order = sorted(range(len(who)), key=lambda k: gap[k])
    best = order[: math.ceil(len(who) / 10)]
    return np.median([stats.percentileofscore(loss, loss[k], "mean") for k in best])


VARYING = ("depth", "width", "unit", "optimizer", "learning_rate", "batch_size", "gain")
#: key -> (statistic on its scale, names of dummies, whether points enter)
SLOW = {
    "C0.size": functools.partial(with_size, names=SIZE_DUMMIES),
    "C0.size.raw": with_size,
    "C0.loss": with_loss,
    "C0.loss.within": functools.partial(with_loss, names=VARYING),
    "C2.raw": with_sensitivity("arithmetic"),
    "C2.within": functools.partial(with_sensitivity("arithmetic"), names=VARYING),
    "C2.given_confidence": functools.partial(given_confidence, names=VARYING),
    "C2.rms.raw": with_sensitivity("rms"),
    "C2.rms.within": functools.partial(with_sensitivity("rms"), names=VARYING),
    "C2.median.raw": with_sensitivity("median"),
    "C2.median.within": functools.partial(with_sensitivity("median"), names=VARYING),
    "C2.geometric.raw": with_sensitivity("geometric"),
    "C2.geometric.within": functools.partial(with_sensitivity("geometric"), names=VARYING),
    "C2.transitions.raw": with_transitions,
    "C2.transitions.within": functools.partial(with_transitions, names=VARYING),
}


def drawn_networks(slow, row, what=""):
    """The networks of each resample of architectures."""
    rng = row.question.draws(FAST, what=what)
    counts = resample_counts(rng, len(slow.names), FAST.bootstrap)
    return [np.repeat(np.arange(len(slow.table)), column[slow.codes]) for column in counts.T]


def halves_of(survey):
    rng = draws(FAST, "made up", "halvings of the test points")
    member = Halvings(rng, FAST.halvings, survey.sizes["sample"]).member > 0
    return member[:, : FAST.halvings], member[:, FAST.halvings :]


def slow_variances(slow, survey, row, statistic):
    """Variances over networks and over points of a statistic(slow, who, points), by loops."""
    everyone = np.arange(len(slow.table))
    points = np.arange(survey.sizes["sample"])
    over_networks = [statistic(slow, who, points) for who in drawn_networks(slow, row)]
    first, second = (
        np.array([statistic(slow, everyone, np.flatnonzero(half)) for half in halves.T])
        for halves in halves_of(survey)
    )
    G = len(slow.names)
    return np.var(over_networks) * G / (G - 1), ((first - second) ** 2).mean() / 4


def student(row, centre, V, units, back=math.tanh):
    """Asserts interval and p of a row from the variances over architectures and points."""
    found, question, (G, P) = row.finding, row.question, units
    df = sum(V) ** 2 / (V[0] ** 2 / (G - 1) + V[1] ** 2 / (P - 1))
    error = math.sqrt(sum(V))
    half = stats.t.ppf((1 + question.level(FAST)) / 2, df) * error
    assert found.low == pytest.approx(back(centre - half), rel=1e-5, abs=1e-9)
    assert found.high == pytest.approx(back(centre + half), rel=1e-5, abs=1e-9)
    if question.claimed == 0:
        z0 = math.atanh(0.2)
        p = max(stats.t.sf((centre + z0) / error, df), stats.t.cdf((centre - z0) / error, df))
    else:
        p = 2 * stats.t.sf(abs(centre) / error, df)
    assert found.p == pytest.approx(p, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("key", SLOW)
def test_correlations_and_their_errors_are_those_of_loops(survey, rows, key):
    row, slow = rows[key], Slow(survey)
    everyone, points = np.arange(len(slow.table)), np.arange(100)
    centre = SLOW[key](slow, everyone, points)
    assert row.finding.estimate == pytest.approx(math.tanh(centre))
    V = slow_variances(slow, survey, row, SLOW[key])
    P = 20 if "transitions" in key else 100
    student(row, centre, V, (len(slow.names), P))
    assert row.n == len(slow.table)
    assert row.architectures == len(slow.names)


@pytest.mark.parametrize("key", ["C2.transitions.raw", "C2.transitions.within"])
def test_rows_of_transitions_are_those_of_loops_where_networks_have_different_points(key):
    ragged = synthetic.survey(
        networks=200, pairs=3, samples=100, transition_points=40, ragged=True, seed=2
    )
    row, slow = gap_rows(ragged)[key], Slow(ragged)
    everyone, points = np.arange(len(slow.table)), np.arange(100)
    centre = SLOW[key](slow, everyone, points)
    assert row.finding.estimate == pytest.approx(math.tanh(centre))
    V = slow_variances(slow, ragged, row, SLOW[key])
    fewest = int(slow.table["transitions_points"].min())
    assert fewest == np.isfinite(slow.transitions).sum(axis=1).min() < 40
    student(row, centre, V, (len(slow.names), fewest))


def test_the_cross_fitted_row_is_that_of_loops(survey, rows):
    row, slow = rows["C2.within.crossfit"], Slow(survey)
    everyone, n = np.arange(len(slow.table)), len(slow.table)
    member = Halvings(row.question.draws(FAST, what="splits"), 3, 100).member > 0

    def both(who, first, second):
        return [
            slow.rho(slow.sensitivity(who, a), slow.gap(who, b), who, VARYING)
            for a, b in ((first, second), (second, first))
        ]

    splits = [(np.flatnonzero(member[:, k]), np.flatnonzero(member[:, k + 3])) for k in range(3)]
    centre = np.mean([both(everyone, *split) for split in splits])
    assert row.finding.estimate == pytest.approx(math.tanh(centre))
    drawn = [np.mean([both(who, *split) for split in splits]) for who in drawn_networks(slow, row)]
    rng = row.question.draws(FAST, what="points")
    variances = []
    for split in splits:
        resampled = []
        counts = [resample_counts(rng, len(half), 50) for half in split]
        for column in range(50):
            a, b = (np.repeat(half, of[:, column]) for half, of in zip(split, counts, strict=True))
            resampled.append(np.mean(both(everyone, a, b)))
        variances.append(np.var(resampled) * 50 / 49)
    G = len(slow.names)
    V = np.var(drawn) * G / (G - 1), np.mean(variances)
    student(row, centre, V, (G, 100))
    assert "a lower bound" in " ".join(row.remarks)
    assert n == row.n


def test_the_regression_is_a_jackknife_of_statsmodels_fits(survey, rows):
    row, slow = rows["C2.ols"], Slow(survey)

    def slope(who, points):
        part = slow.table.iloc[who]
        design = pd.get_dummies(part[list(VARYING)].astype(str), drop_first=True).to_numpy(float)
        x = np.column_stack([slow.sensitivity(who, points), np.ones(len(who)), design])
        # by the pseudo-inverse, since an architecture may hold the only network of a level
        return sm.OLS(slow.gap(who, points), x).fit().params[0]

    everyone, points = np.arange(len(slow.table)), np.arange(100)
    whole, G = slope(everyone, points), len(slow.names)
    without = [slope(everyone[slow.codes != g], points) for g in range(G)]
    first, second = (
        np.array([slope(everyone, np.flatnonzero(half)) for half in halves.T])
        for halves in halves_of(survey)
    )
    V = (G - 1) / G * sum((b - whole) ** 2 for b in without), ((first - second) ** 2).mean() / 4
    assert row.finding.estimate == pytest.approx(whole)
    student(row, whole, V, (G, 100), back=float)
    assert "R2" in " ".join(row.remarks)


def test_the_best_tenth_is_that_of_a_loop(survey, rows):
    row, slow = rows["C0.best_tenth"], Slow(survey)
    centre = best_tenth(slow, np.arange(len(slow.table)), np.arange(100))
    assert row.finding.estimate == pytest.approx(centre)
    V = slow_variances(slow, survey, row, best_tenth)
    error = math.sqrt(sum(V))
    df = sum(V) ** 2 / (V[0] ** 2 / (len(slow.names) - 1) + V[1] ** 2 / 99)
    assert row.finding.p == pytest.approx(2 * stats.t.sf(abs(centre - 50) / error, df), rel=1e-6)
    assert verdict(row, row.finding.p, math.nan, FAST) == "none"


def test_the_envelope_is_statsmodels_quantile_regression(survey, rows):
    row, slow = rows["C0.envelope"], Slow(survey)
    # below 200 fitted networks the wider quantile
    assert "at 0.1" in row.question.test
    x = sm.add_constant(np.log10(slow.column("parameters", np.arange(len(slow.table)))))
    fit = sm.QuantReg(slow.table["gap"].to_numpy(), x).fit(q=0.1, max_iter=5000)
    assert row.finding.estimate == pytest.approx(fit.params[1], abs=1e-3)
    slopes = [
        sm.QuantReg(slow.table["gap"].to_numpy()[who], x[who]).fit(q=0.1, max_iter=5000).params[1]
        for who in drawn_networks(slow, row)
    ]
    first, second = (
        np.array(
            [
                sm.QuantReg(slow.gap(np.arange(len(x)), np.flatnonzero(half)), x)
                .fit(q=0.1, max_iter=5000)
                .params[1]
                for half in halves.T
            ]
        )
        for halves in halves_of(survey)
    )
    G = len(slow.names)
    error = math.sqrt(np.var(slopes) * G / (G - 1) + ((first - second) ** 2).mean() / 4)
    half = (row.finding.high - row.finding.low) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, G) * error, rel=0.1)


def test_interactions_are_wald_tests_of_group_correlations(survey, rows):
    row, slow = rows["C0.loss.by_optimizer"], Slow(survey)
    groups = [(slow.table["optimizer"] == name).to_numpy() for name in ("adam", "momentum", "sgd")]
    points = np.arange(100)
    effects = np.array([with_loss(slow, np.flatnonzero(member), points) for member in groups])
    drawn = np.array(
        [
            [with_loss(slow, who[member[who]], points) for member in groups]
            for who in drawn_networks(slow, row)
        ]
    )
    G, k = len(slow.names), 3
    S = np.cov(drawn.T, bias=True) * G / (G - 1)
    C = np.array([[-1.0, 1, 0], [-1.0, 0, 1]])
    F = (G - k + 1) / ((G - 1) * (k - 1))
    F *= effects @ C.T @ np.linalg.solve(C @ S @ C.T, C @ effects)
    assert row.finding.estimate == pytest.approx(F)
    assert row.finding.p == pytest.approx(stats.f.sf(F, k - 1, G - k + 1))
    assert math.isnan(row.finding.low)
    assert verdict(row, row.finding.p, math.nan, FAST) == "none"


# --- what they say --------------------------------------------------------------------------------


def test_size_is_mixed_where_the_optimizers_disagree(survey):
    changed = survey.copy(deep=True)
    size = np.log10(survey["parameters"].to_numpy())
    sign = np.where(survey["optimizer"] == "adam", 1, -1)
    noise = generator(0, "mixed").normal(0, 0.02, len(size))
    changed["gap"] = ("network", 0.3 + 0.1 * sign * (size - size.mean()) + noise)
    row = size_rows(changed)["C0.size"]
    assert row.finding.mixed == "optimizer"
    assert row.remarks[0] == "significant in opposite directions by optimizer"
    assert verdict(row, 1e-9, math.nan, FAST) == "mixed"
    listed = " ".join(row.remarks)
    assert "optimizer adam 0.9" in listed
    assert "gain 0.5 " in listed


def test_a_training_loss_that_tells_in_opposite_ways_is_mixed(survey):
    changed = survey.copy(deep=True)
    loss = np.log(survey["train_loss"].to_numpy())
    sign = np.where(survey["optimizer"] == "adam", 1, -1)
    changed["gap"] = ("network", 0.3 + 0.02 * sign * (np.nan_to_num(loss) + 8))
    found = size_rows(changed)
    row = found["C0.loss"]
    # within each optimizer the two are monotone in every resample
    assert "do not vary over architectures" in found["C0.loss.by_optimizer"].remarks[0]
    assert verdict(row, 0.9, math.nan, FAST) == "mixed"


def test_a_bent_relation_is_called_not_linear(survey, rows):
    assert "not linear" not in " ".join(rows["C2.ols"].remarks)
    changed = survey.copy(deep=True)
    log10 = np.log10(survey["sensitivity"])
    changed["gap"] = 0.1 + 0.05 * (log10 - log10.mean()) ** 2
    assert "not linear: R2" in " ".join(gap_rows(changed)["C2.ols"].remarks)


def test_test_error_needs_norms_of_networks_that_do_not_fit(survey, rows):
    for key in ("C2.test_error.raw", "C2.test_error.within"):
        row = rows[key]
        assert row.finding is None
        assert "no Jacobian norms of networks that do not fit" in row.remarks[0]
        assert "without a measured sensitivity" in row.left_out
        assert verdict(row, math.nan, math.nan, FAST) == "does not speak"


def test_test_error_is_over_all_that_did_not_diverge(survey):
    changed = survey.copy(deep=True)
    rng = generator(0, "unfitted")
    unfitted = np.flatnonzero((survey["status"] == "not fitted") & survey["in_survey"])
    norm = np.exp(rng.normal(1, 1, (len(unfitted), 100)))
    # dead networks are the least sensitive
    norm[:4] = 0
    margin = rng.normal(0.2, 1, (len(unfitted), 100))
    for name, values in (
        ("jacobian_norm", norm),
        ("jacobian_norm_log10", np.log10(norm, out=np.full_like(norm, -np.inf), where=norm > 0)),
        ("margin", margin),
        ("correct", margin > 0),
        ("sensitivity", norm.mean(axis=1)),
        ("test_accuracy", (margin > 0).mean(axis=1)),
    ):
        changed[name][unfitted] = values
    row = gap_rows(changed)["C2.test_error.raw"]
    table = networks_table(changed)
    used = table[table["in_survey"].astype(bool) & (table["status"] != "diverged")]
    assert row.n == len(used) > len(unfitted)
    expected = stats.spearmanr(used["sensitivity"], 1 - used["test_accuracy"]).statistic
    assert row.finding.estimate == pytest.approx(expected)
    used = changed.sel(network=used.index.to_numpy())
    halves = [
        [
            stats.spearmanr(
                used["jacobian_norm"].to_numpy()[:, half].mean(axis=1),
                (used["margin"].to_numpy()[:, half] <= 0).mean(axis=1),
            ).statistic
            for half in member.T
        ]
        for member in halves_of(changed)
    ]
    first, second = np.arctanh(halves)
    points = math.sqrt(((first - second) ** 2).mean() / 4)
    assert f"{points:.2g} over 100 points" in " ".join(row.remarks)
    assert "4 with J = 0 at every test point, the lowest ranks" in row.remarks


def test_zeros_of_the_geometric_mean_are_counted(survey, rows):
    zeros = int((Slow(survey).norm == 0).sum())
    assert zeros == 10
    assert any(
        remark.startswith(f"{zeros} of ") and "J = 0 left out of the means" in remark
        for remark in rows["C2.geometric.raw"].remarks
    )


def test_a_median_of_zero_has_no_logarithm(survey):
    changed = survey.copy(deep=True)
    first = survey_members(survey)[0].index[0]
    changed["jacobian_norm"].loc[{"network": first}][:60] = 0
    row = gap_rows(changed)["C2.median.raw"]
    assert "1 with a median of 0" in row.left_out
    assert row.n == len(survey_members(survey)[0]) - 1


def few_architectures(survey, count):
    """The survey with its networks dealt out to a few architectures."""
    changed = survey.copy(deep=True)
    place = np.arange(survey.sizes["network"]) % count
    for name, values in (("depth", 1 + place % 2), ("width", 16 * (1 + place // 2))):
        changed[name] = ("network", values)
    changed["unit"] = ("network", np.full(len(place), "relu", object))
    return changed


def test_fewer_than_ten_architectures_are_too_few(survey):
    few = few_architectures(survey, 9)
    for key, row in (size_rows(few) | gap_rows(few)).items():
        if key.startswith("C0.fitted"):
            continue  # a description, without an error over architectures
        assert row.too_few
        assert row.finding is None
        assert row.architectures == 9
        assert row.remarks[0].endswith("9 architectures of at least 10")
    enough = gap_rows(few_architectures(survey, 10))["C2.raw"]
    assert enough.finding is not None


def test_constant_gap_does_not_apply(survey):
    changed = survey.copy(deep=True)
    changed["gap"][:] = 0.25
    for key, row in (size_rows(changed) | gap_rows(changed)).items():
        if not any(text in key for text in ("test_error", "by_", "C0.fitted")):
            assert row.remarks == ("does not apply: gap is the same for all networks",), key


def test_infinite_input_does_not_apply(survey):
    changed = survey.copy(deep=True)
    fitted = np.flatnonzero((survey["status"] == "fitted") & survey["in_survey"])
    changed["train_loss"][fitted[:2]] = np.nan
    found = size_rows(changed)
    for key in ("C0.loss", "C0.loss.within", "C0.best_tenth"):
        assert found[key].remarks == ("does not apply: train_loss is not finite for 2 networks",)
    assert found["C0.size"].finding is not None


def test_too_many_dummies_do_not_apply(survey):
    few = survey.isel(network=slice(0, 30))
    found = gap_rows(few)
    assert found["C2.raw"].finding is not None
    for key in ("C2.within", "C2.ols", "C2.within.crossfit"):
        assert "degrees of freedom" in found[key].remarks[0]


def test_sensitivity_that_hyperparameters_determine_does_not_apply(survey):
    changed = survey.copy(deep=True)
    changed["sensitivity"] = changed["gain"].astype(float)
    found = gap_rows(changed)
    assert "no value" in found["C2.within"].remarks[0]
    assert found["C2.ols"].remarks == (
        "does not apply: the hyper-parameters determine the sensitivity",
    )


def test_fit_rates_are_counts_by_level(survey, rows):
    members = survey.isel(
        network=np.flatnonzero(survey["in_survey"] & (survey["labels"] == "true"))
    )
    fitted = members["status"].to_numpy() == "fitted"
    names = [key.removeprefix("C0.fitted.") for key in rows if key.startswith("C0.fitted.")]
    assert {"depth", "width", "unit", "gain"} <= set(names)
    for name in names:
        row = rows[f"C0.fitted.{name}"]
        levels = members[name].to_numpy()
        shares = {level: fitted[levels == level].mean() for level in np.unique(levels)}
        assert row.finding.estimate == pytest.approx(max(shares.values()) - min(shares.values()))
        assert row.n == len(fitted)
        assert len(row.remarks) == len(shares)
        for text, (level, share) in zip(row.remarks, shares.items(), strict=True):
            low, high = stats.binomtest(int(fitted[levels == level].sum()),
                                        int((levels == level).sum())).proportion_ci(
                                            method="wilson")  # fmt: skip
            count = (levels == level).sum()
            assert text == f"{name} {level}: {share:.2f} [{low:.2f}, {high:.2f}] of {count}"
