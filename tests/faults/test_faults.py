"""No wrong number gets through, and nothing finished is lost: what is written, by what may happen.

Each trial takes a copy of a finished study, does one thing to it, and runs it: it must end with the
same results, or with one clear error and then, run again, with the same results. `make test-faults`
runs all of them and prints a table; a few run with the other tests.
"""

import contextlib
import random
import shutil
import subprocess
import sys

import pytest

import engine
import sensigap.figures
from sensigap import survey
from sensigap.integrity import DamagedFileError
from sensigap.schema import GROUPS
from trials import BAD, DAMAGE, FAULTS, TARGETS, Trials

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study; what it loaded and drew is there for the trials."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        figures = {name: sensigap.figures.FIGURES[name] for name in engine.FIGURES}
        patch.setattr(sensigap.figures, "FIGURES", figures)
        patch.setattr(sensigap.figures, "draw", remembering(sensigap.figures.draw))
        # as another user git says something else
        patch.setattr(survey, "_code_version", lambda: "of the trials")
        patch.chdir(folder)
        engine.run()
        assert engine.run() == []
        yield folder


def remembering(draw):
    """Draws again only what was read anew: drawing takes seconds."""
    drawn = {}

    def wrapper(name, sources, stem):
        read = [survey._checksum(root.load()) for root in sources.roots.values()]
        if name in GROUPS:
            read += [survey._checksum(group.load()) for group in sources.group(name).values()]
        key = name, *read, sources.leaderboard.read_bytes()
        if key not in drawn:
            drawn[key] = {path.name: path.read_bytes() for path in draw(name, sources, stem)}
        from sensigap.files import written_whole

        for file, content in drawn[key].items():
            with written_whole(stem.with_name(file)) as temporary:
                temporary.write_bytes(content)

    return wrapper


@pytest.fixture(scope="module")
def trials(finished, tmp_path_factory, request):
    scratch = tmp_path_factory.mktemp("trials")
    with small_disk(tmp_path_factory.mktemp("disk")) as disk:
        made = Trials(finished, scratch, disk)
        yield made
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stdout.write(made.text() + "\n")


@contextlib.contextmanager
def small_disk(folder):
    """A small file system; None where this user may mount none."""
    mounting = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mounting, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def tried(trials, target, fault, seed):
    if fault in ("disk full", "read-only") and trials.small_disk is None:
        return
    if fault == "killed" and "record" in target:
        return
    before = len(trials.failures)
    result = trials.run(target, fault, seed)
    assert result not in BAD, trials.failures[before:]


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("fault", FAULTS)
def test_any_fault_of_any_file_gives_the_same_results_or_one_error_and_then_the_same(
    trials, fault, target, seed
):
    tried(trials, target, fault, seed)


FEW = random.Random(0).sample([(t, f) for t in TARGETS for f in FAULTS if f in DAMAGE], 14)


@pytest.mark.parametrize(
    ("target", "fault"),
    [*FEW, ("survey", "disk full"), ("weights", "killed"), ("report", "read-only")],
)
def test_a_few_faults(trials, target, fault):
    tried(trials, target, fault, 100)


def read_everything(path):
    """All values of a survey, as claims and figures read them."""
    read = {"": survey.read(path, "survey").load()}
    for group, schema in GROUPS.items():
        if survey.has_group(path, group):
            read[group] = survey.read(path, schema, group=group, verified=True).load()
    return read


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.faults)])
def test_no_damaged_survey_is_read_without_an_error(finished, trials, count):
    place = trials.small_disk or trials.scratch
    whole = finished / "results" / "tiny" / "survey" / "digits.zarr"
    expected = read_everything(whole)
    kinds = [name for name in DAMAGE if "flipped" not in name and name not in ("older", "newer")]
    for seed in range(count):
        rng = random.Random(seed)
        path = place / "digits.zarr"
        shutil.copytree(whole, path)
        chosen = rng.choice(sorted(p for p in path.rglob("*") if p.is_file()))
        damage = rng.choice(["flipped unseen", "flipped unseen", *kinds])
        DAMAGE[damage](chosen, rng)
        try:
            found = read_everything(path)
        except DamagedFileError:
            assert not path.exists()
        else:
            # not one of the store's own: Snakemake's time stamp, or root reads everything
            assert found.keys() == expected.keys(), (damage, chosen)
            assert all(found[k].identical(expected[k]) for k in expected), (damage, chosen)
            assert chosen.name == engine.STAMP or damage == "unreadable", (damage, chosen)
            shutil.rmtree(path)
        shutil.rmtree(path.with_name("digits.zarr.damaged"), ignore_errors=True)
