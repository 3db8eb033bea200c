"""The text of a configuration file, looked at before its values are used.

Snakemake reads the file with PyYAML before any rule of this project: duplicate keys are merged
without a word and `017` is 15. So the text is read again here, as nodes that know their lines.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import yaml

from sensigap.config.faults import ConfigError, Fault, Path, written

# ASSUME: a study stands in a file of 1 MiB, some 30,000 networks one by one; the deepest key of a
# study lies 7 levels deep, and no study holds a million values.
_MOST_BYTES = 2**20
_MOST_LEVELS = 50
_MOST_VALUES = 1_000_000

#: libyaml's reader is ten times faster, where PyYAML has it
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"
#: how YAML 1.2 (its core schema) reads an unquoted value that is no text
_CORE = (
    (re.compile(r"~|null|Null|NULL|"), lambda text: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda text: math.nan),
)


def check_file(path: str | File) -> None:
    """Checks a configuration file before its values are used.

    Args:
        path: a YAML file, or a JSON file.

    Raises:
        ConfigError: there is no such file, it cannot be read, it is no single plain mapping, a key
            stands in it twice, or a value is read otherwise by YAML 1.1 than by YAML 1.2. Each
            fault is told with file and line.
    """
    check_text(_text(File(path)), str(path))


def check_text(text: str, name: str) -> None:
    """Checks the text of a configuration file, see `check_file`.

    Args:
        text: the file's text.
        name: how the file is named in faults.

    Raises:
        ConfigError: the text has faults.
    """
    if len(text) > _MOST_BYTES:
        raise _one(
            name,
            f"found {len(text):,} characters",
            f"at most {_MOST_BYTES:,}",
            "combine values under axes instead of listing networks as rows",
        )
    if not text.strip("\ufeff \t\r\n"):
        raise _one(name, "found an empty file", "a study, as config/README.md explains")
    try:
        if text.lstrip().startswith("{") and _is_json(text, name):
            return
        _check_events(text, name)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise _unreadable(error, name) from None
    except RecursionError:
        raise _too_deep(name) from None
    if not isinstance(root, yaml.MappingNode):
        kind = "nothing but comments" if root is None else "a list"
        kind = "one value" if isinstance(root, yaml.ScalarNode) else kind
        raise _one(name, f"found {kind}", "a mapping of keys to values, as study: demo")
    _check_size(root, name)
    faults = list(_faults(root, name, (), set()))
    if faults:
        raise ConfigError(faults)


def _text(path: File) -> str:
    """What a file holds."""
    try:
        if not path.is_file():
            found = "nothing"
            if path.is_dir():
                found = "a folder"
            elif path.exists():
                found = "a device or a pipe, which can be read only once"
            elif path.is_symlink():
                found = f"a link to {path.readlink()}, where nothing is"
            raise _one(
                str(path),
                f"found {found} there",
                f"a configuration file (YAML) in {File.cwd()}",
                "correct --configfile; config/ holds the studies of this project",
            )
        if path.stat().st_size > 4 * _MOST_BYTES:
            raise _one(
                str(path),
                f"found {path.stat().st_size:,} bytes",
                f"at most {_MOST_BYTES:,}",
                "combine values under axes instead of listing networks as rows",
            )
        return path.read_bytes().decode("utf-8")
    except ConfigError:  # which is a ValueError too
        raise
    except UnicodeDecodeError as error:
        raise _one(
            str(path),
            f"found a byte that is not UTF-8 (0x{error.object[error.start]:02x}, byte "
            f"{error.start + 1})",
            "text in UTF-8",
            "save the file as UTF-8",
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        allowed = "a file that this user may read"
        raise _one(str(path), f"cannot be read: {reason}", allowed) from None


def _one(
    name: str, found: str, allowed: str, remedy: str = "", line: int | None = None
) -> ConfigError:
    """The error of one fault, of the file as a whole or of a line."""
    place = name if line is None else f"{name}, line {line}"
    return ConfigError([Fault((), found, allowed, remedy, place=place)])


def _too_deep(name: str, line: int | None = None) -> ConfigError:
    return _one(
        name,
        f"found values nested more than {_MOST_LEVELS} levels deep",
        "mappings and lists as config/README.md explains them, 7 levels at most",
        line=line,
    )


def _unreadable(error: yaml.YAMLError, name: str) -> ConfigError:
    """PyYAML's complaint in one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    text = " ".join(f"{context + ': ' if context else ''}{problem}".split())
    remedy = ""
    if "\\t" in text or "cannot start any token" in text:
        remedy = "indent with spaces, not tabs, and quote text that starts with @, ` or %"
    elif "mapping values" in text:
        remedy = "quote text that holds ': ', and look at the indentation"
    return _one(
        name,
        f"is no YAML: {text}",
        "a YAML file, as config/config.yaml is one",
        remedy,
        line=None if mark is None else mark.line + 1,
    )


