"""C5: what the Jacobian norm says about loss and correctness at single test points."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import statsmodels.api as sm
import xarray as xr
from statsmodels.genmod.cov_struct import Independence

from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import DoesNotApply, resample_counts
from sensigap.analysis.errors import (
    Estimate,
    Halvings,
    cluster_variance,
    halving_variance,
    mean_of_halves,
    to_scale,
)
from sensigap.analysis.points import (
    Points,
    bends,
    fitting,
    logistic_fit,
    overlapping,
    point_networks,
    points,
    two_classes,
    usable,
    varies,
)
from sensigap.analysis.relation import bounds
from sensigap.analysis.shared_points import SharedPoints, log_doubt
from sensigap.analysis.survey_table import LeftOut
from sensigap.analysis.verdicts import Finding, Question, Row, Settings, answer, one

#: ASSUME: points a network in the GEE, a seeded subset: its clusters are the networks, so more
#: points would hardly make its errors smaller
GEE_POINTS = 500
_TEST = "per network; error over networks and over test points"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistic:
    """What is computed for each network over its points and averaged over networks."""

    #: of its row
    key: str
    quantity: str
    effect: str
    null: float = 0.0
    #: as `Question.claimed`
    claimed: int | None = 1
    primary: bool = False
    #: a key of `bootstrap.SCALES`
    scale: str = "identity"
    #: why it does not apply to a network, or ''
    fault: Callable[[Points], str]
    #: of each choice of the network's points, from counts (point, choice): (choice,)
    compute: Callable[[Points, np.ndarray], np.ndarray]
    #: what is said of the assumptions, from all networks
    check: Callable[[list[Points]], str] = lambda _: ""

    def whole(self, of: Points) -> float:
        """Of all points."""
        return float(self.compute(of, np.ones((len(of.loss), 1)))[0])


def _rho(of: Points, counts: np.ndarray) -> np.ndarray:
    return resampled.rank_correlation(of.log10_norm, of.loss, counts)


def _rho_doubt(of: Points, counts: np.ndarray) -> np.ndarray:
    return resampled.rank_correlation(of.log_doubt, of.loss, counts)


def _auc(of: Points, counts: np.ndarray) -> np.ndarray:
    return resampled.auc(of.log10_norm, of.wrong, counts)


def _auc_doubt(of: Points, counts: np.ndarray) -> np.ndarray:
    return resampled.auc(of.log_doubt, of.wrong, counts)


def _slope(of: Points, counts: np.ndarray) -> np.ndarray:
    return resampled.logistic_slope(of.log10_norm, of.wrong, counts, logistic_fit(of))


def _compared(
    norm: Callable[[Points, np.ndarray], np.ndarray],
    doubt: Callable[[Points, np.ndarray], np.ndarray],
    used: list[Points],
) -> str:
    """Which predicts better, in words."""
    both = np.array(
        [[float(f(of, np.ones((len(of.loss), 1)))[0]) for f in (norm, doubt)] for of in used]
    )
    better = int((both[:, 0] > both[:, 1]).sum())
    norms, doubts = both.mean(axis=0)
    which = "the norm" if norms > doubts else "1 - confidence"
    return (
        f"{which} predicts better: norm {norms:.3f}, 1 - confidence {doubts:.3f}; the norm in "
        f"{better} of {len(used)} networks"
    )


STATISTICS = (
    Statistic(
        key="C5.loss",
        quantity="loss and log10 Jacobian norm at a point",
        effect="mean Spearman's rho",
        primary=True,
        scale="correlation",
        fault=varies,
        compute=_rho,
        check=partial(_compared, _rho, _rho_doubt),
    ),
    Statistic(
        key="C5.error",
        quantity="misclassification by Jacobian norm at a point",
        effect="mean ROC AUC",
        null=0.5,
        primary=True,
        scale="probability",
        fault=two_classes,
        compute=_auc,
        check=partial(_compared, _auc, _auc_doubt),
    ),
    Statistic(
        key="C5.slope",
        quantity="misclassification on log10 Jacobian norm at a point",
        effect="mean logistic slope per decade",
        fault=overlapping,
        compute=_slope,
        check=lambda used: (
            f"log-odds bend (square of log10 norm, |z| > 1.96) in "
            f"{sum(map(bends, used))} of {len(used)} networks"
        ),
    ),
    Statistic(
        key="C5.loss.baseline",
        quantity="loss at a point: the norm's rank correlation minus that of 1 - confidence",
        effect="mean difference of Spearman's rho",
        claimed=None,
        fault=varies,
        compute=lambda of, counts: _rho(of, counts) - _rho_doubt(of, counts),
        check=partial(_compared, _rho, _rho_doubt),
    ),
    Statistic(
        key="C5.error.baseline",
        quantity="misclassification at a point: the norm's ROC AUC minus that of 1 - confidence",
        effect="mean difference of ROC AUC",
        claimed=None,
        fault=two_classes,
        compute=lambda of, counts: _auc(of, counts) - _auc_doubt(of, counts),
        check=partial(_compared, _auc, _auc_doubt),
    ),
    Statistic(
        key="C5.loss.given_confidence",
        quantity="loss and log10 Jacobian norm at a point, given confidence",
        effect="mean correlation of rank residuals after a cubic in the rank of 1 - confidence",
        scale="correlation",
        fault=varies,
        compute=lambda of, counts: resampled.correlation_given_rank(
            of.log10_norm, of.loss, of.log_doubt, counts
        ),
    ),
)


def point_rows(
    survey: xr.Dataset, dataset: str, settings: Settings, shared: SharedPoints
) -> list[Row]:
    """C5 (STATISTICS, section 6): per network over points, then over networks; and a GEE.

    Args:
        survey: a survey.
        dataset: its name.
        settings: of the tests.
        shared: the survey's test points.
    """
    names, left_out = point_networks(survey, settings)
    architectures = _architectures(survey, names)
    all_points = points(survey, names)
    samples = shared.count
    dropped = sum(samples - len(p.sample) for p in all_points)
    rough = log_doubt(survey, names)[1]
    rows = []
    for statistic in STATISTICS:
        question = Question(
            key=statistic.key,
            claim="C5",
            dataset=dataset,
            quantity=statistic.quantity,
            test=_TEST,
            effect=statistic.effect,
            claimed=statistic.claimed,
            null=statistic.null,
            primary=statistic.primary,
        )
        used, reasons = usable(all_points, statistic.fault, left_out)
        text = f"{reasons}; {dropped} of {samples * len(names)} points with J = 0"
        compute = partial(_over_networks, question, statistic, used, shared, settings, rough)
        rows.append(
            answer(
                question,
                len(used),
                text,
                settings,
                compute,
                architectures=architectures([p.network for p in used]),
                clustered=False,
            )
        )
    rows.append(_bounds_row(survey, names, left_out, dataset, settings, shared))
    rows.append(_gee_row(all_points, left_out, dataset, settings, shared, architectures))
    return rows


def _architectures(survey: xr.Dataset, names: list[str]) -> Callable[[list[str]], int]:
    """How many architectures some of the networks have."""
    chosen = survey[["depth", "width", "unit"]].sel(network=names)
    table = pd.DataFrame(
        {name: chosen[name].to_numpy() for name in ("depth", "width", "unit")}, index=names
    )
    return lambda some: len(table.loc[some].drop_duplicates())


def over_networks(
    values: np.ndarray,
    halves: np.ndarray,
    points_count: int,
    scale: str,
    rng: np.random.Generator,
    settings: Settings,
) -> Estimate:
    """Mean over networks, its error from a bootstrap over them and from halves of the points.

    Args:
        values: of each network, over all points (network,).
        halves: over each half (network, 2 halvings).
        points_count: how many points there are.
        scale: of the mean, a key of `bootstrap.SCALES`.
        rng: draws the resamples of networks.
        settings: of the tests.
    """
    n = len(values)
    counts = resample_counts(rng, n, settings.bootstrap)
    return Estimate(
        float(values.mean()),
        cluster_variance(to_scale(scale, values @ counts / n), n),
        n,
        halving_variance(to_scale(scale, mean_of_halves(halves))),
        points_count,
        scale,
    )


def _over_networks(
    question: Question,
    statistic: Statistic,
    used: list[Points],
    shared: SharedPoints,
    settings: Settings,
    rough: int,
) -> Finding:
    """The finding of a statistic."""
    values = np.array([statistic.whole(p) for p in used])
    member = shared.halvings.member
    halves = np.stack([statistic.compute(p, member[p.sample]) for p in used])
    found = over_networks(
        values, halves, shared.count, statistic.scale, question.draws(settings), settings
    )
    above = int((values > statistic.null).sum())
    doubt = "" if statistic.key == "C5.slope" else (
        "1 - confidence from the loss where the true class is on top, so without cancellation; "
        f"less than four digits of it at {rough:,} points that are wrong"
    )
    return one(question, found, settings).noted(
        statistic.check(used),
        f"above {statistic.null:g} in {above} of {len(used)} networks",
        doubt,
    )


def _bounds_row(
    survey: xr.Dataset,
    names: list[str],
    left_out: LeftOut,
    dataset: str,
    settings: Settings,
    shared: SharedPoints,
) -> Row:
    """The share of points between the bounds of the analytic relation: a comparison."""
    question = Question(
        key="C5.bounds",
        claim="C5",
        dataset=dataset,
        quantity="Jacobian norm within the analytic bounds for the true class' probability",
        test=_TEST,
        effect="mean share of points",
        claimed=None,
        null=None,
    )

    def compute() -> Finding:
        whole, halves = inside_bounds(survey, names, shared)
        rng = question.draws(settings)
        found = over_networks(whole, halves, shared.count, "identity", rng, settings)
        return one(question, found, settings).noted(
            "logit gradients of all classes taken as orthogonal and of one norm, the root mean "
            "square over the network's points"
        )

    return answer(
        question,
        len(names),
        str(left_out),
        settings,
        compute,
        architectures=_architectures(survey, names)(names),
        clustered=False,
    )


def inside_bounds(
    survey: xr.Dataset, names: list[str], shared: SharedPoints
) -> tuple[np.ndarray, np.ndarray]:
    """Share of points with lower <= ||J|| <= upper, (network,) and over halves (network, 2 H).

    M, the norm of the logit gradients, is that of the points in question.
    """
    classes = len(np.unique(survey["label"].to_numpy()))
    norm, target = (
        shared.values(name, names) for name in ("jacobian_norm", "target_probability")
    )
    squares = shared.values("logit_jacobian_norm", names) ** 2 / classes
    rest = -np.expm1(-shared.values("loss", names))
    low, high = bounds(np.clip(target, 0, 1), classes, rest)
    member = np.column_stack([np.ones(shared.count), shared.halvings.member])
    shares = np.empty((len(names), member.shape[1]))
    for k in range(len(names)):
        M = np.sqrt(squares[k] @ member / member.sum(axis=0))
        inside = (low[k][:, None] * M <= norm[k][:, None]) & (norm[k][:, None] <= high[k][:, None] * M)
        shares[k] = (inside * member).sum(axis=0) / member.sum(axis=0)
    return shares[:, 0], shares[:, 1:]


def _gee_row(
    all_points: list[Points],
    left_out: LeftOut,
    dataset: str,
    settings: Settings,
    shared: SharedPoints,
    architectures: Callable[[list[str]], int],
) -> Row:
    question = Question(
        key="C5.gee",
        claim="C5",
        dataset=dataset,
        quantity="misclassification on log10 Jacobian norm at a point, all networks",
        test="binomial GEE clustered by network; error over networks and over test points",
        effect="logistic slope per within-network SD of the log10 norm",
        claimed=1,
    )
    used, reasons = usable(all_points, varies, left_out)
    rng = question.draws(settings, what="points")
    subset = np.sort(rng.choice(shared.count, min(GEE_POINTS, shared.count), replace=False))
    text = f"{reasons}; a seeded subset of {len(subset)} of {shared.count} points"
    return answer(
        question,
        len(used),
        text,
        settings,
        lambda: one(question, _gee(question, used, subset, settings), settings).noted(
            "working independence, sandwich errors"
        ),
        architectures=architectures([p.network for p in used]),
        clustered=False,
    )


def _gee(
    question: Question, used: list[Points], subset: np.ndarray, settings: Settings
) -> Estimate:
    """One slope for all networks.

    ASSUME: the log10 norm is taken from its mean in the network, so that differences between
    networks, which are C2's, do not enter, and divided by its standard deviation there. Under
    working independence a network weighs by the spread of its x: in decades, one network whose
    norms span hundreds of them would decide the common slope alone. The sandwich errors are over
    networks; the points, which networks share, come from halvings of the subset.
    """
    wrong, x, groups, places = [], [], [], []
    for row, p in enumerate(used):
        kept = np.isin(p.sample, subset)
        wrong.append(p.wrong[kept].astype(float))
        x.append((p.log10_norm[kept] - p.log10_norm.mean()) / p.log10_norm.std())
        groups.append(np.full(int(kept.sum()), row))
        places.append(np.searchsorted(subset, p.sample[kept]))
    y, norm, group = np.concatenate(wrong), np.concatenate(x), np.concatenate(groups)
    if np.ptp(y) == 0:
        raise DoesNotApply("all points right or all wrong")
    if np.ptp(norm) == 0:
        raise DoesNotApply("the same norm at every point")
    right, misclassified = norm[y == 0], norm[y == 1]
    if right.max() <= misclassified.min() or misclassified.max() <= right.min():
        raise DoesNotApply("the norm separates right from wrong")
    with fitting():
        fit = sm.GEE(
            y,
            sm.add_constant(norm),
            groups=group,
            family=sm.families.Binomial(),
            cov_struct=Independence(),
        ).fit(maxiter=100)
    halvings = Halvings(question.draws(settings, what="halvings"), settings.halvings, len(subset))
    member = halvings.member[np.concatenate(places)]
    start = (float(fit.params[0]), float(fit.params[1]))
    halves = resampled.logistic_slope(norm, y > 0, member, start)
    return Estimate(
        start[1],
        # the sandwich is too small with few clusters, by about G / (G - 1)
        float(fit.bse[1]) ** 2 * len(used) / (len(used) - 1),
        len(used),
        halving_variance(halves),
        len(subset),
    )
