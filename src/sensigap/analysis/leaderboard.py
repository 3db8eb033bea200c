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

from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import DoesNotApply, resample_counts, summarise
from sensigap.analysis.kendall import Pairs, axis_pairs, granulated_kendall
from sensigap.analysis.mutual_information import conditional_information
from sensigap.analysis.ranks import partial_rank_correlation
from sensigap.analysis.relations import architecture_codes, dummies_or_refusal, gap_and
from sensigap.analysis.shared_points import SharedPoints
from sensigap.analysis.sign_error import Environments
from sensigap.analysis.survey_table import (
    COMPARED,
    LeftOut,
    survey_members,
    varying,
    with_custom,
)
from sensigap.analysis.verdicts import Settings, draws
from sensigap.declarations import PREDICTORS, Predictor
from sensigap.declarations.custom import PREFIX, predictor
from sensigap.files import written_whole

#: statistic -> columns with its value and its interval
STATISTICS = {
    name: (name, f"{name}_low", f"{name}_high")
    for name in ("within", "raw", "kendall", "behind", "information", "sign_error")
}
#: what else is said of a statistic -> what it is where there is none
_DETAILS: dict[str, object] = {
    "kendall_pairs": 0,
    "kendall_axes": "",
    "information_given": "",
    "information_sign": 0,
    "sign_error_environment": "",
    "sign_error_mean": math.nan,
    "sign_error_coin": math.nan,
    "sign_error_coin_low": math.nan,
    "sign_error_environments": 0,
    "sign_error_pairs": 0,
}
COLUMNS = (
    *("dataset", "measure", "label", "sees", "own", "n", "left_out"),
    *(column for columns in STATISTICS.values() for column in columns),
    *_DETAILS,
    "note",
)
#: DEVIATION: resamples of the conditional information, which counts all pairs of networks; STUDY
#: asks for 2,000 of every bootstrap. All that is taken of them is a standard error, within 7%
_INFORMATION_RESAMPLES = 100
#: ASSUME: networks whose pairs it counts, at most: a seeded choice, half a million pairs; ten
#: thousand networks have a hundred times as many, and its error is that of the networks
INFORMED = 1_000


def leaderboard(surveys: Mapping[str, xr.Dataset], settings: Settings) -> pd.DataFrame:
    """Every measure's rank correlation with the generalization gap, data set by data set.

    All measures are oriented as they are proposed: larger should go with a larger gap. `sees` says
    what each looks at: the weights alone, the training set too, or test inputs (never their
    labels).

    - `raw`: Spearman's rho.
    - `within`: the same within hyper-parameters, Spearman of rank residuals after dummies, as in
      C2 (for the number of parameters without dummies for depth and width, as in C0).
    - `kendall`: the granulated Kendall coefficient (`kendall.granulated_kendall`) over
      `kendall_pairs` pairs that differ in one of `kendall_axes` each.
    - `behind`: `within` of the sensitivity minus that of the measure.
    - `information`: conditional mutual information (`mutual_information`), from 0 to 1, the least
      over sets of axes, which is `information_given`; it does not know direction, which is
      `information_sign`, with nothing given. A measure that the hyper-parameters make has 0.
      Of more than `INFORMED` networks a seeded choice, which `note` says.
    - `sign_error`: of the worst environment (`sign_error.Environments`), which is
      `sign_error_environment`: 0 is best; `sign_error_mean` is over environments, a coin's worst
      is `sign_error_coin`, with 5% of coins below `sign_error_coin_low`.

    Each with an interval that holds 1 - alpha, from the bootstrap over architectures; all measures
    of a data set share their resamples, so that `behind` is a paired difference. The interval of
    `information` is cut to [0, 1]; that of `sign_error`, a maximum, for which a bootstrap does not
    hold, is the worst environment's own, binomial. Networks for which a measure is not defined are
    left out of its rows, and counted.

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
    surveys = {dataset: with_custom(path) for dataset, path in survey_paths.items()}
    with written_whole(Path(output)) as temporary:
        leaderboard(surveys, settings).to_csv(
            temporary, index=False, float_format="%.6g", lineterminator="\n"
        )


def predictors(survey: xr.Dataset) -> tuple[Predictor, ...]:
    """What stands on the leaderboard of a survey: the declared, then functions of one's own."""
    labels = [str(name).removeprefix(PREFIX) for name in survey if str(name).startswith(PREFIX)]
    return (*PREDICTORS, *map(predictor, labels))


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
            {each.name: _values(survey, table, each) for each in predictors(survey)},
            index=table.index,
        )
    return table, values.where(np.isfinite(values)), left_out


def _values(survey: xr.Dataset, table: pd.DataFrame, predictor: Predictor) -> np.ndarray:
    """What a predictor says of each network of the table; NaN where it was not measured."""
    name = predictor.variable
    if predictor.between_seeds:
        classes = survey[name].sel(network=table.index.to_numpy()).transpose("network", "sample")
        return disagreement(classes.to_numpy(), table[list(COMPARED)])
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


