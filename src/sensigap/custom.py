"""Measures of one's own: functions that a configuration names as `file.py:function`."""

import ast
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

#: what jobs can import and the process that plans them may not, where conda makes theirs
_OF_JOBS = frozenset({"torch", "torchvision", "safetensors"})
#: this package's folder
_OURS = Path(__file__).resolve().parent


class CustomMeasureError(ValueError):
    """A function that is named is not there, cannot be imported, or does not return a number."""


def source(reference: str) -> Path:
    """The file of a function; nothing of it runs.

    Args:
        reference: `file.py:function`, the file from the working directory; or `module:function`,
            of a module in the working directory or on Python's path.

    Raises:
        CustomMeasureError: there is no such file, it does not define the function, or a module
            that it imports is not there.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise CustomMeasureError("it is not of the form file.py:function")
    path = Path(place).expanduser() if place.endswith(".py") else _of_module(place)
    if path is None or not path.is_file():
        raise CustomMeasureError(f"there is no {path or f'module {place}'} in {Path.cwd()}")
    tree = _parsed(path)
    defined = _defined(tree)
    if name not in defined:
        raise CustomMeasureError(
            f"{path} defines no {name}; it defines {', '.join(sorted(defined)) or 'nothing'}"
        )
    _check_imports(tree, path, {path.resolve()})
    return path


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise CustomMeasureError(f"{path} is not Python: {error}") from error


def _check_imports(tree: ast.Module, path: Path, seen: set[Path]) -> None:
    """Looks for what a file imports when it is loaded, also by way of files beside it.

    Packages are found by name and not imported, which takes seconds: what is not there within them
    is told when the job imports it, as is what a function, or a line under a condition, imports.
    """
    folder = path.resolve().parent
    for line, name in _imported(tree):
        if not name:
            raise CustomMeasureError(
                f"{path}:{line} imports relatively, and the file is loaded by itself: import by "
                "the name of the module or package"
            )
        if name in _OF_JOBS:
            continue
        try:
            found = importlib.util.find_spec(name) or PathFinder.find_spec(name, [str(folder)])
        except ValueError:  # it has been imported, and does not say from where
            continue
        if found is None:
            raise CustomMeasureError(
                f"{path}:{line} imports {name}, which is neither beside it nor installed: install "
                "it, or correct its name"
            )
        file = Path(found.origin or "").resolve()
        if file.parent == folder and file.suffix == ".py" and file not in seen:
            seen.add(file)
            beside = path.with_name(file.name)
            _check_imports(_parsed(beside), beside, seen)


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module's own lines import: the line and the top-level name, '' where relative."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "" if node.level else str(node.module).partition(".")[0]


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
        CustomMeasureError: as `source`, the file fails when it is imported, or it is not callable.
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
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CustomMeasureError(
            f"{failed_at(error, path) or path} fails when it is imported: {in_words(error)}. "
            f"Expected a file that Python imports; try python {path}"
        ) from error
    function = getattr(module, name)
    if not callable(function):
        raise CustomMeasureError(f"{name} of {path} is {function!r}: expected a function")
    found: Callable[..., Any] = function
    return found


def failed_at(error: BaseException, path: Path) -> str:
    """Where a function failed, as 'mine.py:12'; '' where none of its lines ran.

    Args:
        error: what was raised.
        path: the file that names the function. The last of its lines that ran counts; a function
            that it only imports has none, and then the first line that is not of this package.
    """
    ran = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [line for file, line in ran if file.resolve() == path.resolve()]
    if own:
        return f"{path}:{own[-1]}"
    others = (f"{file}:{line}" for file, line in ran if _OURS not in file.resolve().parents)
    return next(others, "")


def in_words(error: BaseException) -> str:
    """An exception on one line: its kind, and what it says."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind
