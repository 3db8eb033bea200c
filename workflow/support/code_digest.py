"""A digest of the code that a stage runs: what must change for the stage to run again.

Snakemake's own `code` trigger reruns a stage for a comment in its script, and does not see the
library at all. This digest covers a script and every module of the library that it imports,
directly or not, as syntax trees without docstrings, and the files other than Python beside them
(templates, styles): comments, docstrings and layout do not count. Packages count by the modules
imported from them, not by what their `__init__` lists besides.
"""

import ast
import functools
import hashlib
from pathlib import Path

#: modules that decide no number: who a network is (which shows in its id), how stores are described
#: and files kept, how far a job is. Their imports count all the same.
NO_RESULTS = (
    "sensigap/spec.py",
    "sensigap/schema.py",
    "sensigap/survey.py",
    "sensigap/integrity.py",
    "sensigap/files.py",
    "sensigap/progress.py",
    "sensigap/training/checkpoints.py",
    "sensigap/training/devices.py",
    "support/job.py",
)
#: modules that take only names from what they import: that does not count for their sake
NAMES_ALONE = ("sensigap/schema.py",)


def code_digest(script: Path, source: Path) -> str:
    """Sixteen hexadecimal digits for `script` and all that it imports of the package in `source`.

    Args:
        script: a Python file; the modules beside it and in ../support are found too.
        source: the folder that holds the package.

    Raises:
        SyntaxError: a module is not valid Python.
    """
    parts = []
    for path in imported(script, source):
        if not path.as_posix().endswith(NO_RESULTS):
            parts.append(f"{path.name}:{_read(path, path.stat().st_mtime_ns)[0]}")
            if source in path.parents:
                parts += [
                    f"{beside.name}:{hashlib.sha256(beside.read_bytes()).hexdigest()}"
                    for beside in path.parent.iterdir()
                    if beside.suffix in (".html", ".css", ".mplstyle")
                ]
    return hashlib.sha256("\n".join(sorted(set(parts))).encode()).hexdigest()[:16]


def imported(script: Path, source: Path) -> set[Path]:
    """`script` and the files of all modules that it imports, directly or not.

    Imports of `NAMES_ALONE` are left out.
    """
    roots = (source, script.parent, script.parent.parent / "support")
    seen: set[Path] = set()
    waiting = [script.resolve()]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            if path.as_posix().endswith(NAMES_ALONE):
                continue
            for name, attribute in _read(path, path.stat().st_mtime_ns)[1]:
                # `from package import name`: a module of that name, else the package's own file
                found = _file(f"{name}.{attribute}", roots) or _file(name, roots)
                waiting += [found] if found else []
    return seen


@functools.cache
def _read(path: Path, _mtime: int) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The digest of one module, and what it imports: (module, name in it, '' for none)."""
    tree = ast.parse(path.read_text(), path)
    imports: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imports += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            _strip_docstring(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imports)


def _strip_docstring(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module,
) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        node.body = node.body[1:]


def _file(module: str, roots: tuple[Path, ...]) -> Path | None:
    """The file of a module that is ours."""
    for root in roots:
        place = root.joinpath(*module.strip(".").split("."))
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path.resolve()
    return None
