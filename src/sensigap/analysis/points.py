"""C5: single test points of a choice of networks, and the fits to them."""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import statsmodels.api as sm
import xarray as xr
from statsmodels.tools.sm_exceptions import ModelWarning

from sensigap.analysis.bootstrap import DoesNotApply
from sensigap.analysis.survey_table import LeftOut, survey_members
from sensigap.analysis.verdicts import Settings
from sensigap.seeds import share


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """A network's test points at which J is not 0."""

    network: str
    #: position among the survey's samples (point,)
    sample: np.ndarray
    loss: np.ndarray
    log10_norm: np.ndarray
    wrong: np.ndarray
    #: ln(1 - max f)
    log_doubt: np.ndarray


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
    variables = ["loss", "jacobian_norm_log10", "margin", "log_doubt"]
    chosen = survey[variables].sel(network=networks)
    loss, norm, margin, doubt = (
        chosen[name].transpose("network", "sample").to_numpy().astype(float) for name in variables
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
                doubt[row, sample],
            )
        )
    return result


def usable(
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


def varies(network_points: Points) -> str:
    """Why a network has no rank correlation over its points, or ''."""
    if len(network_points.sample) < 3:
        return "with fewer than 3 points"
    if np.ptp(network_points.loss) == 0:
        return "with the same loss at every point"
    if np.ptp(network_points.log10_norm) == 0:
        return "with the same norm at every point"
    return ""


def two_classes(network_points: Points) -> str:
    """Why a network has no AUC, or ''."""
    fault = varies(network_points)
    wrong = network_points.wrong
    if not fault and (wrong.all() or not wrong.any()):
        return "with all points right or all wrong"
    return fault


def overlapping(network_points: Points) -> str:
    """Why a network has no logistic slope, or ''."""
    fault = two_classes(network_points)
    if fault:
        return fault
    if separates(network_points.log10_norm, network_points.wrong):
        return "whose norm separates right from wrong"
    try:
        logistic_fit(network_points)
    except DoesNotApply:
        return "whose logistic regression has no fit"
    return ""


def separates(norm: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether norms (point,) lie on one side of a value where `wrong` (point,) bool, else beyond.

    Then a logistic regression of one on the other has no fit.
    """
    right, misclassified = norm[~wrong], norm[wrong]
    return bool(right.max() <= misclassified.min() or misclassified.max() <= right.min())


@contextlib.contextmanager
def fitting() -> Iterator[None]:
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
    with fitting():
        fit = sm.Logit(p.wrong.astype(float), sm.add_constant(p.log10_norm - centre)).fit(
            disp=0, maxiter=100
        )
    constant, slope = fit.params
    return float(constant - slope * centre), float(slope)


def bends(p: Points) -> bool:
    """Whether a square of log10 norm in the logistic regression is significant (|z| > 1.96)."""
    moved = (p.log10_norm - p.log10_norm.mean()) / p.log10_norm.std()
    design = np.column_stack([np.ones(len(moved)), moved, moved**2])
    try:
        with fitting():
            fit = sm.Logit(p.wrong.astype(float), design).fit(disp=0, maxiter=100)
    except DoesNotApply:
        return False
    return bool(abs(fit.tvalues[2]) > 1.96)
