"""What the report's tables hold: pure functions from tables and Datasets to text."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sensigap.analysis.survey_table import LeftOut
from sensigap.analysis.verdicts import TOO_FEW
from sensigap.factors import FACTORS
from sensigap.progress import duration
from sensigap.report.claims import ABSENT, CLAIMS, NONE, SHOWN, VERDICTS, Claim
from sensigap.report.timings import foreseen
from sensigap.spec import STATUSES

#: attributes of a survey longer than this fold away
LONG = 60
#: ending of a control's key; the rest is the key of the row that it stands beside
_CONTROL = ".untrained"
#: verdicts whose reason must not be overlooked; it stands first among the row's remarks
_REASONED = ("mixed", "does not speak", TOO_FEW)
#: statistics of the leaderboard, in the order of its columns
LEADERBOARD_STATISTICS = ("within", "raw", "kendall", "information", "sign_error", "behind")
#: sign of a measure's association with the gap -> in words
_DIRECTIONS = {1: "rising with the gap", -1: "falling with the gap", 0: "neither way"}
GROUPS = {
    "all networks": None,
    "survey": "in_survey",
    "ellipses": "in_ellipses",
    "slices": "in_slices",
}


def asked_apart(table: pd.DataFrame) -> pd.DataFrame:
    """The table of claims, where rows that the study does not ask for have the verdict `ABSENT`.

    They are about pairs of a factor, or networks, of which the design holds none, and had too few.
    """
    of_none = [LeftOut.of_none(str(text)) for text in table["left_out"]]
    absent = (table["verdict"] == TOO_FEW).to_numpy() & np.array(of_none, bool)
    return table.assign(verdict=table["verdict"].mask(absent, ABSENT))


def claim_blocks(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One block a claim, in the table's order: its sentence, explanation, and rows."""
    blocks = []
    for name, rows in table.groupby("claim", sort=False):
        claim = CLAIMS.get(str(name), Claim("", ""))
        shown = _with_controls([_claim_row(row) for _, row in rows.iterrows()])
        blocks.append(
            {
                "name": name,
                "heading": f"{name}: {claim.sentence}" if claim.sentence else str(name),
                "explanation": claim.explanation,
                "primary": [row for row in shown if row["primary"]],
                "others": [row for row in shown if not row["primary"]],
            }
        )
    return blocks


