"""The study's answer in sentences: from its primary rows and its leaderboard, nothing else."""

import math
from typing import Any

import pandas as pd

from sensigap.report.claims import VERDICTS
from sensigap.report.content import effect_text

#: rows that answer the first question, and the measure that it is about
RAW, WITHIN, MEASURE = "C2.raw", "C2.within.crossfit", "sensitivity"


def answers(table: pd.DataFrame, board: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each data set: does sensitivity go with the gap, against which rival, and what did not.

    Args:
        table: the table of claims.
        board: the leaderboard.

    Returns:
        One mapping a data set: `dataset`; `sentences`; `supported`, a count in words; and
        `others`, the primary rows that are not supported, as `key`, `id`, `verdict` and its
        `style`.
    """
    found = []
    for name, rows in table.groupby("dataset", sort=False):
        rows = rows.set_index("key")  # noqa: PLW2901
        primary = rows[rows["primary"].astype(bool)]
        others = primary[primary["verdict"] != "supported"]
        of_board = board[board["dataset"] == name].set_index("measure")
        sentences = [_relation(rows), _rival(of_board)]
        found.append(
            {
                "dataset": name,
                "sentences": [sentence for sentence in sentences if sentence],
                "supported": f"{len(primary) - len(others)} of {len(primary)} primary rows are "
                "supported",
                "others": [
                    {
                        "key": key,
                        "id": f"{name}-{key}",
                        "verdict": row["verdict"],
                        "style": VERDICTS[row["verdict"]][0],
                    }
                    for key, row in others.iterrows()
                ],
            }
        )
    return found


def _relation(rows: pd.DataFrame) -> str:
    """Whether sensitivity goes with the gap, and within hyper-parameters."""
    if RAW not in rows.index or WITHIN not in rows.index:
        return ""
    raw, within = rows.loc[RAW], rows.loc[WITHIN]
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


def _number(row: pd.Series) -> str:
    return effect_text(row["estimate"], row["low"], row["high"], digits=2)


def _short(value: float) -> str:
    return effect_text(value, math.nan, math.nan, digits=2)


def _rival(board: pd.DataFrame) -> str:
    """The best measure of the literature beside the Jacobian norm."""
    rivals = board[~board["own"].astype(bool) & board["within"].notna()]
    if MEASURE not in board.index or rivals.empty or math.isnan(board.loc[MEASURE, "within"]):
        return ""
    best = rivals.loc[rivals["within"].idxmax()]
    text = (
        f"Of {len(rivals)} other measures, {best['label']} does best at equal hyper-parameters: "
        f"{_short(best['within'])} to the Jacobian norm’s {_short(board.loc[MEASURE, 'within'])}"
    )
    if math.isnan(best["behind_low"]):
        return f"{text}."
    if best["behind_low"] > 0:
        return f"{text}, which is ahead of all of them."
    if best["behind_high"] < 0:
        return f"{text}, which falls behind."
    return f"{text}, not to be told apart."
