"""The leaderboard: sensitivity beside the complexity measures that the literature proposes.

Not part of the table of claims: nothing is tested here, so there is no p and no verdict. Each
measure stands with its rank correlation with the generalization gap among the fitted networks of
the survey, in the way of C2.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sensigap import survey as stores
from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import DoesNotApply, Result, resample_counts, summarise
from sensigap.analysis.kendall import Pairs, axis_pairs, granulated_kendall
from sensigap.analysis.ranks import partial_rank_correlation
from sensigap.analysis.relations import architecture_codes, dummies_or_refusal, gap_and
from sensigap.analysis.survey_table import LeftOut, survey_members, varying
from sensigap.analysis.verdicts import Settings, draws
from sensigap.declarations import PREDICTORS, Predictor
from sensigap.files import written_whole

#: statistic -> columns with its value and its interval
STATISTICS = {
    name: (name, f"{name}_low", f"{name}_high") for name in ("within", "raw", "kendall", "behind")
}
COLUMNS = (
    "dataset",
    "measure",
    "label",
    "family",
    "n",
    "left_out",
    *(column for columns in STATISTICS.values() for column in columns),
    "kendall_pairs",
    "kendall_axes",
    "note",
)


def leaderboard(surveys: Mapping[str, xr.Dataset], settings: Settings) -> pd.DataFrame:
    """Every measure's rank correlation with the generalization gap, data set by data set.

    All measures are oriented as they are proposed: larger should go with a larger gap. Those of
    sensitivity look at test inputs (never at their labels), except the norm at training points;
    the others at the weights and the training set alone.

    - `raw`: Spearman's rho.
    - `within`: the same within hyper-parameters, Spearman of rank residuals after dummies, as in
      C2 (for the number of parameters without dummies for depth and width, as in C0).
    - `kendall`: the granulated Kendall coefficient (`kendall.granulated_kendall`).
    - `behind`: `within` of the sensitivity minus that of the measure.

    Each with an interval that holds 1 - alpha, from the bootstrap over architectures; all measures
    of a data set share their resamples, so that `behind` is a paired difference. Networks for which
    a measure is not defined are left out of its rows, and counted.

    Args:
        surveys: data set -> its survey.
        settings: of the analysis.

    Returns:
        One row a data set and measure, with `COLUMNS`; a data set's rows by `within`, the largest
        first: a measure that is strongly but negatively related to the gap is one that fails, and
        stands last. Numbers are NaN where there are too few networks or a statistic has no value;
        `note` says why.
    """
    rows = [row for dataset, survey in surveys.items() for row in _rows(survey, dataset, settings)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {dataset: place for place, dataset in enumerate(surveys)}
    return table.sort_values(
        ["dataset", "within"],
        key=lambda column: column.map(order) if column.name == "dataset" else -column,
        kind="stable",
        ignore_index=True,
    )


def write_leaderboard(survey_paths: Mapping[str, Path], output: Path, settings: Settings) -> None:
    """Writes the leaderboard of survey stores as CSV, whole, numbers with six significant digits.

    Args:
        survey_paths: data set -> survey store.
        output: the CSV file; an existing one is replaced.
        settings: of the analysis.

    Raises:
        FileNotFoundError, SchemaError, DamagedFileError: as `sensigap.survey.read`.
    """
    surveys = {dataset: stores.read(path, "survey") for dataset, path in survey_paths.items()}
    with written_whole(Path(output)) as temporary:
        leaderboard(surveys, settings).to_csv(
            temporary, index=False, float_format="%.6g", lineterminator="\n"
        )


def read_leaderboard(path: Path) -> pd.DataFrame:
    """The leaderboard that `write_leaderboard` wrote; empty texts are NaN.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it lacks columns.
    """
    numbers = [column for columns in STATISTICS.values() for column in columns]
    board = pd.read_csv(path, dtype=dict.fromkeys(numbers, float))
    missing = [name for name in COLUMNS if name not in board]
    if missing:
        raise ValueError(
            f"{path}: expected columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}; "
            "run the analysis again"
        )
    return board


def measured(survey: xr.Dataset) -> tuple[pd.DataFrame, pd.DataFrame, LeftOut]:
    """The fitted networks of a survey, the value of each measure of them, and who was left out.

    Returns:
        The table of `survey_members`; a table (network, measure) with NaN where a measure is not
        defined or not finite; what was left out of both.
    """
    table, left_out = survey_members(survey)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = pd.DataFrame(
            {predictor.name: _values(survey, table, predictor) for predictor in PREDICTORS},
            index=table.index,
        )
    return table, values.where(np.isfinite(values)), left_out


def _values(survey: xr.Dataset, table: pd.DataFrame, predictor: Predictor) -> np.ndarray:
    """What a predictor says of each network of the table; NaN where it was not measured."""
    name = predictor.variable
    if name in table:
        values = table[name].to_numpy(float)
    else:
        chosen = survey[name].sel(network=table.index.to_numpy())
        values = chosen.mean("sample", skipna=False).to_numpy().astype(float)
    if predictor.missing is not None:
        values = np.where(values == predictor.missing, np.nan, values)
    if predictor.over_margin:
        # the variable is a log10 of a norm
        values = values + np.log10(table["inverse_margin"].to_numpy(float)) / 2
    return values


@dataclasses.dataclass(frozen=True)
class _Resampled:
    """A statistic of the data and of each resample (resample,)."""

    estimate: float
    resamples: np.ndarray


class _Board:
    """The measures of one data set and the resamples that they share."""

    def __init__(self, survey: xr.Dataset, dataset: str, settings: Settings) -> None:
        self.settings = settings
        self._withins: dict[str, _Resampled] = {}
        self.table, self.values, self.left_out = measured(survey)
        if len(self.table) < settings.minimum_networks:
            raise DoesNotApply(f"{len(self.table)} of at least {settings.minimum_networks}")
        self.codes, levels = architecture_codes(self.table)
        rng = draws(settings, dataset, "leaderboard")
        self.counts = resample_counts(rng, levels, settings.bootstrap)[self.codes]
        self.pairs: Pairs = axis_pairs(self.table, varying(self.table))
        arguments = (self.values.to_numpy().T, self.table["gap"].to_numpy(float), self.pairs)
        once = granulated_kendall(*arguments, np.ones((len(self.table), 1)))[:, 0]
        often = granulated_kendall(*arguments, self.counts)
        self.kendalls = {
            measure.name: _Resampled(float(once[k]), often[k])
            for k, measure in enumerate(PREDICTORS)
        }

    def of(self, measure: Predictor) -> tuple[pd.DataFrame, np.ndarray]:
        """The networks for which a measure is defined, with its `value`; and their counts."""
        kept = self.values[measure.name].notna().to_numpy()
        table = self.table[kept].assign(value=self.values[measure.name][kept])
        if len(table) < self.settings.minimum_networks:
            raise DoesNotApply(f"{len(table)} of at least {self.settings.minimum_networks}")
        architecture_codes(table)
        return table, self.counts[kept]

    def raw(self, measure: Predictor) -> _Resampled:
        """Spearman's correlation of a measure and the gap."""
        table, counts = self.of(measure)
        gap, x = gap_and(table, "value")
        once = resampled.rank_correlation(x, gap, np.ones((len(x), 1)))
        return _Resampled(float(once[0]), resampled.rank_correlation(x, gap, counts))

    def within(self, measure: Predictor) -> _Resampled:
        """The same of rank residuals after dummies for the hyper-parameters."""
        if measure.name in self._withins:
            return self._withins[measure.name]
        table, counts = self.of(measure)
        gap, x = gap_and(table, "value")
        names = [name for name in varying(table) if name not in measure.apart]
        design = dummies_or_refusal(table, names)
        once = partial_rank_correlation(x, gap, design, np.ones((len(x), 1)))
        often = partial_rank_correlation(x, gap, design, counts)
        self._withins[measure.name] = _Resampled(float(once[0]), often)
        return self._withins[measure.name]

    def kendall(self, measure: Predictor) -> _Resampled:
        """The granulated Kendall coefficient."""
        gap_and(self.of(measure)[0], "value")
        if not self.pairs:
            raise DoesNotApply("too few pairs of networks differ in one hyper-parameter alone")
        return self.kendalls[measure.name]

    def behind(self, measure: Predictor) -> _Resampled:
        """How much higher the sensitivity's `within` is."""
        first = PREDICTORS[0]
        if measure is first:
            raise DoesNotApply("")
        other, own = self.within(first), self.within(measure)
        return _Resampled(other.estimate - own.estimate, other.resamples - own.resamples)

    def summary(self, statistic: str, measure: Predictor) -> Result:
        """A statistic of a measure with its interval."""
        found: _Resampled = getattr(self, statistic)(measure)
        kept = self.values[measure.name].notna().to_numpy()
        return summarise(
            found.estimate,
            found.resamples,
            units=len(np.unique(self.codes[kept])),
            alpha=self.settings.alpha,
            scale="identity" if statistic == "behind" else "correlation",
        )


