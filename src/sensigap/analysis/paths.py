"""C1: trained networks on ellipses through the training data, near it and away from it."""

import numpy as np
import pandas as pd
import xarray as xr

from sensigap.analysis.bootstrap import Result, signed_rank
from sensigap.analysis.survey_table import LeftOut, fitted_true, networks_table
from sensigap.analysis.verdicts import Question, Row, Settings, answer
from sensigap.kinds import ELLIPSE_KINDS

#: STUDY asks for this many networks, whatever the smallest number of the other claims
MINIMUM_NETWORKS = 30
ANCHORS = np.pi * np.array([1, 3, 5]) / 3
MIDPOINTS = np.pi * np.array([0, 2, 4]) / 3
#: half-width of the windows around anchors and midpoints
WINDOW = np.pi / 12
DATA_KINDS = tuple(kind for kind in ELLIPSE_KINDS if kind != "random")
MEASURES = {"jacobian_norm": "Jacobian norm", "transitions": "transition density"}
#: how measures and kinds of ellipses stand in the rows' keys
_SHORT = {
    "jacobian_norm": "norm",
    "transitions": "transitions",
    "different classes": "different",
    "one class": "one",
}
_REASONS = {"jacobian_norm": "with J = 0", "transitions": "without transitions"}


def near(angle: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Whether each angle (radian) lies within `WINDOW` of one of the targets, around the circle."""
    apart = np.abs((angle[:, None] - targets[None] + np.pi) % (2 * np.pi) - np.pi)
    return (apart <= WINDOW + 1e-9).any(axis=1)


def log_ratios(ellipses: xr.Dataset, state: str) -> pd.DataFrame:
    """Each network's log-ratios on its ellipses (natural logarithms).

    The Jacobian norm is averaged over ellipses and angles; the transition density is transitions
    over arc length (standardised inputs), of the arcs whose middle lies in the window.

    Args:
        ellipses: group 'ellipses' of a survey.
        state: 'initial' or 'trained'.

    Returns:
        Indexed by network; for each measure and each kind with data, columns
        '<measure>|<kind>|near' (at the anchors / half-way between them) and
        '<measure>|<kind>|data' (on this kind / on random ellipses), and
        '<measure>|<kind>|data per radian'. NaN where a side is 0.
    """
    chosen = ellipses.sel(state=state)
    angle = ellipses["angle"].to_numpy().astype(float)
    middles = angle + np.diff(np.r_[angle, angle[0] + 2 * np.pi]) / 2
    norm = chosen["jacobian_norm"].transpose("network", "kind", "ellipse", "angle")
    crossings = chosen["transitions"].transpose("network", "kind", "ellipse", "angle")
    arcs = ellipses["arc_length"].transpose("network", "kind", "ellipse", "angle")
    columns: dict[str, np.ndarray] = {}
    everywhere = np.ones(len(angle), bool)

    def mean(measure: str, kind: str, window: np.ndarray) -> np.ndarray:
        if measure == "jacobian_norm":
            return norm.sel(kind=kind).to_numpy()[..., window].mean(axis=(1, 2))
        counted = crossings.sel(kind=kind).to_numpy()[..., window].sum(axis=(1, 2))
        return counted / arcs.sel(kind=kind).to_numpy()[..., window].sum(axis=(1, 2))

    for measure in MEASURES:
        at = angle if measure == "jacobian_norm" else middles
        for kind in DATA_KINDS:
            columns[f"{measure}|{kind}|near"] = _log_ratio(
                mean(measure, kind, near(at, ANCHORS)), mean(measure, kind, near(at, MIDPOINTS))
            )
            columns[f"{measure}|{kind}|data"] = _log_ratio(
                mean(measure, kind, everywhere), mean(measure, "random", everywhere)
            )
    for kind in DATA_KINDS:
        columns[f"transitions|{kind}|data per radian"] = _log_ratio(
            crossings.sel(kind=kind).to_numpy().sum(axis=(1, 2)).astype(float),
            crossings.sel(kind="random").to_numpy().sum(axis=(1, 2)).astype(float),
        )
    return pd.DataFrame(columns, index=pd.Index(ellipses["network"].to_numpy(), name="network"))


def _log_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """ln(above / below) where both are positive, else NaN."""
    result = np.full(len(above), np.nan)
    defined = (above > 0) & (below > 0)
    result[defined] = np.log(above[defined] / below[defined])
    return result


def path_rows(
    survey: xr.Dataset, ellipses: xr.Dataset | None, dataset: str, settings: Settings
) -> list[Row]:
    """C1, with the same networks before training as controls."""
    names, left_out = ellipse_networks(survey, ellipses)
    chosen = ellipses.sel(network=names) if ellipses is not None and names else None
    ratios = {state: _ratios(chosen, state) for state in ("trained", "initial")}
    rows = []
    for measure, measure_name in MEASURES.items():
        for kind in DATA_KINDS:
            for comparison, text in (
                ("near", f"at the anchors / between them, ellipses of {kind}"),
                ("data", f"ellipses of {kind} / random ones"),
            ):
                column = f"{measure}|{kind}|{comparison}"
                # the control is of the same networks: those that have both values
                both = np.logical_and.reduce(
                    [np.isfinite(table[column].to_numpy()) for table in ratios.values()]
                )
                reasons = left_out.copy()
                reasons.add(f"{_REASONS[measure]} on a side, trained or not", int((~both).sum()))
                used = None if chosen is None else chosen.isel(network=np.flatnonzero(both))
                rows += [
                    _row(
                        table[both],
                        column,
                        Question(
                            key=f"C1.{_SHORT[measure]}.{_SHORT[kind]}.{comparison}"
                            + (".untrained" if state == "initial" else ""),
                            claim="C1",
                            dataset=dataset,
                            quantity=f"{measure_name}, {text}"
                            + (", untrained" if state == "initial" else ""),
                            test="Wilcoxon signed rank over networks; bootstrap over networks",
                            effect="mean ln ratio",
                            claimed=-1,
                            control=state == "initial",
                        ),
                        f"{reasons}{_zeros(used, state, measure, kind, comparison)}",
                        settings,
                    )
                    for state, table in ratios.items()
                ]
    return rows


def ellipse_networks(survey: xr.Dataset, ellipses: xr.Dataset | None) -> tuple[list[str], LeftOut]:
    """The fitted networks with true labels and measured ellipses: C1 and its figure are of them.

    Returns:
        Their ids, in the order of `ellipses`, and what was left out of the networks chosen for
        ellipses.
    """
    table = networks_table(survey)
    table = table[table["in_ellipses"].astype(bool)]
    left_out = LeftOut(len(table), "networks chosen for ellipses")
    table = fitted_true(table, left_out)
    measured = [] if ellipses is None else ellipses["network"].to_numpy().tolist()
    names = [name for name in measured if name in table.index]
    left_out.add("fitted but not measured", len(table) - len(names))
    return names, left_out


def zero_norms(norm: np.ndarray) -> str:
    """How many of the norms are exactly 0, in words."""
    zeros = int((norm == 0).sum())
    return f"{zeros:,} of {norm.size:,} angles with J = 0, kept as 0 in the means"


def _zeros(used: xr.Dataset | None, state: str, measure: str, kind: str, comparison: str) -> str:
    """What a row of Jacobian norms says of zeros, of all norms that enter its log-ratios."""
    if used is None or measure != "jacobian_norm":
        return ""
    norm = used["jacobian_norm"].sel(state=state)
    if comparison == "data":
        return f"; {zero_norms(norm.sel(kind=[kind, 'random']).to_numpy())}"
    angle = used["angle"].to_numpy().astype(float)
    windows = np.flatnonzero(near(angle, np.r_[ANCHORS, MIDPOINTS]))
    return f"; {zero_norms(norm.sel(kind=kind).isel(angle=windows).to_numpy())}"


def _ratios(ellipses: xr.Dataset | None, state: str) -> pd.DataFrame:
    """`log_ratios`, without rows where there is no network to measure."""
    if ellipses is not None:
        return log_ratios(ellipses, state)
    names = [f"{m}|{k}|{c}" for m in MEASURES for k in DATA_KINDS for c in ("near", "data")]
    return pd.DataFrame({name: np.empty(0) for name in names})


def _row(
    table: pd.DataFrame, column: str, question: Question, left_out: str, settings: Settings
) -> Row:
    def compute() -> Result:
        result = signed_rank(
            table[column].to_numpy(float),
            question.draws(settings),
            resamples=settings.bootstrap,
            alpha=settings.alpha,
        )
        notes = ["control: the same networks before training"] if question.control else []
        if f"{column} per radian" in table:
            notes.append(f"per radian: mean ln ratio {table[f'{column} per radian'].mean():.3g}")
        text = "; ".join([*notes, result.note])
        return Result(result.estimate, result.low, result.high, result.p, text)

    minimum = max(settings.minimum_networks, MINIMUM_NETWORKS)
    return answer(question, len(table), left_out, minimum, compute)