def _is_json(text: str, name: str) -> bool:
    """Whether the text is JSON, which Snakemake tries first; its duplicate keys are told."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                raise _one(name, f"found the key {written(key)} twice", "each key once")
            found[key] = value
        return found

    try:
        json.loads(text, object_pairs_hook=pairs)
    except ConfigError:
        raise
    except ValueError:
        return False
    return True


def _check_events(text: str, name: str) -> None:
    """Faults that are told before nodes are made: depth, tags, several documents."""
    level = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = _line(event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _one(
                    name,
                    "found a second document (---)",
                    "one study in a file",
                    "write each study into a file of its own",
                    line=line,
                )
        elif isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > _MOST_LEVELS:
                raise _too_deep(name, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _one(
                name, f"found the tag {tag}", "plain values without tags", "take it out", line=line
            )


def _check_size(root: yaml.Node, name: str) -> None:
    """Faults of aliases: of a value within itself, and of values that expand to very many.

    A few lines of aliases of aliases stand for more values than any memory holds.
    """
    known: dict[int, tuple[int, int]] = {}
    within: set[int] = set()

    def measured(node: yaml.Node, level: int) -> tuple[int, int]:
        """How many values a node expands to, and how many levels."""
        line = _line(node)
        if id(node) in within:
            raise _one(
                name,
                "found an alias (*) within the value that it stands for",
                "an alias of another value",
                line=line,
            )
        if id(node) not in known:
            if level > _MOST_LEVELS:
                raise _too_deep(name, line)
            within.add(id(node))
            count, height = 1, 0
            for child in _children(node):
                more, below = measured(child, level + 1)
                count, height = count + more, max(height, below)
            within.remove(id(node))
            known[id(node)] = count, height + 1
        count, height = known[id(node)]
        if level + height > _MOST_LEVELS + 1:
            raise _too_deep(name, line)
        if count > _MOST_VALUES:
            raise _one(
                name,
                f"found aliases (*) that expand to more than {_MOST_VALUES:,} values",
                "a study that fits into memory",
                line=line,
            )
        return count, height

    measured(root, 0)


def _line(node: yaml.Node | yaml.Event) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _faults(node: yaml.Node, name: str, path: Path, seen: set[int]) -> Iterator[Fault]:
    """Faults of single keys and values; what an alias stands for is looked at once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield from _reading(node, name, path)
    elif isinstance(node, yaml.SequenceNode):
        for k, item in enumerate(node.value):
            yield from _faults(item, name, (*path, k), seen)
    else:
        lines: dict[str, int] = {}
        for key, value in node.value:
            place = f"{name}, line {_line(key)}"
            if not isinstance(key, yaml.ScalarNode):
                yield Fault(path, "found a key that is no text", "keys as text", place=place)
                continue
            here = (*path, key.value)
            if key.value in lines:
                yield Fault(
                    here,
                    f"this key stands in line {lines[key.value]} already",
                    "each key once",
                    "put both together: YAML would drop the first without a word",
                    place=place,
                )
            lines.setdefault(key.value, _line(key))
            if key.value == "__use_yte__" and not path:
                yield Fault(here, "found a template (YTE)", "values as they are meant", place=place)
            elif key.tag == _MERGE:
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                if not all(isinstance(part, yaml.MappingNode) for part in parts):
                    yield Fault(
                        here,
                        "found no mapping",
                        "an alias (*) of a mapping, or a list of them",
                        place=place,
                    )
                    continue
            else:
                yield from _reading(key, name, here)
            yield from _faults(value, name, here, seen)


def _reading(node: yaml.ScalarNode, name: str, path: Path) -> Iterator[Fault]:
    """A value without quotes that YAML 1.1, which PyYAML reads, and YAML 1.2 read differently."""
    if node.style is not None and node.style != "":
        return
    text, place = node.value, f"{name}, line {_line(node)}"
    try:
        old, new = _yaml_1_1(node), _yaml_1_2(text)
    except (ValueError, yaml.YAMLError):
        # a date that is none, or a number of thousands of digits
        yield Fault(
            path,
            f"found {_short(text)} without quotes, which is no value",
            "a number, true, false, null, or text",
            f"write {written(text)} if text is meant" if len(text) < 60 else "",
            place=place,
        )
        return
    if type(old) is type(new) and (old == new or old != old):  # noqa: PLR0124 - NaN
        return
    readings = [_kind(old), _kind(new)]
    ways = list(dict.fromkeys(_way(value, text) for value in (old, new)))
    yield Fault(
        path,
        f"found {_short(text)} without quotes, {readings[0]} in YAML 1.1 and {readings[1]} in "
        "YAML 1.2",
        "what both read alike",
        f"write {' or '.join(ways)}",
        place=place,
    )


def _yaml_1_1(node: yaml.ScalarNode) -> Any:
    return yaml.constructor.SafeConstructor().construct_document(node)


def _yaml_1_2(text: str) -> Any:
    for pattern, read in _CORE:
        if pattern.fullmatch(text):
            return read(text)
    return text


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    """A value with its kind, for people."""
    match value:
        case bool():
            return f"the truth value {written(value)}"
        case int() | float():
            return f"the number {written(value)}"
        case str():
            return "text"
    return "a date"


def _way(value: Any, text: str) -> str:
    """How a value is written so that every reader reads it alike."""
    match value:
        case bool() | int():
            return written(value)
        case float():
            # a point and a sign, as YAML 1.1 wants it
            number = repr(value)
            mantissa, e, exponent = number.partition("e")
            return number if not e or "." in mantissa else f"{mantissa}.0e{exponent}"
    return written(text)
