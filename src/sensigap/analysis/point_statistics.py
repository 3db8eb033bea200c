"""C5's statistics of single networks over their test points."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from sensigap.analysis import resampled
from sensigap.analysis.points import Points, bends, logistic_fit, overlapping, two_classes, varies


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
