from pathlib import Path

import pytest

from code_digest import code_digest, imported

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path):
    files = {
        "src/sensigap/__init__.py": "",
        "src/sensigap/a.py": "from sensigap import b\n\ndef f():\n    return b.x\n",
        "src/sensigap/b.py": "x = 1\n",
        "src/sensigap/c.py": "y = 1\n",
        "scripts/helper.py": "z = 1\n",
        "scripts/script.py": '"""Says what."""\nimport helper\nfrom sensigap.a import f\nf()\n',
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
        ("src/sensigap/b.py", "# a comment\nx   = 1\n"),
        (
            "src/sensigap/a.py",
            'from sensigap import b\n\ndef f():\n    """Doc."""\n    return b.x\n',
        ),
        (
            "scripts/script.py",
            '"""Other."""\nimport helper\nfrom sensigap.a import f\nf()  # now\n',
        ),
        ("src/sensigap/c.py", "y = 2\n"),
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
        "src/sensigap/a.py",
        "src/sensigap/b.py",
        "scripts/helper.py",
        "scripts/script.py",
    ],
)
def test_whatever_runs_counts(tree, name):
    before = digest(tree)
    with (tree / name).open("a") as file:
        file.write("w = 3\n")
    assert digest(tree) != before


def test_a_template_beside_a_module_counts(tree):
    template = tree / "src" / "sensigap" / "page.html"
    template.write_text("<p>")
    before = digest(tree)
    template.write_text("<div>")
    assert digest(tree) != before


def test_what_decides_no_number_does_not_count_but_its_imports_do(tree):
    source = tree / "src" / "sensigap"
    (source / "progress.py").write_text("from sensigap import c\n")
    (source / "a.py").write_text("from sensigap import b, progress\n")
    before = digest(tree)
    with (source / "progress.py").open("a") as file:
        file.write("w = 3\n")
    assert digest(tree) == before
    with (source / "c.py").open("a") as file:
        file.write("w = 3\n")
    assert digest(tree) != before


def test_stages_do_not_hang_on_each_other():
    """A change in the analysis must not train anything again, nor one in training the figures."""
    scripts, source = REPOSITORY / "workflow" / "scripts", REPOSITORY / "src"

    def modules(script):
        found = imported(scripts / script, source)
        return {str(path.relative_to(source)) for path in found if source in path.parents}

    def none_of(found, *words):
        return not [path for path in found for word in words if f"sensigap/{word}" in path]

    training, claims = modules("train.py"), modules("claims.py")
    assert "sensigap/training/trainer.py" in training
    assert none_of(training, "analysis", "measures", "config", "figures", "report")
    assert "sensigap/analysis/claims.py" in claims
    assert none_of(claims, "training", "measures", "networks", "figures", "report")
    board = modules("leaderboard.py")
    assert "sensigap/analysis/leaderboard.py" in board
    assert none_of(board, "training", "measures", "networks", "figures", "report")
    assert "sensigap/analysis/leaderboard.py" not in claims
    for measure, others in {
        "jacobian": ("ellipses", "slices", "walk"),
        "transitions": ("ellipses", "slices", "jacobian"),
        "ellipses": ("slices",),
        "slices": ("ellipses", "jacobian"),
        "complexity": ("ellipses", "slices", "jacobian", "transitions", "walk"),
    }.items():
        found = modules(f"{measure}.py")
        assert f"sensigap/measures/cohort/{measure}.py" in found
        assert none_of(found, "analysis", "figures", "training/trainer")
        assert none_of(found, *(f"measures/{other}" for other in others)), measure
