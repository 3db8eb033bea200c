"""Faults of a configuration, told so that a person can mend them."""

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from sensigap.config.models import Study
from sensigap.datasets.places import printable

Path = tuple[str | int, ...]

#: the kinds of blocks of a survey
SEARCHES = ("grid", "random", "rows")
UNKNOWN_KEY = "unknown key"
#: what the JSON schema calls values that are neither lists nor mappings
_SINGLE = ("integer", "number", "boolean", "string")
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
_WITH_POINT = "YAML reads an exponent only with a point and a sign, as in 1.0e-3"
# Python refuses to read thousands of digits
_WHOLE, _FRACTION = re.compile(r"[+-]?\d{1,40}"), re.compile(r"[+-]?\d{1,40}\.\d*")


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault: where it is, what was found there, what is allowed, and how to mend it."""

    path: Path
    found: str
    allowed: str
    remedy: str = ""
    #: file and line, where the fault is one of the text
    place: str = ""

    def __str__(self) -> str:
        parts = [self.found, f"allowed: {self.allowed}", self.remedy]
        path = [written_path(self.path)] if self.path or not self.place else []
        where = ": ".join([*([self.place] if self.place else []), *path])
        # names of files and keys may hold anything
        return printable(f"{where}: {'; '.join(part for part in parts if part)}")


class ConfigError(ValueError):
    """A configuration has faults; the message names every one of them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        lines = [f"The configuration has {count}:"]
        lines += [f"  {number}. {fault}" for number, fault in enumerate(faults, 1)]
        lines.append("config/README.md explains every key.")
        super().__init__("\n".join(lines))


def written_path(path: Path) -> str:
    """A key's full path as one writes it: `survey[0].axes.width[1]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "the configuration"


def written(value: Any) -> str:
    """A value as one would write it in YAML, shortened, with its kind where that may surprise."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            # one line, whatever the text holds
            text = '"' + (value if value.isprintable() else repr(value)[1:-1]) + '"'
        case dict():
            text = "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
        case list():
            text = "[" + ", ".join(written(item) for item in value) + "]"
        case _:
            text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def near_miss(value: object, options: Iterable[str]) -> str:
    """The option that `value` was probably meant to be, as a question; '' if none is near."""
    near = difflib.get_close_matches(str(value).lower().replace("-", "_"), list(options), 1, 0.6)
    return f"did you mean {near[0]}?" if near else ""


# --- what the schema allows at a place ------------------------------------------------------------


@functools.cache
def schema() -> dict[str, Any]:
    """JSON schema of a study's configuration, from the models."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Study.model_json_schema(),
        "title": "Configuration of a study",
    }


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema node with its reference followed; other keys of the node win."""
    if "$ref" not in node:
        return node
    target = schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return {**resolved(target), **{key: value for key, value in node.items() if key != "$ref"}}