def _with_controls(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each control within the row that it is the control of."""
    by_id = {row["id"]: row for row in rows}
    kept = []
    for row in rows:
        of = by_id.get(row["id"].removesuffix(_CONTROL))
        if of is None or of is row:
            kept.append(row)
        else:
            of["controls"].append(row)
    return kept


def glance(table: pd.DataFrame) -> dict[str, Any]:
    """How many primary rows of each claim got which verdict, claims by datasets."""
    table = table[table["primary"].astype(bool)]
    datasets = list(dict.fromkeys(table["dataset"]))
    rows = []
    for name, of_claim in table.groupby("claim", sort=False):
        claim = CLAIMS.get(str(name))
        counts = [
            of_claim.loc[of_claim["dataset"] == dataset, "verdict"].value_counts()
            for dataset in datasets
        ]
        rows.append(
            {
                "name": name,
                "sentence": claim.sentence if claim else "",
                "cells": [
                    [
                        {"style": style, "text": f"{int(count[word])} {word}"}
                        for word, (style, _) in SHOWN.items()
                        if count.get(word, 0)
                    ]
                    for count in counts
                ],
            }
        )
    return {"datasets": datasets, "rows": rows}


def _claim_row(row: pd.Series) -> dict[str, Any]:
    word = row["verdict"]
    style = SHOWN[word][0] if word in SHOWN else "none"
    control = str(row["key"]).endswith(_CONTROL)
    details = [row["test"], *(row[name] for name in ("left_out", "remarks"))]
    prefixes = ["", "left out: ", ""]
    remarks = row["remarks"] if isinstance(row["remarks"], str) else ""
    return {
        "id": f"{row['dataset']}-{row['key']}",
        "controls": [],
        "verdict": word if word != NONE else "control" if control else "comparison",
        "primary": bool(row["primary"]),
        "equivalence": "equivalence" in str(row["test"]),
        "style": style,
        "dataset": row["dataset"],
        "quantity": row["quantity"],
        "remark": remarks.split("; ")[0] if word in _REASONED else "",
        "details": [
            prefix + text
            for prefix, text in zip(prefixes, details, strict=True)
            if isinstance(text, str) and text
        ],
        "effect": effect_text(row["estimate"], row["low"], row["high"]),
        "effect_name": row["effect"],
        "level": f"{100 * row['level']:.4g}%",
        "p": p_text(row["p_holm"] if row["primary"] else row["p"]),
        "n": f"{row['n']:,}",
        "architectures": f"{row['architectures']:,}",
    }


def leaderboard_blocks(board: pd.DataFrame) -> list[dict[str, Any]]:
    """One block a dataset, in the table's order: its rows, and what they have in common.

    A row tells what was left out only where it differs from what most networks allow.
    """
    blocks = []
    for name, rows in board.groupby("dataset", sort=False):
        first = rows.iloc[int(rows["n"].to_numpy().argmax())]
        axes = first["kendall_axes"]
        blocks.append(
            {
                "dataset": name,
                "n": f"{first['n']:,}",
                "left_out": first["left_out"],
                "pairs": f"{first['kendall_pairs']:,}",
                "axes": axes.replace("_", " ") if isinstance(axes, str) else "",
                "rows": [_leaderboard_row(row, first["left_out"]) for _, row in rows.iterrows()],
            }
        )
    return blocks


def _leaderboard_row(row: pd.Series, usual: str) -> dict[str, Any]:
    details = [] if row["left_out"] == usual else [f"left out: {row['left_out']}"]
    if isinstance(row["note"], str) and row["note"]:
        details.append(row["note"])
    beside = dict.fromkeys(LEADERBOARD_STATISTICS, "")
    if not math.isnan(row["information"]):
        given = str(row["information_given"]).replace("_", " ")
        beside["information"] = f"{_DIRECTIONS[int(row['information_sign'])]}, given {given}"
    if not math.isnan(row["sign_error"]):
        coin, low = (f"{row[name]:.2f}" for name in ("sign_error_coin", "sign_error_coin_low"))
        beside["sign_error"] = (
            f"{row['sign_error_environment']}; mean of {row['sign_error_environments']} "
            f"{row['sign_error_mean']:.2f}; a coin {coin}, 5% below {low}"
        )
    return {
        "label": row["label"],
        "sees": row["sees"],
        "own": bool(row["own"]),
        "numbers": [
            {
                "text": effect_text(row[name], row[f"{name}_low"], row[f"{name}_high"], digits=2),
                "beside": beside[name],
            }
            for name in LEADERBOARD_STATISTICS
        ],
        "n": f"{row['n']:,}",
        "details": details,
    }


def effect_text(estimate: float, low: float, high: float, *, digits: int | None = None) -> str:
    """'0.61 [0.52, 0.69]'; a dash where there is no number, no interval where there is none.

    Args:
        estimate, low, high: an effect and its interval.
        digits: after the point; None: three significant ones.
    """
    if math.isnan(estimate):
        return "–"
    style = ".3g" if digits is None else f".{digits}f"
    if math.isnan(low):
        return f"{estimate:{style}}".replace("-", "−")
    return f"{estimate:{style}} [{low:{style}}, {high:{style}}]".replace("-", "−")


def p_text(p: float) -> str:
    """A p-value as it is read: '0.032', '< 0.0001', a dash where there is none."""
    if math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def summary(table: pd.DataFrame, surveys: Mapping[str, xr.Dataset]) -> str:
    """The study in a sentence or two: networks, datasets, verdicts of the primary rows."""
    table = table[table["primary"].astype(bool)]
    total = sum(survey.sizes["network"] for survey in surveys.values())
    fitted = sum(
        int((survey["status"].to_numpy() == "fitted").sum()) for survey in surveys.values()
    )
    counts = table["verdict"].value_counts()
    words = [f"{int(counts[word])} {word}" for word in VERDICTS if counts.get(word, 0)]
    absent = f"; {int(counts[ABSENT])} {ABSENT}" if counts.get(ABSENT, 0) else ""
    return (
        f"{total:,} networks on {', '.join(surveys)}, {fitted:,} of which fit their training set. "
        f"Verdicts of the primary rows: {', '.join(words) or 'none'}{absent}."
    )


def network_rows(surveys: Mapping[str, xr.Dataset]) -> list[dict[str, Any]]:
    """Networks by dataset, group of membership and status."""
    rows = []
    for name, survey in surveys.items():
        groups = GROUPS | {f"pairs: {factor}": f"pair_{factor}" for factor in FACTORS}
        status = survey["status"].to_numpy()
        for group, column in groups.items():
            if column is None:
                member = np.ones(len(status), bool)
            elif column.startswith("pair_"):
                member = survey[column].to_numpy() != ""
            else:
                member = survey[column].to_numpy().astype(bool)
            counts = [int((status[member] == word).sum()) for word in STATUSES]
            rows.append(
                {
                    "dataset": name,
                    "group": group,
                    "counts": [f"{count:,}" for count in (*counts, int(member.sum()))],
                }
            )
    return rows


def provenance_rows(surveys: Mapping[str, xr.Dataset]) -> list[dict[str, Any]]:
    """Attributes of the surveys, one row each; a JSON object of versions is spread over rows."""
    spread: dict[str, dict[str, str]] = {name: {} for name in surveys}
    for name, survey in surveys.items():
        for key, value in survey.attrs.items():
            spread[name].update(_spread(str(key), value))
    keys = list(dict.fromkeys(key for values in spread.values() for key in values))
    return [
        {
            "name": key,
            "values": [
                {"text": text, "long": len(text) > LONG or "\n" in text}
                for text in (values.get(key, "–") for values in spread.values())
            ],
        }
        for key in keys
    ]


def _spread(key: str, value: Any) -> dict[str, str]:
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return {key: str(value)}
    if key == "versions" and isinstance(parsed, dict):
        return {str(name): str(version) for name, version in parsed.items()}
    if isinstance(parsed, dict | list):
        return {key: json.dumps(parsed, indent=2, ensure_ascii=False)}
    return {key: str(value)}


def timing_rows(timings: pd.DataFrame, expected: Mapping[str, float]) -> list[dict[str, str]]:
    """The stages of `read_timings` as text, with a last row that sums them up.

    Args:
        timings: see `read_timings`.
        expected: stage -> wall seconds of its jobs by the cost model.
    """
    if timings.empty:
        return []
    rows = [
        _timing(*values, expected=expected.get(values[0], math.nan))
        for values in timings[["stage", "jobs", "wall_s", "cpu_s", "peak_mib"]].to_numpy().tolist()
    ]
    total = timings[["jobs", "wall_s", "cpu_s"]].sum()
    last = _timing(
        "all",
        int(total["jobs"]),
        total["wall_s"],
        total["cpu_s"],
        timings["peak_mib"].max(),
        expected=foreseen(timings, expected) or math.nan,
    )
    return [*rows, last]


def _timing(
    stage: str, jobs: int, wall: float, cpu: float, memory: float, *, expected: float
) -> dict[str, str]:
    return {
        "stage": stage,
        "jobs": f"{jobs:,}",
        "wall": _seconds(wall),
        "expected": _seconds(expected),
        "cpu": _seconds(cpu),
        "memory": "–" if math.isnan(memory) else f"{memory:,.0f} MiB",
    }


def _seconds(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.1f} s" if value < 10 else duration(value)
