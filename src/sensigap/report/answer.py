"""The study's answer in sentences: from its primary rows and its leaderboard, nothing else."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sensigap.report.claims import ABSENT, SHOWN
from sensigap.report.content import effect_text

#: rows that answer the first question, and the measure that it is about
RAW, WITHIN, MEASURE = "C2.raw", "C2.within.crossfit", "sensitivity"

#: a row of a table, column -> value
Row = Mapping[Any, Any]


def answers(table: pd.DataFrame, board: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each data set: does sensitivity go with the gap, against which rival, and what did not.

    Args:
        table: the table of claims.
        board: the leaderboard.

    Returns:
        One mapping a data set: `dataset`; `sentences`; `supported`, a count in words; `others`,
        the primary rows that are not supported, as `key`, `id`, `verdict` and its `style`; and
        `absent`, those that the study does not ask for, which do not count, in the same way.
    """
    found = []
    for name, of_dataset in table.groupby("dataset", sort=False):
        rows = {row["key"]: row for row in of_dataset.to_dict("records")}
        measures = {
            row["measure"]: row for row in board[board["dataset"] == name].to_dict("records")
        }
        named = [row for row in rows.values() if row["primary"]]
        primary = [row for row in named if row["verdict"] != ABSENT]
        others = [row for row in primary if row["verdict"] != "supported"]
        sentences = [_relation(rows), _rival(measures)]
        found.append(
            {
                "dataset": name,
                "sentences": [sentence for sentence in sentences if sentence],
                "supported": f"{len(primary) - len(others)} of {len(primary)} primary rows are "
                "supported",
                "others": [_listed(row) for row in others],
                "absent": [_listed(row) for row in named if row["verdict"] == ABSENT],
            }
        )
    return found


def _listed(row: Row) -> dict[str, str]:
    return {
        "key": row["key"],
        "id": f"{row['dataset']}-{row['key']}",
        "verdict": row["verdict"],
        "style": SHOWN[row["verdict"]][0],
    }


def _relation(rows: Mapping[str, Row]) -> str:
    """Whether sensitivity goes with the gap, and within hyper-parameters."""
    if RAW not in rows or WITHIN not in rows:
        return ""
    raw, within = rows[RAW], rows[WITHIN]
    if math.isnan(raw["estimate"]):
        return (
            f"Whether sensitivity goes with the generalization gap is not told: {raw['verdict']}."
        )
    overall = f"rank correlation {_number(raw)} over {raw['n']:,} networks"
    inside = f"among networks of equal hyper-parameters {_number(within)} (cross-fitted)"
    shown = (raw["verdict"] == "supported", within["verdict"] == "supported")
    if all(shown):
        return (
            "More sensitive networks generalize worse, also at equal hyper-parameters: "
            f"{overall}, {inside}."
        )
    if shown[0]:
        return (
            f"More sensitive networks generalize worse: {overall}; but at equal hyper-parameters "
            f"that is {within['verdict']}: {inside}."
        )
    if shown[1]:
        return (
            "At equal hyper-parameters more sensitive networks generalize worse, over all networks "
            f"that is {raw['verdict']}: {overall}, {inside}."
        )
    return (
        f"That more sensitive networks generalize worse is {raw['verdict']}: {overall}; at equal "
        f"hyper-parameters {within['verdict']}: {inside}."
    )


def _number(row: Row) -> str:
    return effect_text(row["estimate"], row["low"], row["high"], digits=2)


def _short(value: float) -> str:
    return effect_text(value, math.nan, math.nan, digits=2)


def _rival(measures: Mapping[str, Row]) -> str:
    """The best measure of the literature beside the Jacobian norm."""
    own = measures.get(MEASURE)
    rivals = [row for row in measures.values() if not row["own"] and not math.isnan(row["within"])]
    if own is None or math.isnan(own["within"]) or not rivals:
        return ""
    best = max(rivals, key=lambda row: float(row["within"]))
    text = (
        f"Of {len(rivals)} other measures, {best['label']} does best at equal hyper-parameters: "
        f"{_short(best['within'])} to the Jacobian norm’s {_short(own['within'])}"
    )
    if math.isnan(best["behind_low"]):
        return f"{text}."
    if best["behind_low"] > 0:
        return f"{text}, which is ahead of all of them."
    if best["behind_high"] < 0:
        return f"{text}, which falls behind."
    return f"{text}, not to be told apart."