def _rows(survey: xr.Dataset, dataset: str, settings: Settings) -> list[dict[str, object]]:
    """The rows of one data set."""
    try:
        board = _Board(survey, dataset, settings)
    except DoesNotApply as reason:
        _, values, left_out = measured(survey)
        return [_row(dataset, measure, values, left_out, str(reason)) for measure in PREDICTORS]
    rows = []
    for measure in PREDICTORS:
        notes: list[str] = []
        numbers: dict[str, object] = {
            "kendall_pairs": sum(len(i) for i, _ in board.pairs.values()),
            "kendall_axes": ", ".join(board.pairs),
        }
        for statistic, columns in STATISTICS.items():
            try:
                found = board.summary(statistic, measure)
            except DoesNotApply as reason:
                if str(reason):
                    notes.append(f"{statistic} does not apply: {reason}")
                continue
            numbers |= dict(zip(columns, (found.estimate, found.low, found.high), strict=True))
        note = "; ".join(dict.fromkeys(notes))
        rows.append(_row(dataset, measure, board.values, board.left_out, note) | numbers)
    return rows


def _row(
    dataset: str, measure: Predictor, values: pd.DataFrame, left_out: LeftOut, note: str
) -> dict[str, object]:
    """A row without numbers."""
    defined = values[measure.name].notna()
    left_out = left_out.copy()
    left_out.add("without a value of the measure", int((~defined).sum()))
    numbers = {name: math.nan for columns in STATISTICS.values() for name in columns}
    return {
        "dataset": dataset,
        "measure": measure.name,
        "label": measure.label,
        "family": measure.family,
        "n": int(defined.sum()),
        "left_out": str(left_out),
        **numbers,
        "kendall_pairs": 0,
        "kendall_axes": "",
        "note": note,
    }
