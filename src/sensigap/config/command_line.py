"""Values that `--config` gives: Snakemake hands over every number inside of one as text."""

import re
from collections.abc import Mapping
from typing import Any

from sensigap.config.faults import Path, node_at, without_null

_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def typed(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the values from the command line as what their keys hold.

    `--config 'defaults={steps: 10}'` arrives as the text "10", with or without quotes, so the key
    decides what it is. Text in a configuration file stays text: its quotes were written.

    Args:
        config: the whole configuration, the values of the command line in it.
        given: the part that the command line gave.
    """
    return {key: _chosen(config[key], given.get(key), (str(key),), config) for key in config}


def _chosen(value: Any, given: Any, path: Path, config: Mapping[str, Any]) -> Any:
    """A value whose texts are read where the command line gave them."""
    if given is None:
        return value
    if isinstance(value, Mapping) and isinstance(given, Mapping):
        return {
            key: _chosen(item, given.get(key), (*path, str(key)), config)
            for key, item in value.items()
        }
    if isinstance(value, list) and isinstance(given, list) and len(value) == len(given):
        # a list is taken as a whole
        return [
            _chosen(item, part, (*path, k), config)
            for k, (item, part) in enumerate(zip(value, given, strict=True))
        ]
    return _read(value, path, config) if isinstance(value, str) else value


def _read(text: str, path: Path, config: Mapping[str, Any]) -> Any:
    """What a text stands for at its place; itself where it stands for nothing else."""
    node, null = without_null(node_at(path, config))
    kind = node.get("type")
    if null and text in ("null", "~", ""):
        return None
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    # more digits are no number of a study, and Python refuses thousands of them
    if kind in ("integer", "number") and len(text) <= 40:
        if _WHOLE.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            return float(text)
    return text
