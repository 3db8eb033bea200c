"""What code counts for which stage: all that decides a number, and nothing else."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sensigap import datasets, networks
from sensigap.code_digest import SOURCE, code_digest, imported
from sensigap.declarations import MEASURES
from sensigap.spec import NetworkSpec
from sensigap.workplan import CODE

COSTLY = ("train", *MEASURES)


@pytest.fixture
def tree(tmp_path):
    files = {
        "sensigap/__init__.py": "",
        "sensigap/a.py": "from sensigap import b\n\ndef f(x: int) -> int:\n    return b.x\n",
        "sensigap/b.py": "x = 1\n",
        "sensigap/c.py": "y = 1\n",
        "sensigap/script.py": '"""Says what."""\nfrom sensigap.a import f\nf()\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def digest(tree):
    return code_digest("sensigap.script", source=tree)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("b.py", "# a comment\nx   = 1\n"),
        (
            "a.py",
            'from sensigap import b\n\ndef f(x: int) -> int:\n    """Doc."""\n    return b.x\n',
        ),
        ("a.py", "from sensigap import b\n\ndef f(x: str):\n    return b.x\n"),
        ("script.py", '"""Other."""\nfrom sensigap.a import f\nf()  # now\n'),
        ("c.py", "y = 2\n"),
    ],
    ids=["comment", "docstring", "types", "script's comment", "module that is not imported"],
)
def test_what_does_not_run_does_not_count(tree, name, text):
    before = digest(tree)
    (tree / "sensigap" / name).write_text(text)
    assert digest(tree) == before


@pytest.mark.parametrize("name", ["a.py", "b.py", "script.py"])
def test_whatever_runs_counts(tree, name):
    before = digest(tree)
    with (tree / "sensigap" / name).open("a") as file:
        file.write("w = 3\n")
    assert digest(tree) != before


def test_a_template_beside_a_module_counts(tree):
    template = tree / "sensigap" / "page.html"
    template.write_text("<p>")
    before = digest(tree)
    template.write_text("<div>")
    assert digest(tree) != before


def test_a_module_that_is_not_there_and_a_relative_import_are_told(tree):
    with pytest.raises(ValueError, match=r"no module sensigap\.nowhere"):
        code_digest("sensigap.nowhere", source=tree)
    (tree / "sensigap" / "b.py").write_text("from . import c\n")
    with pytest.raises(ValueError, match=r"b\.py, line 1: import by the package's name"):
        digest(tree)


def modules(stage):
    return {str(path.relative_to(SOURCE / "sensigap")) for path in imported(CODE[stage])}


@pytest.mark.parametrize("stage", COSTLY)
def test_costly_stages_hang_on_nothing_that_reads_writes_or_waits(stage):
    doubtful = {
        *("survey.py", "schema.py", "files.py", "integrity.py", "records.py", "progress.py"),
        *("interrupt.py", "workplan.py", "estimate.py", "cost.py", "code_digest.py", "weights.py"),
    }
    found = modules(stage)
    assert not found & doubtful
    folders = ("declarations", "config", "analysis", "figures", "report")
    assert not [name for name in found if name.startswith(folders)]


def test_stages_do_not_hang_on_each_other():
    """A change in the analysis must not train anything again, nor one in training the figures."""
    assert "training/trainer.py" in modules("train")
    assert not [name for name in modules("train") if name.startswith("measures")]
    for measure, others in {
        "jacobian": ("ellipses", "slices", "walk"),
        "transitions": ("ellipses", "slices", "jacobian"),
        "ellipses": ("slices",),
        "slices": ("ellipses", "jacobian"),
        "complexity": ("ellipses", "slices", "jacobian", "transitions", "walk"),
    }.items():
        found = modules(measure)
        assert f"measures/cohort/{measure}.py" in found
        assert not [name for name in found if name.startswith("training")]
        assert not [n for n in found for o in others if n.startswith(f"measures/{o}")], measure
    for stage in ("claims", "leaderboard", "figures", "report"):
        found = modules(stage)
        assert not [n for n in found if n.startswith(("training/", "measures/", "networks"))], stage
    assert "analysis/leaderboard.py" not in modules("claims")


def test_figures_and_report_count_with_all_their_modules():
    assert {f"figures/{path.name}" for path in (SOURCE / "sensigap/figures").glob("[a-z]*.py")} <= (
        modules("figures")
    )
    assert {f"report/{path.name}" for path in (SOURCE / "sensigap/report").glob("[a-z]*.py")} <= (
        modules("report")
    )


def calls_between(function):
    """(module that calls, module that is called) of the library, while a function runs."""
    found = set()
    package = str(SOURCE / "sensigap")

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(package) and frame.f_back:
            caller = frame.f_back.f_code.co_filename
            if caller.startswith(package):
                found.add((caller, frame.f_code.co_filename))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return {tuple(str(Path(name).relative_to(package)) for name in pair) for pair in found}


@pytest.fixture(scope="module")
def members():
    spec = NetworkSpec(
        dataset="digits",
        train_size=100,
        depth=2,
        width=8,
        unit="relu",
        optimizer="momentum",
        learning_rate=0.03,
        batch_size=20,
        gain=1.0,
        steps=3,
        seed=0,
    )
    return [(spec, networks.initial([spec], 64, 10))]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 16, (160, 1, 8, 8)).astype(np.uint8)
    labels = np.arange(160) % 10
    return datasets.Images(
        pixels[:120], labels[:120], pixels[120:], labels[120:], "digits", tuple("0123456789")
    )


@pytest.mark.parametrize("name", MEASURES)
def test_whatever_a_measure_calls_is_in_its_digest(name, members, images, tmp_path):
    """Finds a module that decides numbers and is outside, however it was imported."""
    import importlib

    function = importlib.import_module(MEASURES[name].module).measure
    settings = {
        "jacobian": {"points": 60, "training_points": 5, "seed": 0},
        "transitions": {"points": 2, "precision": 0.01, "least": 150, "seed": 0},
        "complexity": {"points": 10, "draws": 2, "drop": 0.1, "seed": 0},
        "ellipses": {"count": 1, "angles": 24, "seed": 0},
        "slices": {"margin": 0.25, "seed": 0},
        "custom": {"functions": {"one": {"function": f"{tmp_path}/mine.py:one"}}},
    }[name]
    (tmp_path / "mine.py").write_text("def one(network, data):\n    return 1\n")
    inside = modules(name)
    calls = calls_between(lambda: function(members, images, **settings))
    assert len({called for _, called in calls}) > 3
    outside = {pair for pair in calls if pair[0] in inside and pair[1] not in inside}
    assert not outside


@pytest.mark.parametrize("optimizer", ["momentum", "lbfgs"])
def test_whatever_training_calls_is_in_its_digest(optimizer, members, images):
    import dataclasses

    from sensigap.training.data import training_data, training_dataset
    from sensigap.training.lbfgs import LBFGSTrainer
    from sensigap.training.trainer import StackTrainer

    spec = dataclasses.replace(
        members[0][0],
        optimizer=optimizer,
        labels="random",
        max_shift=1 if optimizer == "momentum" else 0,
        batch_size=20 if optimizer == "momentum" else 100,
    )

    def train():
        data = training_data(images, [spec], "cpu", 2**20)
        trainer = (LBFGSTrainer if optimizer == "lbfgs" else StackTrainer)([spec], data)
        finished = []
        while trainer.active:
            finished += trainer.advance(1.0)
        training_dataset([spec], [finished[0].record], [1])

    torch.set_num_threads(1)
    inside = modules("train")
    calls = calls_between(train)
    assert ("training/trainer.py", "training/passes.py") in calls or optimizer == "lbfgs"
    assert not {pair for pair in calls if pair[0] in inside and pair[1] not in inside}


@pytest.mark.parametrize(
    ("name", "before", "after", "stages"),
    [
        (
            "kinds.py",
            'ELLIPSE_KINDS = ("different classes", "one class", "random")',
            'ELLIPSE_KINDS = ("one class", "different classes", "random")',
            {"ellipses"},
        ),
        ("spec.py", "return self.max_shift > 0 or self.flip", "return self.flip", {"train"}),
        ("seeds.py", "digest()[:16]", "digest()[:12]", {"train", *MEASURES}),
        ("selection.py", '["share"]', '["seed"]', {"ellipses"}),
    ],
)
def test_what_numbers_hang_on_reruns_what_hangs_on_it(tmp_path, name, before, after, stages):
    source = tmp_path / "src"
    shutil.copytree(
        SOURCE / "sensigap", source / "sensigap", ignore=shutil.ignore_patterns("__pycache__")
    )
    old = {stage: code_digest(*CODE[stage], source=source) for stage in COSTLY}
    path = source / "sensigap" / name
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    new = {stage: code_digest(*CODE[stage], source=source) for stage in COSTLY}
    assert stages <= {stage for stage in COSTLY if old[stage] != new[stage]}
    if name in ("kinds.py", "selection.py"):
        assert "train" not in {stage for stage in COSTLY if old[stage] != new[stage]}


def test_a_comment_anywhere_changes_no_digest(tmp_path):
    source = tmp_path / "src"
    shutil.copytree(
        SOURCE / "sensigap", source / "sensigap", ignore=shutil.ignore_patterns("__pycache__")
    )
    old = {stage: code_digest(*roots, source=source) for stage, roots in CODE.items()}
    for path in (source / "sensigap").rglob("*.py"):
        path.write_text("# why this is here\n" + path.read_text() + "\n# and this\n")
    assert old == {stage: code_digest(*roots, source=source) for stage, roots in CODE.items()}
