"""C3 and C4: pairs of networks that differ in one factor (STUDY, 'Comparisons')."""

import dataclasses

import numpy as np
import pandas as pd
import xarray as xr

from sensigap.analysis.bootstrap import MINIMUM_CLUSTERS, Result, signed_rank
from sensigap.analysis.survey_table import ARCHITECTURE, LeftOut, networks_table
from sensigap.analysis.verdicts import Question, Row, Settings, answer
from sensigap.factors import FACTORS, Factor

#: what of each network a pair compares
_COLUMNS = {
    "gap": "gap",
    "sensitivity": "sensitivity",
    "sensitivity_log10": "sensitivity_log10",
    "transitions": "mean_transitions",
    "test_accuracy": "test_accuracy",
    "network": "network",
}


def pairs(survey: xr.Dataset, factor: str) -> tuple[pd.DataFrame, LeftOut]:
    """The pairs of a factor of which both sides are fitted.

    Args:
        survey: a survey.
        factor: a key of `sensigap.factors.FACTORS`.

    Returns:
        One row a pair, indexed by the pair's name, with `worse_*` and `better_*` of network, gap,
        sensitivity, sensitivity_log10 (NaN where J = 0 at every test point), transitions (mean over
        the chosen test points) and test_accuracy, and the hyper-parameters depth, width, unit, gain
        and seed of the presumed better side; and what was left out.

    Raises:
        KeyError: there is no such factor.
        ValueError: a pair holds other sides than its two.
    """
    table = networks_table(survey).reset_index()
    table = table[table[f"pair_{factor}"] != ""]
    worse, better = (side.name for side in FACTORS[factor].sides)
    side = f"side_{factor}"
    counts = table.groupby(f"pair_{factor}")[side].agg(sorted)
    for pair, sides in counts.items():
        if sides != sorted((worse, better)):
            raise ValueError(
                f"pair {pair!r} of factor {factor!r} holds the sides {', '.join(sides)}, expected "
                f"{worse} and {better}: the survey was put together wrongly, remove it and rerun"
            )
    left_out = LeftOut(len(counts), "pairs")
    table = table.set_index(f"pair_{factor}").sort_index()
    by_side = {name: table[table[side] == name] for name in (worse, better)}
    fitted = {name: rows["status"] == "fitted" for name, rows in by_side.items()}
    left_out.add("with neither side fitted", int((~fitted[worse] & ~fitted[better]).sum()))
    left_out.add(f"with '{worse}' not fitted", int((~fitted[worse] & fitted[better]).sum()))
    left_out.add(f"with '{better}' not fitted", int((fitted[worse] & ~fitted[better]).sum()))
    both = fitted[worse] & fitted[better]
    result = by_side[better].loc[both, [*ARCHITECTURE, "gain", "seed"]].copy()
    for prefix, name in (("worse", worse), ("better", better)):
        for column, source in _COLUMNS.items():
            result[f"{prefix}_{column}"] = by_side[name].loc[both, source]
    result.index.name = "pair"
    return result, left_out


def factor_rows(survey: xr.Dataset, dataset: str, settings: Settings) -> list[Row]:
    """C3 and C4: gap, Jacobian norm and transitions of one side of each pair against the other."""
    by_claim = sorted(FACTORS.values(), key=lambda factor: factor.claim)
    return [row for factor in by_claim for row in _rows(survey, dataset, factor, settings)]


def _rows(survey: xr.Dataset, dataset: str, factor: Factor, settings: Settings) -> list[Row]:
    table, left_out = pairs(survey, factor.name)
    worse, better = (side.name for side in factor.sides)
    family = f"{factor.claim}.{factor.name}"
    rows = []
    for name, quantity, effect, differences, reason, remark in (
        (
            "gap",
            "gap",
            f"mean difference, {worse} - {better}",
            table["worse_gap"] - table["better_gap"],
            "without a gap",
            "",
        ),
        (
            "norm",
            "Jacobian norm",
            f"mean ln ratio, {worse} / {better}",
            (table["worse_sensitivity_log10"] - table["better_sensitivity_log10"]) * np.log(10),
            "with J = 0 at every test point of a side",
            "",
        ),
        (
            "transitions",
            "transitions",
            f"mean ln ratio of transitions + 1, {worse} / {better}",
            np.log1p(table["worse_transitions"]) - np.log1p(table["better_transitions"]),
            "without measured transitions",
            factor.transitions_note,
        ),
    ):
        values = differences.to_numpy(float)
        defined = np.isfinite(values)
        reasons = left_out.copy()
        reasons.add(reason, int((~defined).sum()))
        # ASSUME: pairs of one architecture are alike (they share shapes and seeds)
        architecture = table.loc[defined].groupby(list(ARCHITECTURE)).ngroup().to_numpy()
        clustered = len(np.unique(architecture)) >= MINIMUM_CLUSTERS
        units = "pairs or architectures" if clustered else "pairs"
        question = Question(
            key=f"{family}.{name}",
            claim=factor.claim,
            dataset=dataset,
            quantity=f"{factor.name}: {quantity}",
            test=f"Wilcoxon signed rank over pairs; bootstrap over {units}",
            effect=effect,
            claimed=1,
            presumes="" if name == "gap" else f"{family}.gap",
        )

        def compute(
            question: Question = question,
            values: np.ndarray = values[defined],
            architecture: np.ndarray = architecture,
            remark: str = remark,
        ) -> Result:
            result = signed_rank(
                values,
                question.draws(settings),
                resamples=settings.bootstrap,
                alpha=settings.alpha,
                clusters=architecture,
            )
            notes = (factor.note, remark, result.note)
            return dataclasses.replace(result, note="; ".join(note for note in notes if note))

        rows.append(
            answer(question, int(defined.sum()), str(reasons), settings.minimum_networks, compute)
        )
    return rows
