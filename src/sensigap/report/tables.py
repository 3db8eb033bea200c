"""The flat table of all networks of a study, and what its columns are."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sensigap.files import written_whole

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def table(surveys: "Mapping[str, xr.Dataset]") -> "pd.DataFrame":
    """A row a network of the surveys, see `Results.table`."""
    import pandas as pd

    from sensigap.analysis.survey_table import networks_table

    parts = {name: networks_table(survey) for name, survey in surveys.items()}
    for name, part in parts.items():
        part.insert(0, "dataset", name)
    return pd.concat(parts.values())


def units(surveys: "Mapping[str, xr.Dataset]") -> "pd.DataFrame":
    """What the columns of `table` are, see `Results.units`."""
    import pandas as pd

    rows = {"dataset": ("data set", "")}
    for survey in surveys.values():
        rows |= {
            **{
                str(name): (variable.attrs["long_name"], variable.attrs["units"])
                for name, variable in survey.variables.items()
                if variable.dims == ("network",) and name != "network"
            },
            "sensitivity_log10": ("log10 of the sensitivity, NaN where that is 0", "decades"),
            "architecture": ("depth, width and unit: the cluster of C0 and C2", ""),
        }
    described = pd.DataFrame.from_dict(rows, "index", columns=["description", "unit"])
    return described.rename_axis("column")


def write_tables(surveys: "Mapping[str, xr.Dataset]", networks: Path, columns: Path) -> None:
    """Writes `table` and `units` as CSV, whole.

    Args:
        surveys: data set -> its survey.
        networks: the table's file; ten significant digits.
        columns: what its columns are.
    """
    for made, path in (
        (table(surveys), networks),
        (units(surveys), columns),
    ):
        with written_whole(Path(path)) as temporary:
            made.to_csv(temporary, float_format="%.10g", lineterminator="\n")
