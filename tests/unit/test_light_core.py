"""`pip install sensigap` without extras: networks of one's own are measured with four packages.

The light installation is played in a process whose imports find nothing but these packages, what
they need in turn, and this package.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from readme_helpers import README, check_own_networks, own_networks_code

SOURCE = README.parent / "src"
PROJECT = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]
CORE = {"numpy", "safetensors", "scipy", "torch"}

#: finds modules of the allowed distributions only, and has sensigap import `core` only
HOOK = """
import builtins, json, os, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

told = json.loads(os.environ["LIGHT"])
hidden, core = set(told["hidden"]), {*told["core"], "sensigap", *sys.stdlib_module_names}


class Light:
    @staticmethod
    def find_spec(name, path=None, target=None):
        hides = name.partition(".")[0] in hidden
        return None if hides else PathFinder.find_spec(name, path, target)


def light_import(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    top = name.partition(".")[0]
    if level == 0 and importer.partition(".")[0] == "sensigap" and top not in core:
        raise ModuleNotFoundError(f"{importer} imports {top}", name=top)
    return original(name, globals, locals, fromlist, level)


original, builtins.__import__ = builtins.__import__, light_import
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Light]
"""


def closure(names):
    """Distributions and all that they require, by canonical names."""
    found, waiting = set(), {(canonicalize_name(name), "") for name in names}
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, requires):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted = canonicalize_name(requirement.name)
                waiting |= {(wanted, ""), *((wanted, more) for more in requirement.extras)}
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def run_light():
    """Runs code with the light installation; returns what it printed."""
    allowed = closure(CORE)
    hidden = [
        module
        for module, distributions in metadata.packages_distributions().items()
        if module != "sensigap" and not allowed & set(map(canonicalize_name, distributions))
    ]
    assert {"xarray", "zarr", "pandas", "pydantic", "yaml", "matplotlib"} <= set(hidden)
    assert not {"numpy", "scipy", "torch", "safetensors", "sympy", "filelock"} & set(hidden)

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", HOOK + code],
            env=os.environ
            | {
                "PYTHONPATH": str(SOURCE),
                "LIGHT": json.dumps({"hidden": hidden, "core": sorted(CORE)}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_without_extras_four_packages_are_required():
    names = {re.match(r"[\w-]+", requirement).group() for requirement in PROJECT["dependencies"]}
    assert names == CORE


def test_the_light_core_imports(run_light):
    folder = SOURCE / "sensigap"
    modules = [
        "networks",
        "modules",
        "tensors",
        "isolation",
        "weights",
        "spec",
        "units",
        "seeds",
        "files",
        "integrity",
    ]
    modules += [
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((folder / "measures").rglob("*.py"))
        if "cohort" not in path.parts
    ]
    modules += ["training.devices"]
    assert "measures.polygons.walk" in modules
    assert len(modules) > 25
    run_light("".join(f"import sensigap.{module}\n" for module in modules))


def test_the_readmes_lines_for_networks_of_ones_own_run_in_the_light_core(run_light):
    check_own_networks(run_light(own_networks_code()))


def test_weights_are_written_and_read_in_the_light_core(run_light, tmp_path):
    code = f"""
import torch
from sensigap import networks, weights
from sensigap.spec import NetworkSpec

spec = NetworkSpec(dataset="own", train_size=8, depth=1, width=4, unit="relu", optimizer="sgd",
                   learning_rate=0.1, batch_size=8, gain=1.0, steps=1, seed=0)
stack = networks.initial([spec], 6, 3)
weights.save({str(tmp_path / "w.safetensors")!r}, [([spec], stack)])
(read,) = weights.load({str(tmp_path / "w.safetensors")!r})
print(read[0] == [spec], torch.equal(read[1].weights[0], stack.weights[0]))
"""
    assert run_light(code).split() == ["True", "True"]


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("import sensigap.survey", "xarray"),
        ("import sensigap.config", "pydantic"),
        (
            "from sensigap.training import devices\nwith devices.exclusive('x', 'y'): pass",
            "filelock",
        ),
    ],
)
def test_the_play_hides_what_the_light_core_lacks(run_light, tmp_path, monkeypatch, code, missing):
    monkeypatch.chdir(tmp_path)
    tried = f"""
import torch, filelock, jinja2  # torch's own, and so there
try:
    exec({code!r}, {{"__name__": "sensigap.played"}})
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run_light(tried).split() == [missing]


def test_every_package_that_the_library_imports_is_required():
    """In the core or in [study]; the test environment would hide one that is not."""
    distributions = metadata.packages_distributions()
    required = {
        canonicalize_name(Requirement(requirement).name)
        for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["study"]
    }
    known = {*required, "sensigap", "markupsafe", "typing-extensions"}  # jinja2's and pydantic's
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                found = set(map(canonicalize_name, distributions.get(name.split(".")[0], [])))
                assert not found or found & known, f"{path}: {name}"
