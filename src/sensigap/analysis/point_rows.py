"""C5: what the Jacobian norm says about loss and correctness at single test points."""

from collections.abc import Callable
from functools import partial

import numpy as np
import statsmodels.api as sm
import xarray as xr
from statsmodels.genmod.cov_struct import Independence

from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import DoesNotApply, cluster_variance, resample_counts, to_scale
from sensigap.analysis.errors import Estimate, Halvings, halving_variance, mean_of_halves
from sensigap.analysis.point_statistics import STATISTICS, Statistic
from sensigap.analysis.points import (
    Points,
    fitting,
    point_networks,
    points,
    separates,
    usable,
    varies,
)
from sensigap.analysis.relation import bounds, classes_of
from sensigap.analysis.shared_points import SharedPoints
from sensigap.analysis.survey_table import LeftOut, networks_table
from sensigap.analysis.verdicts import Finding, Question, Row, Settings, answer, one

#: ASSUME: points a network in the GEE, a seeded subset: its clusters are the networks, so more
#: points would hardly make its errors smaller
GEE_POINTS = 500
_TEST = "per network; error over networks and over test points"


def point_rows(shared: SharedPoints) -> list[Row]:
    """C5 (STATISTICS, section 6): per network over points, then over networks; and a GEE.

    Args:
        shared: the test points of a survey.
    """
    survey, dataset, settings = shared.survey, shared.dataset, shared.settings
    names, left_out = point_networks(survey, settings)
    architectures = _architectures(survey)
    all_points = points(survey, names)
    samples = shared.count
    dropped = sum(samples - len(p.sample) for p in all_points)
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
        compute = partial(_over_networks, question, statistic, used, shared)
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
    rows.append(_bounds_row(names, left_out, shared, architectures))
    rows.append(_gee_row(all_points, left_out, shared, architectures))
    return rows


def _architectures(survey: xr.Dataset) -> Callable[[list[str]], int]:
    """How many architectures some of the networks have."""
    architecture = networks_table(survey)["architecture"]
    return lambda some: architecture.loc[some].nunique()


def over_networks(
    values: np.ndarray,
    halves: np.ndarray,
    shared: SharedPoints,
    rng: np.random.Generator,
    scale: str = "identity",
) -> Estimate:
    """Mean over networks, its error from a bootstrap over them and from halves of the points.

    Args:
        values: of each network, over all points (network,).
        halves: over each half (network, 2 halvings).
        shared: the test points.
        rng: draws the resamples of networks.
        scale: of the mean, a key of `bootstrap.SCALES`.
    """
    n = len(values)
    counts = resample_counts(rng, n, shared.settings.bootstrap)
    return Estimate(
        float(values.mean()),
        cluster_variance(to_scale(scale, values @ counts / n), n),
        n,
        halving_variance(to_scale(scale, mean_of_halves(halves))),
        shared.count,
        scale,
    )


def _over_networks(
    question: Question,
    statistic: Statistic,
    used: list[Points],
    shared: SharedPoints,
) -> Finding:
    """The finding of a statistic."""
    settings = shared.settings
    values = np.array([statistic.whole(p) for p in used])
    member = shared.halvings.member
    halves = np.stack([statistic.compute(p, member[p.sample]) for p in used])
    found = over_networks(values, halves, shared, question.draws(settings), statistic.scale)
    above = int((values > statistic.null).sum())
    return one(question, found, settings).noted(
        statistic.check(used),
        f"above {statistic.null:g} in {above} of {len(used)} networks",
    )


def _bounds_row(
    names: list[str],
    left_out: LeftOut,
    shared: SharedPoints,
    architectures: Callable[[list[str]], int],
) -> Row:
    """The share of points between the bounds of the analytic relation: a comparison."""
    settings = shared.settings
    question = Question(
        key="C5.bounds",
        claim="C5",
        dataset=shared.dataset,
        quantity="Jacobian norm within the analytic bounds for the true class' probability",
        test=_TEST,
        effect="mean share of points",
        claimed=None,
        null=None,
    )

    def compute() -> Finding:
        whole, halves = inside_bounds(names, shared)
        found = over_networks(whole, halves, shared, question.draws(settings))
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
        architectures=architectures(names),
        clustered=False,
    )


def inside_bounds(names: list[str], shared: SharedPoints) -> tuple[np.ndarray, np.ndarray]:
    """Share of points with lower <= ||J|| <= upper, (network,) and over halves (network, 2 H).

    M, the norm of the logit gradients, is that of the points in question.
    """
    classes = classes_of(shared.survey)
    norm, target = (shared.values(name, names) for name in ("jacobian_norm", "target_probability"))
    squares = shared.values("logit_jacobian_norm", names) ** 2 / classes
    rest = -np.expm1(-shared.values("loss", names))
    low, high = bounds(np.clip(target, 0, 1), classes, rest)
    member = np.column_stack([np.ones(shared.count), shared.halvings.member])
    shares = np.empty((len(names), member.shape[1]))
    for k in range(len(names)):
        M = np.sqrt(squares[k] @ member / member.sum(axis=0))
        inside = (low[k][:, None] * M <= norm[k][:, None]) & (
            norm[k][:, None] <= high[k][:, None] * M
        )
        shares[k] = (inside * member).sum(axis=0) / member.sum(axis=0)
    return shares[:, 0], shares[:, 1:]


def _gee_row(
    all_points: list[Points],
    left_out: LeftOut,
    shared: SharedPoints,
    architectures: Callable[[list[str]], int],
) -> Row:
    """One model of all networks' points beside the means over networks."""
    settings = shared.settings
    question = Question(
        key="C5.gee",
        claim="C5",
        dataset=shared.dataset,
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
    if separates(norm, y > 0):
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
