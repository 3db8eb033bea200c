import ast
import itertools
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from sensigap.declarations import MEASURES

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = sorted((REPOSITORY / "workflow" / "scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_only_a_guard_says_snakemake(script):
    tree = ast.parse(script.read_text())
    guarded = next((node for node in tree.body if isinstance(node, ast.If)), None)
    outside = [node for node in tree.body if node is not guarded]
    names = {n.id for node in outside for n in ast.walk(node) if isinstance(n, ast.Name)}
    assert guarded is not None
    assert "snakemake" not in names


def test_the_library_does_not_know_the_workflow_engine():
    for path in (REPOSITORY / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
            )
        }
        assert "snakemake" not in imported, path


def rules():
    """(name, body) of every rule; '' for those that a loop derives."""
    files = [REPOSITORY / "Snakefile", REPOSITORY / "workflow/Snakefile"]
    found = []
    for path in [*files, *sorted((REPOSITORY / "workflow/rules").glob("*.smk"))]:
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            begins = re.fullmatch(r"( *)rule ?(\w*):", line)
            if begins:
                indent = len(begins.group(1))
                body = list(
                    itertools.takewhile(
                        lambda inner, indent=indent: (
                            not inner or inner.startswith(" " * (indent + 4))
                        ),
                        lines[number + 1 :],
                    )
                )
                found.append((begins.group(2), "\n".join(body)))
    return found


@pytest.mark.parametrize(("name", "body"), rules(), ids=[name or "measures" for name, _ in rules()])
def test_a_rule_says_what_it_does_and_has_a_script_of_its_name(name, body):
    assert body.lstrip().startswith('"""')
    assert "message:" in body
    scripts = re.findall(r'"\.\./scripts/(\w+)\.py"', body)
    assert scripts in ([name or "measure"], [])
    assert bool(scripts) == (name not in ("all", "study", "stale"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin(script):
    guarded = script.read_text().partition('if __name__ == "__main__":')[2]
    assert len(guarded.strip().splitlines()) <= 25


def test_profiles_name_rules_that_exist():
    for path in (REPOSITORY / "profiles").glob("*/config.yaml"):
        profile = yaml.safe_load(path.read_text())
        known = {name for name, _ in rules() if name} | set(MEASURES)
        for key in ("set-resources", "set-threads"):
            assert set(profile.get(key, {})) <= known, path
        assert profile["rerun-triggers"] == ["mtime", "params"]
        assert "logger" not in profile
        # a command line's `--set-resources` would drop what stands there
        assert not profile.get("set-resources"), path


def profile(name):
    return yaml.safe_load((REPOSITORY / "profiles" / name / "config.yaml").read_text())


def test_the_two_slurm_profiles_differ_in_gpus_alone():
    gpus, cpus = profile("slurm"), profile("slurm-cpu")
    assert cpus.pop("resources") == {"gpu": 0}
    assert cpus == gpus


def test_profiles_agree_but_for_their_scheduler():
    """Each takes the default profile's place, so what they share stands in each of them."""
    own = ("executor", "jobs", "resources", "default-resources", "jobscript")
    common, *others = (
        {
            key: value
            for key, value in profile(name).items()
            if key not in own and not key.startswith(("slurm", "cluster-generic"))
        }
        for name in ("slurm", "pbs", "sge", "generic")
    )
    common.pop("max-status-checks-per-second")
    for other in others:
        other.pop("seconds-between-status-checks", None)
        assert other == common
    assert profile("default").items() <= common.items()
    asked = profile("slurm")["default-resources"]
    for name in ("pbs", "sge", "generic"):
        assert profile(name)["default-resources"] == asked | {"gpu": 0}


def test_the_conda_environment_has_the_same_pins():
    pins = dict(
        line.lower().split("==") for line in (REPOSITORY / "constraints.txt").read_text().split()
    )
    listed = re.findall(r"- ([\w-]+)==(\S+)", (REPOSITORY / "envs/sensigap.yaml").read_text())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert {name for name, _ in listed} == {
        re.match(r"[\w-]+", requirement).group()
        for requirement in project["dependencies"] + project["optional-dependencies"]["study"]
    }
    assert {name: pins[name] for name, _ in listed} == dict(listed)


def test_what_a_pilot_needs_comes_before_all_other_training():
    """A data set that is prepared last lets its pilot wait behind networks that are none."""
    first = dict(rules())
    for name in ("dataset", "cohort"):
        assert re.search(r"^ +priority: 100$", first[name], re.MULTILINE), name
    (pilot, others) = re.search(
        r"priority: lambda wildcards: (\d+) if .* else (\d+)", first["train"]
    ).groups()
    assert 100 > int(pilot) > int(others)
