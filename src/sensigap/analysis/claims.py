"""The table of claims: every row's number, its Holm-adjusted p and its verdict."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import xarray as xr

from sensigap import survey as stores
from sensigap.analysis.correlations import sensitivity_and_gap, size_and_loss
from sensigap.analysis.factors import factor_rows
from sensigap.analysis.paths import path_rows
from sensigap.analysis.points import point_rows
from sensigap.analysis.verdicts import Row, Settings, holm, judge
from sensigap.files import written_whole

__all__ = ["COLUMNS", "Settings", "claims", "write_claims"]

COLUMNS = (
    "key",
    "claim",
    "dataset",
    "quantity",
    "test",
    "n",
    "left_out",
    "effect",
    "estimate",
    "low",
    "high",
    "p",
    "p_holm",
    "verdict",
    "note",
)


def claims(
    surveys: Mapping[str, xr.Dataset],
    ellipses: Mapping[str, xr.Dataset | None],
    settings: Settings,
) -> pd.DataFrame:
    """Tests C0 to C5 on the surveys (STUDY, 'Statistics').

    Args:
        surveys: data set -> its survey.
        ellipses: data set -> the survey's group 'ellipses', None where it has none.
        settings: of the tests.

    Returns:
        One row a data set and key, with `COLUMNS`: `key` names the row among those of its data set
        and stays when its words change; `n` networks (pairs in C3 and C4),
        `left_out` in words, `estimate` of the `effect` with the interval `low` to `high` that holds
        1 - alpha, two-sided `p` and `p_holm` over the whole table, and a `verdict`: '' for
        controls, 'not supported' where the row that this one presumes is not supported. Numbers are
        NaN where there are too few networks or a test does not apply; `note` then says so.
    """
    rows: list[Row] = []
    for dataset, survey in surveys.items():
        rows += size_and_loss(survey, dataset, settings)
        rows += path_rows(survey, ellipses.get(dataset), dataset, settings)
        rows += sensitivity_and_gap(survey, dataset, settings)
        rows += factor_rows(survey, dataset, settings)
        rows += point_rows(survey, dataset, settings)
    rows.sort(key=lambda row: row.question.claim)
    adjusted = holm(rows, settings.alpha)
    judged = judge(rows, adjusted, settings)
    return pd.DataFrame(
        [
            _record(row, p_holm, given, remark)
            for row, p_holm, (given, remark) in zip(rows, adjusted, judged, strict=True)
        ],
        columns=list(COLUMNS),
    )


def _record(row: Row, p_holm: float, given: str, remark: str) -> dict[str, object]:
    question, result = row.question, row.result
    numbers = {
        name: getattr(result, name) if result else float("nan")
        for name in ("estimate", "low", "high", "p")
    }
    return {
        "key": question.key,
        "claim": question.claim,
        "dataset": question.dataset,
        "quantity": question.quantity,
        "test": question.test,
        "n": row.n,
        "left_out": row.left_out,
        "effect": question.effect,
        **numbers,
        "p_holm": p_holm,
        "verdict": given,
        "note": "; ".join(text for text in (remark, row.note) if text),
    }


def write_claims(survey_paths: Mapping[str, Path], output: Path, settings: Settings) -> None:
    """Tests the claims on survey stores and writes the table as CSV, whole.

    Numbers have six significant digits, so that the same surveys give the same bytes.

    Args:
        survey_paths: data set -> survey store.
        output: the CSV file; an existing one is replaced.
        settings: of the tests.

    Raises:
        FileNotFoundError: a store is missing.
        sensigap.survey.SchemaError: a store does not hold what its schema says.
        sensigap.integrity.DamagedFileError: it is not as it was written.
    """
    surveys: dict[str, xr.Dataset] = {}
    ellipses: dict[str, xr.Dataset | None] = {}
    for dataset, path in survey_paths.items():
        surveys[dataset] = stores.read(path, "survey")
        ellipses[dataset] = (
            stores.read(path, "ellipses", group="ellipses", verified=True)
            if stores.has_group(path, "ellipses")
            else None
        )
    table = claims(surveys, ellipses, settings)
    output = Path(output)
    with written_whole(output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
