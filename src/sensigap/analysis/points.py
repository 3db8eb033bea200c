"""C5: what the Jacobian norm says about loss and correctness at single test points."""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import statsmodels.api as sm
import xarray as xr
from scipy import stats
from statsmodels.genmod.cov_struct import Independence
from statsmodels.tools.sm_exceptions import ModelWarning

from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import (
    UNDEFINED,
    DoesNotApply,
    Result,
    resample_counts,
    summarise,
)
from sensigap.analysis.survey_table import LeftOut, survey_members
from sensigap.analysis.verdicts import Question, Row, Settings, answer, draws
from sensigap.seeds import share

#: ASSUME: points a network in the GEE, a seeded subset: its clusters are the networks, so more
#: points would hardly make its errors smaller
GEE_POINTS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """A network's test points at which J is not 0."""

    network: str
    #: position among the survey's samples (point,)
    sample: np.ndarray
    loss: np.ndarray
    log10_norm: np.ndarray
    wrong: np.ndarray


def point_networks(survey: xr.Dataset, settings: Settings) -> tuple[list[str], LeftOut]:
    """The fitted survey networks whose points are analysed: a seeded choice that is stable.

    A network's place in the draw depends on its id and the seed alone.

    Returns:
        Their ids, in order, and what was left out of the survey's networks.
    """
    table, left_out = survey_members(survey)
    drawn = sorted(table.index, key=lambda name: share(settings.seed, "point networks", name))
    chosen = sorted(drawn[: settings.point_networks])
    left_out.add("fitted but not drawn", len(table) - len(chosen))
    return chosen, left_out


def points(survey: xr.Dataset, networks: list[str]) -> list[Points]:
    """The points of each network; those with J = 0 have no logarithm and are left out."""
    chosen = survey[["loss", "jacobian_norm_log10", "margin"]].sel(network=networks)
    loss, norm, margin = (
        chosen[name].transpose("network", "sample").to_numpy().astype(float)
        for name in ("loss", "jacobian_norm_log10", "margin")
    )
    result = []
    for row, network in enumerate(networks):
        sample = np.flatnonzero(np.isfinite(norm[row]) & np.isfinite(loss[row]))
        result.append(
            Points(
                network,
                sample,
                loss[row, sample],
                norm[row, sample],
                ~(margin[row, sample] > 0),
            )
        )
    return result


def point_rows(survey: xr.Dataset, dataset: str, settings: Settings) -> list[Row]:
    """C5: Spearman, AUC and logistic slope per network, then over networks; and a GEE."""
    names, left_out = point_networks(survey, settings)
    all_points = points(survey, names)
    samples = survey.sizes["sample"]
    dropped = sum(samples - len(p.sample) for p in all_points)
    rng = draws(settings, dataset, "C5 points")
    counts = resample_counts(rng, samples, settings.bootstrap)
    rows = []
    for statistic in _STATISTICS:
        question = Question(
            key=statistic.key,
            claim="C5",
            dataset=dataset,
            quantity=statistic.quantity,
            test="per network; bootstrap over networks and over points",
            effect=statistic.effect,
            claimed=1,
            null=statistic.null,
        )
        used, reasons = _usable(all_points, statistic.fault, left_out)
        text = f"{reasons}; {dropped} of {samples * len(names)} points with J = 0"
        compute = partial(_over_networks, question, statistic, used, counts, settings)
        rows.append(answer(question, len(used), text, settings.minimum_networks, compute))
    rows.append(_gee_row(all_points, left_out, dataset, samples, settings))
    return rows


def _usable(
    all_points: list[Points], check: Callable[[Points], str], left_out: LeftOut
) -> tuple[list[Points], LeftOut]:
    """The networks to which a statistic applies, and why it does not to the others."""
    reasons = left_out.copy()
    used = []
    for network_points in all_points:
        fault = check(network_points)
        if fault:
            reasons.add(fault, 1)
        else:
            used.append(network_points)
    return used, reasons


def _varies(network_points: Points) -> str:
    if len(network_points.sample) < 3:
        return "with fewer than 3 points"
    if np.ptp(network_points.loss) == 0:
        return "with the same loss at every point"
    if np.ptp(network_points.log10_norm) == 0:
        return "with the same norm at every point"
    return ""


def _two_classes(network_points: Points) -> str:
    fault = _varies(network_points)
    wrong = network_points.wrong
    if not fault and (wrong.all() or not wrong.any()):
        return "with all points right or all wrong"
    return fault


