"""The configuration of a study: `load` checks a mapping, as YAML gives it, and returns a `Study`.

Every key is explained in config/README.md, whose tables are made from the models.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sensigap.config import checks, faults
from sensigap.config.faults import ConfigError, Fault
from sensigap.config.hyperparameters import Axes, Defaults, Row
from sensigap.config.models import (
    Analysis,
    Block,
    Dataset,
    Execution,
    Factor,
    Factors,
    Grid,
    Measures,
    Random,
    ResolvedDataset,
    Rows,
    Study,
)
from sensigap.config.valid import Valid

__all__ = [
    "Analysis",
    "Axes",
    "Block",
    "ConfigError",
    "Dataset",
    "Defaults",
    "Execution",
    "Factor",
    "Factors",
    "Fault",
    "Grid",
    "Measures",
    "Random",
    "ResolvedDataset",
    "Row",
    "Rows",
    "Study",
    "json_schema",
    "load",
]


def load(mapping: Mapping[str, Any]) -> Study:
    """Checks a configuration and returns it as a `Study`.

    Args:
        mapping: the configuration as YAML gives it: mappings, lists, numbers, text, truth values.

    Raises:
        ConfigError: the configuration has faults; the message names all of them, each with the
            key's full path, what was found, what is allowed and, where there is one, a remedy.
    """
    plain = _plain(mapping)
    if not isinstance(plain, dict):
        raise ConfigError(
            [Fault((), f"found {faults.written(plain)}", faults.allowed_text(faults.schema()))]
        )
    guessed, found = _with_searches(plain)
    study = None
    try:
        study = Study.model_validate(guessed)
    except ValidationError as error:
        found += faults.from_pydantic(error, guessed)
    found += checks.faults_between(Valid(guessed, found))
    if found or study is None:
        raise ConfigError(faults.in_file_order(found, plain))
    return study


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the configuration, for editors and readers."""
    return faults.schema()


def _plain(value: Any) -> Any:
    """Copies, with plain dicts and lists whatever the YAML reader made; keys as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _with_searches(mapping: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Blocks of unknown `search` with the likeliest one, so that other faults are told too."""
    survey = mapping.get("survey")
    if not isinstance(survey, list):
        return mapping, []
    blocks, found = [], []
    for i, block in enumerate(survey):
        if isinstance(block, dict) and block.get("search") not in faults.SEARCHES:
            path, allowed = ("survey", i, "search"), f"one of {', '.join(faults.SEARCHES)}"
            if "search" in block:
                text = f"found {faults.written(block['search'])}"
                remedy = faults.near_miss(block["search"], faults.SEARCHES)
                found.append(Fault(path, text, allowed, remedy))
            elif not any(faults.near_miss(key, ["search"]) for key in block):
                found.append(Fault(path, "this key is missing", allowed))
            guess = "rows" if "rows" in block else "random" if "draws" in block else "grid"
            block = {**block, "search": guess}  # noqa: PLW2901
        blocks.append(block)
    return {**mapping, "survey": blocks}, found
