"""C5: what the Jacobian norm says about loss and correctness at single test points."""

import dataclasses
from collections.abc import Callable

import numpy as np
import statsmodels.api as sm
import xarray as xr
from statsmodels.genmod.cov_struct import Independence

from sensitivity.analysis import resampled
from sensitivity.analysis.bootstrap import DoesNotApply, Result, resample_counts, summarise
from sensitivity.analysis.survey_table import LeftOut, survey_members
from sensitivity.analysis.verdicts import Question, Row, Settings, answer
from sensitivity.seeds import generator, share

#: ASSUME: points a network in the GEE, a seeded subset: its clusters are the networks, so more
#: points would hardly make its errors smaller
GEE_POINTS = 500


@dataclasses.dataclass(frozen=True)
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
    rng = generator(settings.seed, f"bootstrap C5 points {dataset}")
    counts = resample_counts(rng, samples, settings.bootstrap)
    rows = []
    for quantity, effect, null, scale, check, estimate, resample in _STATISTICS:
        question = Question(
            claim="C5",
            dataset=dataset,
            quantity=quantity,
            test="per network; bootstrap over networks and over points",
            effect=effect,
            claimed=1,
            null=null,
        )
        used, reasons = _usable(all_points, check, left_out)
        reasons_text = f"{reasons}; {dropped} of {samples * len(names)} points with J = 0"

        def compute(
            question: Question = question,
            used: list[Points] = used,
            scale: str = scale,
            estimate: Callable[[Points], float] = estimate,
            resample: Callable[[Points, np.ndarray, float], np.ndarray] = resample,
        ) -> Result:
            return _over_networks(question, used, counts, scale, estimate, resample, settings)

        rows.append(answer(question, len(used), reasons_text, settings.minimum_networks, compute))
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
    return ""


def _spearman(p: Points) -> float:
    return float(resampled.rank_correlation(p.log10_norm, p.loss, np.ones((len(p.loss), 1)))[0])


def _auc(p: Points) -> float:
    return float(resampled.auc(p.log10_norm, p.wrong, np.ones((len(p.loss), 1)))[0])


def logistic_fit(p: Points) -> tuple[float, float]:
    """Constant and slope of misclassification on log10 norm (log-odds, log-odds per decade)."""
    # moved to the mean: Newton's method starts at 0 and converges better
    centre = p.log10_norm.mean()
    model = sm.Logit(p.wrong.astype(float), sm.add_constant(p.log10_norm - centre))
    fit = model.fit(disp=0, maxiter=100, warn_convergence=False)
    if not fit.mle_retvals["converged"]:
        raise DoesNotApply(f"the logistic regression of network {p.network} does not converge")
    constant, slope = fit.params
    return float(constant - slope * centre), float(slope)


_STATISTICS = (
    (
        "loss and log10 Jacobian norm at a point",
        "mean Spearman's rho",
        0.0,
        "correlation",
        _varies,
        _spearman,
        lambda p, counts, _: resampled.rank_correlation(p.log10_norm, p.loss, counts),
    ),
    (
        "misclassification by Jacobian norm at a point",
        "mean ROC AUC",
        0.5,
        "probability",
        _two_classes,
        _auc,
        lambda p, counts, _: resampled.auc(p.log10_norm, p.wrong, counts),
    ),
    (
        "misclassification on log10 Jacobian norm at a point",
        "mean logistic slope per decade",
        0.0,
        "identity",
        _overlapping,
        lambda p: logistic_fit(p)[1],
        lambda p, counts, _: resampled.logistic_slope(
            p.log10_norm, p.wrong, counts, logistic_fit(p)
        ),
    ),
)


def _over_networks(
    question: Question,
    used: list[Points],
    counts: np.ndarray,
    scale: str,
    estimate: Callable[[Points], float],
    resample: Callable[[Points, np.ndarray, float], np.ndarray],
    settings: Settings,
) -> Result:
    """Mean over networks, with the bootstrap that draws networks and, for all of them, points.

    Drawing both counts the variance of single points twice (Owen 2007), so the interval is rather
    too wide than too narrow.
    """
    values = np.array([estimate(p) for p in used])
    resamples = counts.shape[1]
    rng = generator(settings.seed, f"bootstrap {question.purpose} networks")
    drawn = resample_counts(rng, len(used), resamples).astype(float)
    total, weight = np.zeros(resamples), np.zeros(resamples)
    for row, p in enumerate(used):
        of_network = resample(p, counts[p.sample], values[row])
        defined = np.isfinite(of_network)
        total += np.where(defined, of_network, 0.0) * drawn[row]
        weight += defined * drawn[row]
    means = np.full(resamples, np.nan)
    means[weight > 0] = total[weight > 0] / weight[weight > 0]
    result = summarise(
        float(values.mean()),
        means,
        units=len(used),
        alpha=settings.alpha,
        null=question.null,
        scale=scale,
    )
    above = int((values > question.null).sum())
    note = f"above {question.null:g} in {above} of {len(used)} networks; {result.note}"
    return dataclasses.replace(result, note=note)


def _gee_row(
    all_points: list[Points], left_out: LeftOut, dataset: str, samples: int, settings: Settings
) -> Row:
    question = Question(
        claim="C5",
        dataset=dataset,
        quantity="misclassification on log10 Jacobian norm at a point, all networks",
        test="binomial GEE clustered by network",
        effect="logistic slope per decade",
        claimed=1,
    )
    used, reasons = _usable(all_points, _varies, left_out)
    rng = generator(settings.seed, f"GEE points {dataset}")
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

    ASSUME: the norm is taken from its mean in the network, so that differences between networks,
    which are C2's, do not enter.
    """
    wrong, x, groups = [], [], []
    for row, p in enumerate(used):
        kept = np.isin(p.sample, subset)
        wrong.append(p.wrong[kept].astype(float))
        x.append(p.log10_norm[kept] - p.log10_norm.mean())
        groups.append(np.full(int(kept.sum()), row))
    y, norm, group = np.concatenate(wrong), np.concatenate(x), np.concatenate(groups)
    if np.ptp(y) == 0:
        raise DoesNotApply("all points right or all wrong")
    if np.ptp(norm) == 0:
        raise DoesNotApply("the same norm at every point")
    right, misclassified = norm[y == 0], norm[y == 1]
    if right.max() <= misclassified.min() or misclassified.max() <= right.min():
        raise DoesNotApply("the norm separates right from wrong")
    model = sm.GEE(
        y,
        sm.add_constant(norm),
        groups=group,
        family=sm.families.Binomial(),
        cov_struct=Independence(),
    )
    fit = model.fit(maxiter=100, params_niter=1)
    if not fit.converged:
        raise DoesNotApply("the GEE does not converge")
    return _student(float(fit.params[1]), float(fit.bse[1]), len(used), settings.alpha)


def _student(estimate: float, error: float, clusters: int, alpha: float) -> Result:
    """Sandwich errors are too small with few clusters: t with one degree less than there are."""
    from scipy import stats

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
