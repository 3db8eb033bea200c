"""What the report's script needs: each network's values, and where its marks stand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensigap.analysis.survey_table import networks_table, varying
from sensigap.factors import FACTORS

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

#: what is told of a network beside the hyper-parameters that vary -> words
_MEASURED = {
    "status": "status",
    "parameters": "parameters",
    "fit_step": "steps until fitted",
    "train_loss": "training loss (nat)",
    "test_accuracy": "test accuracy",
    "gap": "generalization gap",
    "sensitivity": "mean Jacobian norm",
    "mean_transitions": "mean transitions",
}
#: a value's significant digits
_DIGITS = 4


def explorer(surveys: "Mapping[str, xr.Dataset]", marks: Mapping[str, Path]) -> str:
    """JSON for the page: all networks, and of each figure its marks that are networks.

    Args:
        surveys: data set -> its survey.
        marks: figure -> the file of its marks, as `sensigap.figures` writes it.

    Returns:
        An object of `columns` (words of what is told), `networks` (a list each: data set, id, the
        values) and `figures` (name -> `panels`, whose `networks` are places in that list, one or
        two a mark; `places`, layout -> where the marks of each panel stand).
    """
    tables = {name: networks_table(survey) for name, survey in surveys.items()}
    columns = _columns(tables)
    networks: list[list[Any]] = []
    place: dict[tuple[str, str], int] = {}
    for name, table in tables.items():
        # the data set's own pair, in words: 'labels: random'
        roles = _roles(table)
        told = [table[column].tolist() for column in columns]
        for row, identity in enumerate(table.index):
            place[name, identity] = len(networks)
            networks.append([name, identity, *(_short(each[row]) for each in told), roles[row]])
    figures = {}
    for figure, path in marks.items():
        found = json.loads(path.read_text(encoding="utf-8"))
        if not found["panels"]:
            continue
        panels = [
            {
                "label": panel["label"],
                "networks": [
                    [place[panel["dataset"], identity] for identity in ids]
                    for ids in panel["networks"]
                ],
            }
            for panel in found["panels"]
        ]
        figures[figure] = {"panels": panels, "places": found["places"]}
    words = [_MEASURED.get(name, name.replace("_", " ")) for name in columns]
    return json.dumps(
        {
            "columns": ["data set", "network", *words, "pair of"],
            "networks": networks,
            "figures": figures,
        },
        separators=(",", ":"),
        allow_nan=False,
    )


def _columns(tables: "Mapping[str, pd.DataFrame]") -> list[str]:
    """The hyper-parameters that vary anywhere, and what is measured."""
    several = {name: None for table in tables.values() for name in varying(table)}
    return [*several, "seed", *_MEASURED]


def _roles(table: "pd.DataFrame") -> list[str]:
    """Of which factors a network is a side, in words."""
    sides = {name: table[f"side_{name}"].tolist() for name in FACTORS}
    return [
        ", ".join(
            f"{FACTORS[name].title}: {side[row]}" for name, side in sides.items() if side[row]
        )
        for row in range(len(table))
    ]


def _short(value: Any) -> Any:
    """A value as JSON has it: few digits, None for NaN."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
    return value
