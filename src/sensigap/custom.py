"""Measures of one's own: functions that a configuration names as `file.py:function`."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class CustomMeasureError(ValueError):
    """A function that is named is not there, or does not return a number."""


def source(reference: str) -> Path:
    """The file of a function.

    Args:
        reference: `file.py:function`, the file from the working directory; or `module:function`,
            of a module in the working directory or on Python's path.

    Raises:
        CustomMeasureError: there is no such file, or it does not define the function.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise CustomMeasureError("it is not of the form file.py:function")
    path = Path(place).expanduser() if place.endswith(".py") else _of_module(place)
    if path is None or not path.is_file():
        raise CustomMeasureError(f"there is no {path or f'module {place}'} in {Path.cwd()}")
    try:
        defined = _defined(ast.parse(path.read_bytes()))
    except (SyntaxError, ValueError) as error:
        raise CustomMeasureError(f"{path} is not Python: {error}") from error
    if name not in defined:
        raise CustomMeasureError(
            f"{path} defines no {name}; it defines {', '.join(sorted(defined)) or 'nothing'}"
        )
    return path


def _of_module(name: str) -> Path | None:
    here = Path(*name.split(".")).with_suffix(".py")
    if here.is_file():
        return here
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found and found.origin else None


def _defined(tree: ast.Module) -> set[str]:
    """The names that a module's own lines define or import."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def digest(reference: str) -> str:
    """Sixteen hexadecimal digits of the function's file: when it changes, it is measured again.

    What the file imports does not count.

    Raises:
        CustomMeasureError: as `source`.
    """
    return hashlib.sha256(source(reference).read_bytes()).hexdigest()[:16]


def load(reference: str) -> Callable[..., Any]:
    """The function, from its file; the file may import what lies beside it.

    Raises:
        CustomMeasureError: as `source`, or it is not callable.
    """
    path = source(reference)
    name = reference.rpartition(":")[2]
    spec = importlib.util.spec_from_file_location(f"sensigap_custom_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise CustomMeasureError(f"{path} cannot be imported: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    spec.loader.exec_module(module)
    function = getattr(module, name)
    if not callable(function):
        raise CustomMeasureError(f"{name} of {path} is {function!r}: expected a function")
    found: Callable[..., Any] = function
    return found
