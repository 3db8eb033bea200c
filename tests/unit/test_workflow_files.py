import ast
import re
import tomllib
from pathlib import Path

import pytest

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


def test_a_rule_has_a_script_of_its_name():
    for path in (REPOSITORY / "workflow/rules").glob("*.smk"):
        text = path.read_text()
        for rule, script in zip(
            re.findall(r"^rule (\w+):", text, re.M),
            re.findall(r'"\.\./scripts/(\w+)\.py"', text),
            strict=True,
        ):
            assert rule == script


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