def disagreement(classes: np.ndarray, alike: pd.DataFrame) -> np.ndarray:
    """Share of points at which networks that are alike predict other classes (network,).

    Args:
        classes: predicted by each network at each point (network, point).
        alike: what networks must have in common, in columns (network,).

    Returns:
        The mean over the others that are alike; NaN where there is none.
    """
    groups = alike.groupby(list(alike), sort=False).ngroup().to_numpy()
    result = np.full(len(classes), np.nan)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) > 1:
            apart = (classes[members][:, None] != classes[members][None]).mean(axis=2)
            result[members] = apart.sum(axis=1) / (len(members) - 1)
    return result


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
        self.predictors = predictors(survey)
        self.table, self.values, self.left_out = measured(survey)
        if len(self.table) < settings.minimum_networks:
            raise DoesNotApply(f"{len(self.table)} of at least {settings.minimum_networks}")
        self.codes, levels = architecture_codes(self.table)
        rng = draws(settings, dataset, "leaderboard")
        self.counts = resample_counts(rng, levels, settings.bootstrap)[self.codes]
        axes = varying(self.table)
        self.pairs: Pairs = axis_pairs(self.table, axes)
        both = self.values.to_numpy().T, self.table["gap"].to_numpy(float)
        once = granulated_kendall(*both, self.pairs, np.ones((len(self.table), 1)))[:, 0]
        often = granulated_kendall(*both, self.pairs, self.counts)
        self.kendalls = {
            measure.name: _Resampled(float(once[k]), often[k])
            for k, measure in enumerate(self.predictors)
        }
        informed = np.arange(len(self.table))
        #: networks of the conditional information, where not all; else 0
        self.informed = INFORMED if len(informed) > INFORMED else 0
        if self.informed:
            choice = draws(settings, dataset, "leaderboard information")
            informed = np.sort(choice.choice(informed, INFORMED, replace=False))
        self.informations = conditional_information(
            both[0][:, informed],
            both[1][informed],
            {name: pd.factorize(self.table[name], sort=True)[0][informed] for name in axes},
            np.column_stack(
                [np.ones(len(informed)), self.counts[informed, :_INFORMATION_RESAMPLES]]
            ),
        )
        wrong = SharedPoints(survey, dataset, settings).right(self.table.index.tolist()) == 0
        coins = draws(settings, dataset, "leaderboard coins")
        self.environments = Environments(self.table, axes, wrong, coins)

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
        first = self.predictors[0]
        if measure is first:
            raise DoesNotApply("")
        other, own = self.within(first), self.within(measure)
        return _Resampled(other.estimate - own.estimate, other.resamples - own.resamples)

    def information(self, measure: Predictor) -> _Resampled:
        """The conditional mutual information."""
        gap_and(self.of(measure)[0], "value")
        once, *often = self.informations.value[self.predictors.index(measure)].tolist()
        return _Resampled(once, np.array(often))

    def numbers(self, statistic: str, measure: Predictor) -> dict[str, object]:
        """A statistic of a measure with its interval and `_DETAILS`, by column."""
        if statistic == "sign_error":
            return self._sign_error(measure)
        found: _Resampled = getattr(self, statistic)(measure)
        kept = self.values[measure.name].notna().to_numpy()
        result = summarise(
            found.estimate,
            found.resamples,
            units=len(np.unique(self.codes[kept])),
            alpha=self.settings.alpha,
            scale="identity" if statistic in ("behind", "information") else "correlation",
        )
        ends = np.array([result.low, result.high])
        details: dict[str, object] = {}
        if statistic == "information":
            ends = ends.clip(0, 1)
            least = self.informations.least[self.predictors.index(measure), 0]
            details = {
                "information_given": ", ".join(self.informations.sets[least]) or "nothing",
                "information_sign": int(
                    self.informations.association[self.predictors.index(measure), 0]
                ),
            }
        values = (result.estimate, *ends.tolist())
        return dict(zip(STATISTICS[statistic], values, strict=True)) | details

    def _sign_error(self, measure: Predictor) -> dict[str, object]:
        """The sign error in the worst environment, and what stands beside it."""
        gap_and(self.of(measure)[0], "value")
        found = self.environments.score(
            self.values[measure.name].to_numpy(float), self.settings.alpha
        )
        values = (found.worst, found.low, found.high)
        return dict(zip(STATISTICS["sign_error"], values, strict=True)) | {
            "sign_error_environment": found.environment,
            "sign_error_mean": found.mean,
            "sign_error_coin": found.coin,
            "sign_error_coin_low": found.coin_low,
            "sign_error_environments": found.environments,
            "sign_error_pairs": found.pairs,
        }


def _rows(survey: xr.Dataset, dataset: str, settings: Settings) -> list[dict[str, object]]:
    """The rows of one data set."""
    try:
        board = _Board(survey, dataset, settings)
    except DoesNotApply as reason:
        _, values, left_out = measured(survey)
        return [
            _row(dataset, measure, values, left_out, str(reason)) for measure in predictors(survey)
        ]
    rows = []
    for measure in board.predictors:
        notes: list[str] = []
        numbers: dict[str, object] = {
            "kendall_pairs": sum(len(i) for i, _ in board.pairs.values()),
            "kendall_axes": ", ".join(board.pairs),
        }
        for statistic in STATISTICS:
            try:
                numbers |= board.numbers(statistic, measure)
            except DoesNotApply as reason:
                if str(reason):
                    notes.append(f"{statistic.replace('_', ' ')} does not apply: {reason}")
        if board.informed:
            notes.append(
                f"conditional information: of {board.informed:,} networks, a seeded choice"
            )
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
        "sees": measure.sees,
        "own": measure.own,
        "n": int(defined.sum()),
        "left_out": str(left_out),
        **numbers,
        **_DETAILS,
        "note": note,
    }