def _overlapping(network_points: Points) -> str:
    fault = _two_classes(network_points)
    if fault:
        return fault
    norm, wrong = network_points.log10_norm, network_points.wrong
    right, misclassified = norm[~wrong], norm[wrong]
    if right.max() <= misclassified.min() or misclassified.max() <= right.min():
        return "whose norm separates right from wrong"
    try:
        logistic_fit(network_points)
    except DoesNotApply:
        return "whose logistic regression has no fit"
    return ""


def _spearman(p: Points) -> float:
    return float(resampled.rank_correlation(p.log10_norm, p.loss, np.ones((len(p.loss), 1)))[0])


def _auc(p: Points) -> float:
    return float(resampled.auc(p.log10_norm, p.wrong, np.ones((len(p.loss), 1)))[0])


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    """Makes a fit that statsmodels warns of (separation, no convergence) a `DoesNotApply`.

    Where a fit goes far astray its exp overflows to inf, whose logistic is 0 as it should be.
    """
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("error", ModelWarning)
        try:
            yield
        except (ModelWarning, np.linalg.LinAlgError) as fault:
            raise DoesNotApply(f"statsmodels cannot fit it: {fault}") from fault


def logistic_fit(p: Points) -> tuple[float, float]:
    """Constant and slope of misclassification on log10 norm (log-odds, log-odds per decade).

    Raises:
        DoesNotApply: statsmodels finds no fit.
    """
    # moved to the mean: Newton's method starts at 0 and converges better
    centre = p.log10_norm.mean()
    with _fitting():
        fit = sm.Logit(p.wrong.astype(float), sm.add_constant(p.log10_norm - centre)).fit(
            disp=0, maxiter=100
        )
    constant, slope = fit.params
    return float(constant - slope * centre), float(slope)


def _bends(p: Points) -> bool:
    """Whether a square of log10 norm in the logistic regression is significant (|z| > 1.96)."""
    moved = (p.log10_norm - p.log10_norm.mean()) / p.log10_norm.std()
    design = np.column_stack([np.ones(len(moved)), moved, moved**2])
    try:
        with _fitting():
            fit = sm.Logit(p.wrong.astype(float), design).fit(disp=0, maxiter=100)
    except DoesNotApply:
        return False
    return bool(abs(fit.tvalues[2]) > 1.96)


@dataclasses.dataclass(frozen=True)
class Statistic:
    """What is computed for each network and averaged over them."""

    #: of its row
    key: str
    quantity: str
    effect: str
    null: float
    #: a key of `bootstrap.SCALES`
    scale: str
    #: why it does not apply to a network, or ''
    fault: Callable[[Points], str]
    estimate: Callable[[Points], float]
    #: of each resample of the network's points (resample,)
    resample: Callable[[Points, np.ndarray], np.ndarray]
    #: what is said of the assumptions, from all networks
    check: Callable[[list[Points]], str] = lambda _: ""


_STATISTICS = (
    Statistic(
        "C5.loss",
        "loss and log10 Jacobian norm at a point",
        "mean Spearman's rho",
        0.0,
        "correlation",
        _varies,
        _spearman,
        lambda p, counts: resampled.rank_correlation(p.log10_norm, p.loss, counts),
    ),
    Statistic(
        "C5.error",
        "misclassification by Jacobian norm at a point",
        "mean ROC AUC",
        0.5,
        "probability",
        _two_classes,
        _auc,
        lambda p, counts: resampled.auc(p.log10_norm, p.wrong, counts),
    ),
    Statistic(
        "C5.slope",
        "misclassification on log10 Jacobian norm at a point",
        "mean logistic slope per decade",
        0.0,
        "identity",
        _overlapping,
        lambda p: logistic_fit(p)[1],
        lambda p, counts: resampled.logistic_slope(p.log10_norm, p.wrong, counts, logistic_fit(p)),
        lambda used: (
            f"log-odds bend (square of log10 norm, |z| > 1.96) in "
            f"{sum(map(_bends, used))} of {len(used)} networks"
        ),
    ),
)


