import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "workflow" / "support"))

from code_digest import code_digest  # noqa: E402


@pytest.fixture
def tree(tmp_path):
    files = {
        "src/sensitivity/__init__.py": "",
        "src/sensitivity/a.py": "from sensitivity import b\n\ndef f():\n    return b.x\n",
        "src/sensitivity/b.py": "x = 1\n",
        "src/sensitivity/c.py": "y = 1\n",
        "scripts/helper.py": "z = 1\n",
        "scripts/script.py": '"""Says what."""\nimport helper\nfrom sensitivity.a import f\nf()\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def digest(tree):
    return code_digest(tree / "scripts" / "script.py", tree / "src")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/sensitivity/b.py", "# a comment\nx   = 1\n"),
        (
            "src/sensitivity/a.py",
            'from sensitivity import b\n\ndef f():\n    """Doc."""\n    return b.x\n',
        ),
        (
            "scripts/script.py",
            '"""Other."""\nimport helper\nfrom sensitivity.a import f\nf()  # now\n',
        ),
        ("src/sensitivity/c.py", "y = 2\n"),
    ],
    ids=["comment", "docstring", "script's comment", "module that is not imported"],
)
def test_what_does_not_run_does_not_count(tree, name, text):
    before = digest(tree)
    (tree / name).write_text(text)
    assert digest(tree) == before


@pytest.mark.parametrize(
    "name",
    [
        "src/sensitivity/a.py",
        "src/sensitivity/b.py",
        "scripts/helper.py",
        "scripts/script.py",
        "src/sensitivity/__init__.py",
    ],
)
def test_whatever_runs_counts(tree, name):
    before = digest(tree)
    with (tree / name).open("a") as file:
        file.write("w = 3\n")
    assert digest(tree) != before


def test_stages_do_not_hang_on_each_other():
    """A change in the analysis must not train anything again, nor one in training the figures."""
    scripts, source = REPOSITORY / "workflow" / "scripts", REPOSITORY / "src"

    def imported(script):
        import code_digest as module

        seen, waiting = set(), [(scripts / script).resolve()]
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting.extend(module._read(path, (source, scripts), path.stat().st_mtime_ns)[1])
        return {str(path.relative_to(source)) for path in seen if source in path.parents}

    training, claims = imported("train.py"), imported("claims.py")
    assert "sensitivity/training/trainer.py" in training
    assert not any(
        "analysis" in path or "measures" in path or "config" in path for path in training
    )
    assert "sensitivity/analysis/claims.py" in claims
    assert not any(
        "training" in path or "measures" in path or "networks" in path for path in claims
    )
    for measure in ("jacobian", "transitions", "ellipses", "slices"):
        assert not any(
            "analysis" in path or "figures" in path for path in imported(f"{measure}.py")
        )
