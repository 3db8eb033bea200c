"""A digest of the code that a stage runs: what must change for the stage to run again.

Snakemake's own `code` trigger reruns a stage for a comment in its script, and does not see the
library at all. This digest covers a script and every module of the library that it imports,
directly or not, as syntax trees without docstrings: comments, docstrings and layout do not count.
"""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = "sensitivity"


def code_digest(script: Path, source: Path) -> str:
    """Sixteen hexadecimal digits for `script` and all that it imports of the package in `source`.

    Args:
        script: a Python file.
        source: the folder that holds the package, or modules beside the script.

    Raises:
        SyntaxError: a module is not valid Python.
    """
    roots = (source, script.parent)
    seen: dict[Path, str] = {}
    waiting = [script.resolve()]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path], imports = _read(path, roots, path.stat().st_mtime_ns)
            waiting.extend(imports)
    parts = sorted(f"{path.name}:{digest}" for path, digest in seen.items())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@functools.cache
def _read(path: Path, roots: tuple[Path, ...], _mtime: int) -> tuple[str, tuple[Path, ...]]:
    """The digest of one module and the files that it imports."""
    tree = ast.parse(path.read_text(), path)
    imports: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports |= _files(alias.name, roots)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imports |= _files(node.module, roots)
            for alias in node.names:  # a name may be a module of the package
                imports |= _files(f"{node.module}.{alias.name}", roots)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            _strip_docstring(node)
    if isinstance(tree, ast.Module):
        _strip_docstring(tree)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(sorted(imports))


def _strip_docstring(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module,
) -> None:
    if (
        node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    ):
        node.body = node.body[1:]


def _files(module: str, roots: tuple[Path, ...]) -> set[Path]:
    """The file of a module and the `__init__` of every package above it, where they are ours."""
    found: set[Path] = set()
    parts = module.split(".")
    for root in roots:
        for length in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:length])
            for path in (place.with_suffix(".py"), place / "__init__.py"):
                if path.is_file():
                    found.add(path.resolve())
    return found
