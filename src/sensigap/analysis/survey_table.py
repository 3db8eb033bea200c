"""A survey's networks as a pandas table, and the choices of networks that the claims are about."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sensigap import survey as stores
from sensigap.declarations.custom import CUSTOM, predictor
from sensigap.needs import ARCHITECTURE
from sensigap.spec import HYPERPARAMETERS

#: what may vary between the networks of a survey; seeds are no hyper-parameters
COMPARED = tuple(name for name, (_, record) in HYPERPARAMETERS.items() if record.compared)


@dataclasses.dataclass
class LeftOut:
    """How many were left out, of how many, and why."""

    total: int
    what: str = "networks"
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, reason: str, count: int) -> None:
        """Counts `count` of them for `reason`; nothing where there are none."""
        if count:
            self.reasons[reason] = self.reasons.get(reason, 0) + count

    def copy(self) -> "LeftOut":
        """The same counts, to be added to apart from these."""
        return dataclasses.replace(self, reasons=dict(self.reasons))

    @property
    def count(self) -> int:
        """All that were left out."""
        return sum(self.reasons.values())

    def __str__(self) -> str:
        """For a caption or the table: '12 of 100 networks: 10 not fitted, 2 diverged'."""
        text = f"{self.count} of {self.total} {self.what}"
        if self.reasons:
            text += ": " + ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        return text

    @staticmethod
    def of_none(text: str) -> bool:
        """Whether such a text is of nothing at all: the design holds none of what is counted."""
        return text.startswith("0 of 0 ")


def networks_table(survey: xr.Dataset) -> pd.DataFrame:
    """All networks of a survey, one row each, indexed by id.

    Columns: every coordinate and variable on `network` alone; `sensitivity_log10` (NaN where the
    sensitivity is 0 or was not measured); `architecture`, the text of `ARCHITECTURE`'s values.
    """
    names = [
        str(name)
        for name, variable in survey.variables.items()
        if variable.dims == ("network",) and name != "network"
    ]
    index = pd.Index(survey["network"].to_numpy().astype(str), name="network")
    table = pd.DataFrame({name: survey[name].to_numpy() for name in names}, index=index)
    sensitivity = table["sensitivity"].to_numpy(float)
    logarithm = np.full(len(table), np.nan)
    positive = sensitivity > 0
    logarithm[positive] = np.log10(sensitivity[positive])
    table["sensitivity_log10"] = logarithm
    table["architecture"] = architecture_names(table)
    return table


def architecture_names(table: pd.DataFrame, columns: Sequence[str] = ARCHITECTURE) -> list[str]:
    """The text of each row's values in `columns`, which make it one architecture."""
    rows = table[list(columns)].itertuples(index=False, name=None)
    return ["-".join(map(str, values)) for values in rows]


def with_custom(store: Path) -> xr.Dataset:
    """A survey, with what functions of one's own said as a variable each, named as their rows are.

    Raises:
        FileNotFoundError, SchemaError, DamagedFileError: as `sensigap.survey.read`.
    """
    survey = stores.read(store, "survey")
    if not stores.has_group(store, CUSTOM.group):
        return survey
    said = stores.read(store, CUSTOM.name, group=CUSTOM.group, verified=True)
    values = said["value"].reindex(network=survey["network"])
    return survey.assign(
        {
            predictor(label).variable: values.sel(function=label, drop=True).variable
            for label in said["function"].to_numpy().tolist()
        }
    )


def survey_members(survey: xr.Dataset) -> tuple[pd.DataFrame, LeftOut]:
    """The fitted networks of the survey proper, with true labels: C0, C2 and C5 are about them.

    Returns:
        The rows of `networks_table` and what was left out of the survey's members.
    """
    table = networks_table(survey)
    table = table[table["in_survey"].astype(bool)]
    left_out = LeftOut(len(table), "survey networks")
    return fitted_true(table, left_out), left_out


def fitted_true(table: pd.DataFrame, left_out: LeftOut) -> pd.DataFrame:
    """The fitted networks of a table with true labels; counts the others in `left_out`."""
    table = true_labels(table, left_out)
    for status in ("not fitted", "diverged"):
        left_out.add(status, int((table["status"] == status).sum()))
    return table[table["status"] == "fitted"]


def true_labels(table: pd.DataFrame, left_out: LeftOut) -> pd.DataFrame:
    """The networks of a table trained on true labels; counts the others in `left_out`."""
    kept = table["labels"] == "true"
    left_out.add("trained on random labels", int((~kept).sum()))
    return table[kept]


def sensitive(table: pd.DataFrame, left_out: LeftOut) -> tuple[pd.DataFrame, LeftOut]:
    """The networks whose sensitivity has a logarithm, and what was left out with the others."""
    kept = table["sensitivity_log10"].notna()
    left_out = left_out.copy()
    left_out.add("with J = 0 at every test point", int((table["sensitivity"] == 0).sum()))
    left_out.add("without a measured sensitivity", int(table["sensitivity"].isna().sum()))
    return table[kept], left_out


def varying(table: pd.DataFrame) -> list[str]:
    """The hyper-parameters of which the table holds more than one value."""
    return [name for name in COMPARED if len(table[name].unique()) > 1]


def dummies(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Additive dummies for each level of each named column, with the constant (network, column).

    Columns that the ones before them determine are left out (a learning rate that only one
    optimizer has, for example), so that the columns are independent.
    """
    columns = [np.ones(len(table))]
    for name in names:
        codes, levels = pd.factorize(table[name], sort=True)
        columns += [(codes == level).astype(float) for level in range(1, len(levels))]
    kept: list[np.ndarray] = []
    basis = np.empty((len(table), 0))
    for column in columns:
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        norm = np.linalg.norm(rest)
        if norm > 1e-8 * np.linalg.norm(column):
            kept.append(column)
            basis = np.column_stack([basis, rest / norm])
    return np.column_stack(kept)
