"""Whether an environment has what the workflow needs: `make` asks this of one that it is given.

It runs with that environment's Python, which may be an old one without any package, and writes
nothing: `python -B check_environment.py study`.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def requirements(project: dict, extra: str) -> list[str]:
    """What `pip install .[extra]` requires, extras of the package itself unfolded.

    Args:
        project: the table `project` of pyproject.toml.
        extra: one of its optional-dependencies.
    """
    found = dict.fromkeys(project["dependencies"])
    for requirement in project["optional-dependencies"][extra]:
        name, _, extras = requirement.partition("[")
        if name == project["name"]:
            for other in extras.rstrip("]").split(","):
                found.update(dict.fromkeys(requirements(project, other.strip())))
        else:
            found[requirement] = None
    return list(found)


def lacking(required: list[str]) -> list[str]:
    """What is wrong, a line for each of `required` that is not installed or of another version."""
    # Snakemake brings it; an environment without it is not whole, which the names are enough to say
    versions_too = importlib.util.find_spec("packaging") is not None
    if not versions_too:
        required = [*required, "packaging"]
    problems = []
    for requirement in required:
        name = re.split(r"[^\w-]", requirement, maxsplit=1)[0]
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            problems.append(f"{requirement}: not found")
        else:
            if versions_too and not _meets(version, requirement.removeprefix(name)):
                problems.append(f"{requirement}: found {version}")
    return problems


def _meets(version: str, asked: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(asked).contains(version, prereleases=True)


def main(extra: str) -> int:
    """Says what is missing and how to install it.

    Args:
        extra: the part of the package's optional dependencies that is needed.

    Returns:
        An exit code.
    """
    python = sys.executable
    if sys.version_info < (3, 11):  # noqa: UP036 - this may be run by any Python
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"{python} is Python {found}: expected 3.11 or later", file=sys.stderr)
        return 1
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    problems = lacking(requirements(project, extra))
    if not problems:
        return 0
    lines = "\n".join(f"  {problem}" for problem in problems)
    options = f"--constraint constraints.txt --editable '.[{extra}]'"
    print(
        f"The environment of {python} lacks what is needed here:\n{lines}\n"
        "make installs nothing into an environment that it is given. Either install it yourself:\n"
        f"  {shlex.quote(python)} -m pip install {options}\n"
        "or leave VENV out: make then makes an environment of its own in .venv.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
