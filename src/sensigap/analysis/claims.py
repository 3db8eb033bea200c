"""The table of claims: every row's number, its Holm-adjusted p and its verdict."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import xarray as xr

from sensigap import survey as stores
from sensigap.analysis.factors import factor_rows
from sensigap.analysis.paths import path_rows
from sensigap.analysis.point_rows import point_rows
from sensigap.analysis.sensitivity_and_gap import sensitivity_and_gap
from sensigap.analysis.shared_points import SharedPoints
from sensigap.analysis.size_and_loss import size_and_loss
from sensigap.analysis.verdicts import Row, Settings, judge
from sensigap.files import written_whole

__all__ = ["COLUMNS", "Settings", "claims", "write_claims"]

COLUMNS = (
    "key",
    "claim",
    "dataset",
    "quantity",
    "primary",
    "test",
    "n",
    "architectures",
    "left_out",
    "effect",
    "estimate",
    "low",
    "high",
    "level",
    "p",
    "p_holm",
    "verdict",
    "remarks",
)


def claims(
    surveys: Mapping[str, xr.Dataset],
    ellipses: Mapping[str, xr.Dataset | None],
    settings: Settings,
) -> pd.DataFrame:
    """Tests the claims on the surveys (STATISTICS, section 6).

    Args:
        surveys: data set -> its survey.
        ellipses: data set -> the survey's group 'ellipses', None where it has none.
        settings: of the tests.

    Returns:
        One row a data set and key, with `COLUMNS`: `key` names the row among those of its data set
        and stays when its words change; `primary` rows decide a claim, and were named before
        looking, except on the digits, whose first results were known by then; `n` networks
        (pairs where a factor is compared) of so many `architectures`, `left_out` in words,
        `estimate` of the `effect` with the interval `low` to `high` that holds `level`, `p`
        (two-sided; of a claim of no relation that of equivalence), `p_holm` over the primary rows
        of the data set, and a `verdict`, for secondary rows by `p` as it is: 'none' for controls
        and comparisons. Numbers are NaN where there are too few networks or a test does not apply;
        `remarks` then say so.
    """
    rows: list[Row] = []
    for dataset, survey in surveys.items():
        points = SharedPoints(survey, dataset, settings)
        rows += size_and_loss(points)
        rows += path_rows(survey, ellipses.get(dataset), dataset, settings)
        rows += sensitivity_and_gap(points)
        rows += factor_rows(points)
        rows += point_rows(points)
    rows.sort(key=lambda row: row.question.claim)
    return pd.DataFrame(
        [
            _record(row, p_holm, given, settings)
            for row, (p_holm, given) in zip(rows, judge(rows, settings), strict=True)
        ],
        columns=list(COLUMNS),
    )


def _record(row: Row, p_holm: float, given: str, settings: Settings) -> dict[str, object]:
    question, found = row.question, row.finding
    numbers = {
        name: getattr(found, name) if found else float("nan")
        for name in ("estimate", "low", "high", "p")
    }
    if question.control:
        # it stands beside another row and is not tested (STUDY, Statistics)
        numbers["p"] = float("nan")
    return {
        "key": question.key,
        "claim": question.claim,
        "dataset": question.dataset,
        "quantity": question.quantity,
        "primary": question.primary,
        "test": question.test,
        "n": row.n,
        "architectures": row.architectures,
        "left_out": row.left_out,
        "effect": question.effect,
        **numbers,
        "level": question.level(settings),
        "p_holm": p_holm,
        "verdict": given,
        "remarks": "; ".join(row.remarks),
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