def _over_networks(
    question: Question,
    statistic: Statistic,
    used: list[Points],
    counts: np.ndarray,
    settings: Settings,
) -> Result:
    """Mean over networks, with the bootstrap that draws networks and, for all of them, points.

    Drawing both counts the variance of single points twice (Owen 2007), so the interval is rather
    too wide than too narrow.
    """
    values = np.array([statistic.estimate(p) for p in used])
    resamples = counts.shape[1]
    rng = question.draws(settings, what="networks")
    drawn = resample_counts(rng, len(used), resamples).astype(float)
    total, weight = np.zeros(resamples), np.zeros(resamples)
    undefined = 0
    for row, p in enumerate(used):
        of_network = statistic.resample(p, counts[p.sample])
        defined = np.isfinite(of_network)
        total += np.where(defined, of_network, 0.0) * drawn[row]
        weight += defined * drawn[row]
        undefined += int((~defined).sum())
    if undefined > UNDEFINED * resamples * len(used):
        raise DoesNotApply(f"no value in {undefined / resamples / len(used):.0%} of the resamples")
    means = np.full(resamples, np.nan)
    means[weight > 0] = total[weight > 0] / weight[weight > 0]
    result = summarise(
        float(values.mean()),
        means,
        units=len(used),
        alpha=settings.alpha,
        null=question.null,
        scale=statistic.scale,
    )
    above = int((values > question.null).sum())
    notes = [f"above {question.null:g} in {above} of {len(used)} networks"]
    if undefined:
        notes.append(f"no value in {undefined} of {resamples * len(used)} resampled networks")
    notes += [statistic.check(used), result.note]
    return dataclasses.replace(result, note="; ".join(note for note in notes if note))


def _gee_row(
    all_points: list[Points], left_out: LeftOut, dataset: str, samples: int, settings: Settings
) -> Row:
    question = Question(
        key="C5.gee",
        claim="C5",
        dataset=dataset,
        quantity="misclassification on log10 Jacobian norm at a point, all networks",
        test="binomial GEE clustered by network",
        effect="logistic slope per within-network SD of the log10 norm",
        claimed=1,
    )
    used, reasons = _usable(all_points, _varies, left_out)
    rng = question.draws(settings, what="points")
    subset = np.sort(rng.choice(samples, min(GEE_POINTS, samples), replace=False))
    text = f"{reasons}; a seeded subset of {len(subset)} of {samples} points"
    return answer(
        question,
        len(used),
        text,
        settings.minimum_networks,
        lambda: _gee(used, subset, settings),
    )


def _gee(used: list[Points], subset: np.ndarray, settings: Settings) -> Result:
    """One slope for all networks.

    ASSUME: the log10 norm is taken from its mean in the network, so that differences between
    networks, which are C2's, do not enter, and divided by its standard deviation there. Under
    working independence a network weighs by the spread of its x: in decades, one network whose
    norms span hundreds of them would decide the common slope alone.
    """
    wrong, x, groups = [], [], []
    for row, p in enumerate(used):
        kept = np.isin(p.sample, subset)
        wrong.append(p.wrong[kept].astype(float))
        x.append((p.log10_norm[kept] - p.log10_norm.mean()) / p.log10_norm.std())
        groups.append(np.full(int(kept.sum()), row))
    y, norm, group = np.concatenate(wrong), np.concatenate(x), np.concatenate(groups)
    if np.ptp(y) == 0:
        raise DoesNotApply("all points right or all wrong")
    if np.ptp(norm) == 0:
        raise DoesNotApply("the same norm at every point")
    right, misclassified = norm[y == 0], norm[y == 1]
    if right.max() <= misclassified.min() or misclassified.max() <= right.min():
        raise DoesNotApply("the norm separates right from wrong")
    with _fitting():
        fit = sm.GEE(
            y,
            sm.add_constant(norm),
            groups=group,
            family=sm.families.Binomial(),
            cov_struct=Independence(),
        ).fit(maxiter=100)
    return _student(float(fit.params[1]), float(fit.bse[1]), len(used), settings.alpha)


def _student(estimate: float, error: float, clusters: int, alpha: float) -> Result:
    """Sandwich errors are too small with few clusters: t with one degree less than there are."""
    half = float(stats.t.ppf(1 - alpha / 2, clusters - 1)) * error
    p = float(2 * stats.t.sf(abs(estimate) / error, clusters - 1))
    return Result(
        estimate,
        estimate - half,
        estimate + half,
        p,
        "working independence, sandwich errors, t with networks - 1 degrees of freedom; networks "
        "share their test points, which these errors do not know of",
    )