def without_null(node: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema node of the values that are not null, and whether null is allowed too."""
    node = resolved(node)
    kinds = [resolved(kind) for kind in node.get("anyOf", [])]
    others = [kind for kind in kinds if kind.get("type") != "null"]
    if len(others) != 1:
        return node, False
    return {**others[0], **{k: v for k, v in node.items() if k != "anyOf"}}, len(kinds) == 2


def node_at(path: Path, mapping: Any) -> Mapping[str, Any]:
    """The schema node at a path; blocks of the survey are told apart by their `search`."""
    node, value = resolved(schema()), mapping
    for step in path:
        value = _item(value, step)
        node, _ = without_null(node)
        if isinstance(step, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(step, node.get("additionalProperties") or {})
        if isinstance(node, Mapping) and "discriminator" in node:
            search = value.get("search") if isinstance(value, dict) else None
            target = node["discriminator"]["mapping"].get(search) if search in SEARCHES else None
            node = {"$ref": target} if target else {}
        if not isinstance(node, Mapping):
            return {}
    return resolved(node)


def _item(value: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return value[step] if isinstance(value, list) and step < len(value) else None
    return value.get(step) if isinstance(value, dict) else None


def allowed_text(node: Mapping[str, Any]) -> str:
    """What a schema node allows, in words."""
    node, null = without_null(node)
    text = _allowed(node)
    return f"null, or {text}" if null else text


def _allowed(node: Mapping[str, Any]) -> str:
    match node.get("type"):
        case "integer" | "number" as kind:
            whole = kind == "integer"
            multiple = f", a multiple of {node['multipleOf']}" if "multipleOf" in node else ""
            return f"{'a whole number' if whole else 'a number'}{bounds_text(node)}{multiple}"
        case "boolean":
            return "true or false"
        case "array":
            least = " with at least one item" if node.get("minItems") else ""
            items = resolved(node.get("items", {}))
            return f"a list{least}" + (
                "" if items.get("properties") else f", each {allowed_text(items)}"
            )
        case "object" if "properties" in node:
            return f"a mapping with keys among {', '.join(node['properties'])}"
        case "object":
            return "a mapping with at least one key, each the name of a data set"
        case "string" if "enum" in node:
            return f"one of {', '.join(node['enum'])}"
        case "string" if "const" in node:
            return str(node["const"])
        case "string" if "pattern" in node:
            return (
                f"at most {node['maxLength']} letters, digits, '.', '_' and '-', "
                "the first a letter or digit"
            )
        case "string":
            return "text, not empty"
    return "a mapping whose key search is one of grid, random, rows"


def bounds_text(node: Mapping[str, Any]) -> str:
    """The bounds of a number, in words: ' from 1 to 60000', ' above 0 and at most 1'."""
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']} to {node['maximum']}"
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    parts = [f"{word} {node[key]}" for key, word in words.items() if key in node]
    return f" {' and '.join(parts)}" if parts else ""


# --- pydantic's errors as faults ------------------------------------------------------------------


def from_pydantic(error: ValidationError, mapping: Mapping[str, Any]) -> list[Fault]:
    """The faults that pydantic found, told in the terms of the YAML file."""
    faults, missing = [], []
    for detail in error.errors(include_url=False, include_context=False):
        path = _path(detail["loc"])
        if detail["type"] == "missing":
            missing.append(path)
        elif detail["type"] == "extra_forbidden" or detail["loc"][-1] == "[key]":
            faults.append(_unknown_key(path, mapping))
        else:
            node = node_at(path, mapping)
            faults.append(
                Fault(
                    path,
                    f"found {written(detail['input'])}",
                    allowed_text(node),
                    _remedy(detail["input"], path, mapping),
                )
            )
    unknown = {fault.path for fault in faults if fault.found == UNKNOWN_KEY}
    faults = [fault for fault in faults if fault.found == UNKNOWN_KEY or fault.path not in unknown]
    for path in missing:
        # a misspelt key is one fault, not a second one for the key that it should have been
        wanted = f"did you mean {path[-1]}?"
        if not any(f.path[:-1] == path[:-1] and f.remedy == wanted for f in faults):
            faults.append(Fault(path, "this key is missing", allowed_text(node_at(path, mapping))))
    return faults


def _path(location: tuple[str | int, ...]) -> Path:
    """Pydantic's location without the tag of a survey block and its mark of a mapping's key."""
    path = tuple(step for step in location if step != "[key]")
    return path[:2] + path[3:] if path[0] == "survey" and len(path) > 2 else path


def _unknown_key(path: Path, mapping: Mapping[str, Any]) -> Fault:
    parent, _ = without_null(node_at(path[:-1], mapping))
    keys = list(parent["properties"])
    present = _at(mapping, path[:-1])
    free = [key for key in keys if key not in present] if isinstance(present, dict) else keys
    remedy = near_miss(path[-1], free) or near_miss(path[-1], keys)
    return Fault(path, UNKNOWN_KEY, ", ".join(keys), remedy)


def _at(mapping: Any, path: Path) -> Any:
    value = mapping
    for step in path:
        value = _item(value, step)
    return value


def _remedy(value: Any, path: Path, mapping: Mapping[str, Any]) -> str:
    """What the writer of a faulty value probably meant; '' where that cannot be told.

    What it says to write has no fault by itself.
    """
    node, _ = without_null(node_at(path, mapping))
    kind = node.get("type")
    if value is None:
        return _for_null(path, node, mapping)
    if kind == "array":
        return _as_list(value, path, node)
    if isinstance(value, list) and kind in ("integer", "number", "boolean", "string"):
        return "one value here; lists of values stand under axes"
    if path[0] == "survey" and len(path) == 2 and not isinstance(value, dict):
        return f"write {_block(value)}"
    return _as_single(value, path, node)


def _for_null(path: Path, node: Mapping[str, Any], mapping: Mapping[str, Any]) -> str:
    """What to write in the place of null."""
    if isinstance(path[-1], int) and node.get("type") != "object":
        return "take it out of the list" if len(_at(mapping, path[:-1])) > 1 else ""
    parent, _ = without_null(node_at(path[:-1], mapping))
    if path[-1] in parent.get("required", []):
        return ""
    if node.get("type") != "object":
        return "leave the key out for its default"
    empty = "properties" in node and not node.get("required")
    return "write {} to take every default" if empty else ""


def _as_list(value: Any, path: Path, node: Mapping[str, Any]) -> str:
    """How what is no list is written where one stands."""
    items, _ = without_null(node.get("items", {}))
    if items.get("type") not in _SINGLE:
        # a list of mappings
        if isinstance(value, dict):
            return "make it a list: put - before its first key, or [ ] around it"
        return f"write [{_block(value) if path == ('survey',) else '{width: 16, depth: 2}'}]"
    if _is_exponent(value, items):
        return _WITH_POINT
    meant = _meant(value, items)
    return f"write [{written(meant)}]" if _fits(meant, items) else ""


def _block(value: Any) -> str:
    """A block of the survey as an example, of the kind that a text names."""
    match value:
        case "random":
            return "{search: random, draws: 2, axes: {width: [16, 32]}}"
        case "rows":
            return "{search: rows, rows: [{width: 16, depth: 2}]}"
    return "{search: grid, axes: {width: [16, 32]}}"


def _as_single(value: Any, path: Path, node: Mapping[str, Any]) -> str:
    """How one value is written where one stands."""
    options = node.get("enum", [])
    if _is_exponent(value, node):
        return _WITH_POINT
    meant = _meant(value, node)
    if type(meant) is type(value) or not _fits(meant, node):
        return near_miss(value, options) if options else ""
    if isinstance(value, bool) and options:
        return f"write {written(meant)} in quotes: without them YAML reads a truth value"
    if isinstance(value, str):
        return f"write {written(meant)} without quotes"
    if isinstance(meant, str):
        remedy = f"write {written(meant)} in quotes"
        if len(path) == 1:
            # Snakemake takes quotes away and reads a number all the same
            remedy += f", or on the command line --config '{path[0]}=!!str {meant}'"
        return remedy
    return f"write {written(meant)}"


def _is_exponent(value: Any, node: Mapping[str, Any]) -> bool:
    """Whether a number was meant that YAML reads as text."""
    number = node.get("type") in ("integer", "number")
    return number and isinstance(value, str) and _EXPONENT.fullmatch(value) is not None


def _meant(value: Any, node: Mapping[str, Any]) -> Any:
    """A value of the type that stands at a node, where it can be read so; else itself."""
    kind = node.get("type")
    match value:
        case bool() | int() | float() if kind == "string":
            return str(value).lower() if isinstance(value, bool) else written(value)
        case float() if kind == "integer" and value.is_integer():
            return int(value)
        case "true" | "false" if kind == "boolean":
            return value == "true"
        case str() if kind in ("integer", "number") and _WHOLE.fullmatch(value):
            return int(value)
        case str() if kind == "number" and _FRACTION.fullmatch(value):
            return float(value)
    return value


def _fits(value: Any, node: Mapping[str, Any]) -> bool:
    """Whether one value is allowed at a node."""
    match node.get("type"):
        case "string":
            return (
                isinstance(value, str)
                and value in node.get("enum", [value])
                and value == node.get("const", value)
                and re.search(node.get("pattern", ""), value) is not None
            )
        case "boolean":
            return isinstance(value, bool)
        case "integer" | "number" as kind:
            types = int if kind == "integer" else (int, float)
            return (
                isinstance(value, types)
                and not isinstance(value, bool)
                and node.get("minimum", value) <= value <= node.get("maximum", value)
                and value > node.get("exclusiveMinimum", -math.inf)
                and value < node.get("exclusiveMaximum", math.inf)
                and value % node.get("multipleOf", 1) == 0
            )
    return False


def in_file_order(faults: Iterable[Fault], mapping: Mapping[str, Any]) -> list[Fault]:
    """Faults in the order in which their places stand in the file; missing keys last."""

    def position(fault: Fault) -> tuple[int, ...]:
        places, value = [], mapping
        for step in fault.path:
            keys = list(value) if isinstance(value, dict) else []
            places.append(
                step if isinstance(step, int) else keys.index(step) if step in keys else len(keys)
            )
            value = _item(value, step)
        return tuple(places)

    return sorted(faults, key=position)
