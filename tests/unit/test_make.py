"""`make` with an environment of its own, and with one that it is given."""

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

import check_environment

REPOSITORY = Path(__file__).parents[2]
NEEDS_MAKE = pytest.mark.skipif(not shutil.which("make"), reason="no make")


@pytest.fixture
def make(tmp_path):
    """Runs make in a copy whose workflow/run.py only says how it was called."""
    copy = tmp_path / "copy"
    (copy / "workflow" / "support").mkdir(parents=True)
    for name in (
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "workflow/support/check_environment.py",
    ):
        shutil.copy(REPOSITORY / name, copy / name)
    (copy / "workflow" / "run.py").write_text("import sys\nprint('run.py', *sys.argv[1:])\n")
    # `make test` hands its own options on to whatever make its tests start
    ours = {"VENV", "ARGS", "CORES", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"}
    clean = {name: value for name, value in os.environ.items() if name not in ours}

    def run(*arguments, **environment):
        return subprocess.run(
            ["make", *arguments],
            cwd=copy,
            env=clean | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    run.folder = copy
    return run


@pytest.fixture
def bare(tmp_path):
    """An environment without any package."""
    folder = tmp_path / "an environment"
    venv.create(folder, with_pip=False, symlinks=True)
    return folder


def contents(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


@NEEDS_MAKE
@pytest.mark.parametrize("told", ["command line", "environment"])
@pytest.mark.parametrize(
    ("target", "extra"), [("run", "study"), ("plan", "study"), ("test", "test"), ("check", "dev")]
)
def test_nothing_is_installed_into_an_environment_that_is_named(make, bare, told, target, extra):
    before = contents(bare), contents(make.folder)
    named = {"VENV": str(bare)}
    done = make(target, **named) if told == "environment" else make(target, f"VENV={bare}")
    assert done.returncode != 0
    assert "run.py" not in done.stdout
    assert f"The environment of {bare}/bin/python lacks" in done.stderr
    assert re.search(r"^  torch>=\S+: not found$", done.stderr, re.M)
    assert re.search(r"^  snakemake\S+: not found$", done.stderr, re.M)
    command = f"'{bare}/bin/python' -m pip install --constraint constraints.txt"
    assert f"{command} --editable '.[{extra}]'" in done.stderr
    assert (contents(bare), contents(make.folder)) == before


@NEEDS_MAKE
def test_a_named_environment_that_is_none_is_an_error(make, tmp_path):
    done = make("run", f"VENV={tmp_path / 'none'}")
    assert done.returncode != 0
    assert f"{tmp_path / 'none'}/bin/python: expected the Python of an environment" in done.stderr
    assert not (tmp_path / "none").exists()
    assert not (make.folder / ".venv").exists()


@pytest.fixture
def able(tmp_path):
    """A folder whose bin/python is this Python, with all that the tests need."""
    folder = tmp_path / "able"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bin" / "python").chmod(0o755)
    return folder


@NEEDS_MAKE
@pytest.mark.parametrize(
    ("target", "called"), [("run", ""), ("plan", " --dry-run")], ids=["run", "plan"]
)
def test_a_named_environment_that_has_all_runs(make, able, target, called):
    before = contents(able)
    done = make(target, f"VENV={able}", "ARGS=--configfile config/mnist.yaml", "CORES=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"run.py --cores 3{called} --configfile config/mnist.yaml\n"
    assert contents(able) == before
    assert not (make.folder / ".venv").exists()


@NEEDS_MAKE
def test_a_home_folder_is_found(make, able):
    done = make("run", f"VENV=~/{able.name}", HOME=str(able.parent))
    assert done.stdout == "run.py --cores all\n", done.stderr


@NEEDS_MAKE
@pytest.mark.parametrize("arguments", [["run"], ["plan"], ["test"], ["run", "VENV="]])
def test_without_a_name_make_makes_its_own_environment(make, arguments):
    told = make("--dry-run", *arguments).stdout
    assert "python3 -m venv --clear .venv" in told
    assert "--constraint constraints.txt --editable '.[dev]'" in told
    assert "check_environment" not in told


def test_versions_are_checked(monkeypatch):
    versions = {"numpy": "1.26.4", "torch": "2.9.0a0", "scipy": "1.17.1"}

    def version(name):
        if name in versions:
            return versions[name]
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(check_environment.metadata, "version", version)
    required = ["numpy>=2.0", "torch>=2.8", "scipy>=1.14", "zarr>=3.0.8"]
    assert check_environment.lacking(required) == [
        "numpy>=2.0: found 1.26.4",
        "zarr>=3.0.8: not found",
    ]


def test_without_packaging_names_are_checked(monkeypatch):
    monkeypatch.setattr(check_environment.importlib.util, "find_spec", lambda name: None)
    assert check_environment.lacking(["numpy>=999", "no-such-package>=1"]) == [
        "no-such-package>=1: not found"
    ], "packaging is there but hidden, so only the names are compared"


def test_an_extra_of_extras_is_unfolded():
    project = {
        "name": "p",
        "dependencies": ["a>=1"],
        "optional-dependencies": {"x": ["b"], "y": ["p[x]", "c"], "z": ["p[x, y]", "d"]},
    }
    assert check_environment.requirements(project, "z") == ["a>=1", "b", "c", "d"]


def test_an_old_python_is_told(monkeypatch, capsys):
    monkeypatch.setattr(check_environment.sys, "version_info", (3, 9, 2, "final", 0))
    assert check_environment.main("study") == 1
    assert "is Python 3.9.2: expected 3.11 or later" in capsys.readouterr().err
