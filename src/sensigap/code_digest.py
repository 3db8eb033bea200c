"""A digest of the code that a stage runs: what must change for the stage to run again.

Snakemake's own `code` trigger reruns a stage for a comment in its script, and does not see the
library at all. This digest covers modules of the library, given by name, and every module of it
that they import, directly or not, as syntax trees without docstrings and annotations, and the
files other than Python beside them (templates, styles): comments, docstrings, layout, types and
what a hyper-parameter says of itself do not count. Packages count by the modules imported from
them, not by what their `__init__` lists besides.

There is no list of exceptions. A costly stage names the modules of its pure function, which import
nothing that reads, writes, locks or waits; a cheap one names all that its script imports.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

#: the folder that holds the package
SOURCE = Path(__file__).parents[1]
_BESIDE = (".html", ".css", ".mplstyle")


def code_digest(*roots: str | Path, source: Path = SOURCE) -> str:
    """Sixteen hexadecimal digits for modules and all that they import of the package.

    Args:
        roots: modules by name, or scripts by path.
        source: the folder that holds the package.

    Raises:
        ValueError: there is no such module, or one imports relatively.
        SyntaxError: a module is not valid Python.
    """
    parts = set()
    for path in imported(roots, source):
        parts.add(f"{path.name}:{_read(path, path.stat().st_mtime_ns)[0]}")
        if source in path.parents:
            parts |= {
                f"{beside.name}:{hashlib.sha256(beside.read_bytes()).hexdigest()}"
                for beside in path.parent.iterdir()
                if beside.suffix in _BESIDE
            }
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


def imported(roots: Iterable[str | Path], source: Path = SOURCE) -> set[Path]:
    """The files of `roots` and of all modules of the package that they import, directly or not.

    Args:
        roots, source: as for `code_digest`.

    Raises:
        ValueError, SyntaxError: as `code_digest`.
    """
    seen: set[Path] = set()
    waiting = [_root(root, source) for root in roots]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module, name in _read(path, path.stat().st_mtime_ns)[1]:
            found = (_file(f"{module}.{name}", source) if name else None) or _file(module, source)
            if found is not None:
                waiting.append(found)
    return seen


def _root(root: str | Path, source: Path) -> Path:
    if isinstance(root, Path):
        return root.resolve()
    found = _file(root, source)
    if found is None:
        raise ValueError(
            f"no module {root} under {source}: expected the name of one of its modules"
        )
    return found


@functools.cache
def _read(path: Path, modified: int) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The digest of one module, and what it imports: (module, name in it, '' for none)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), path)
    imports: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                imports += [(alias.name, "") for alias in node.names]
            case ast.ImportFrom(module=str(module), level=0):
                imports += [(module, alias.name) for alias in node.names]
            case ast.ImportFrom():
                raise ValueError(f"{path}, line {node.lineno}: import by the package's name")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                _strip_docstring(node)
                node.returns = None
            case ast.ClassDef() | ast.Module():
                _strip_docstring(node)
            case ast.arg():
                node.annotation = None
            case ast.AnnAssign():
                node.annotation = ast.Constant(None)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imports)


def _strip_docstring(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module,
) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        node.body = node.body[1:]


def _file(module: str, source: Path) -> Path | None:
    """The file of a module that is ours."""
    place = source.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path.resolve()
    return None
