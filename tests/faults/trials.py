"""What may happen to a file, a disk or a process, and what came of it."""

import collections
import contextlib
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import engine
from sensigap import records, survey
from sensigap.adopt import adopt
from sensigap.files import remove
from sensigap.schema import GROUPS

NOBODY = 65534
#: differ from run to run
TIMED = ("train_seconds", "curve_seconds", "seconds")

STUDY = "results/tiny"
#: what is damaged -> (its files, what reads it: taken away too where it must be read)
TARGETS = {
    "data set": ("results/datasets/*.zarr", f"{STUDY}/measures/*/jacobian.zarr"),
    "networks.csv": ("results/networks/*/networks.csv", "results/networks/*/training.zarr"),
    "weights": ("results/networks/*/weights.safetensors", f"{STUDY}/measures/*/complexity.zarr"),
    "training": ("results/networks/*/training.zarr", f"{STUDY}/measures/*/jacobian.zarr"),
    **{
        name: (f"{STUDY}/measures/*/{name}.zarr", f"{STUDY}/survey/digits.zarr")
        for name in ("jacobian", "transitions", "complexity", "ellipses", "slices")
    },
    "design": (f"{STUDY}/design.csv", f"{STUDY}/survey/digits.zarr"),
    "survey": (f"{STUDY}/survey/digits.zarr", f"{STUDY}/claims.csv"),
    "claims": (f"{STUDY}/claims.csv", f"{STUDY}/report.html"),
    "claims' record": (f"{STUDY}/claims.record.json", f"{STUDY}/report.html"),
    "leaderboard": (f"{STUDY}/leaderboard.csv", f"{STUDY}/figures/leaderboard.png"),
    "leaderboard's record": (f"{STUDY}/leaderboard.record.json", f"{STUDY}/figures/ellipses.csv"),
    "figures": (f"{STUDY}/figures/*.*", f"{STUDY}/report.html"),
    "report": (f"{STUDY}/report.html", ""),
    "report's record": (f"{STUDY}/report.record.json", ""),
}


def emptied(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def cut(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def flipped(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def flipped_unseen(path: Path, rng: random.Random) -> None:
    """As a disk does it: size and time stamp stay."""
    before = path.stat()
    flipped(path, rng)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def a_directory(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("else")


def a_dead_link(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def unreadable(path: Path, _: random.Random) -> None:
    path.chmod(0)


def older(path: Path, _: random.Random) -> None:
    os.utime(path, (1e9, 1e9))


def newer(path: Path, _: random.Random) -> None:
    os.utime(path)


DAMAGE: dict[str, Callable[[Path, random.Random], object]] = {
    "deleted": lambda path, _: path.unlink(),
    "emptied": emptied,
    "cut": cut,
    "flipped": flipped,
    "flipped unseen": flipped_unseen,
    "flipped, adopted": flipped_unseen,
    "a directory": a_directory,
    "a dead link": a_dead_link,
    "unreadable": unreadable,
    "older": older,
    "newer": newer,
}
FAULTS = (*DAMAGE, "killed", "disk full", "read-only")
#: what a fault may lead to, and what it must not
SAME, TOLD = "same", "told, then same"
BAD = ("silent", "stopped", "traceback", "left behind", "told nothing of the file")


class Trials:
    """Trials on copies of a finished study.

    Args:
        finished: its folder.
        scratch: where copies are made.
        small_disk: a folder whose file system is small and can be made read-only; None: there is
            none.
    """

    def __init__(self, finished: Path, scratch: Path, small_disk: Path | None) -> None:
        self.finished = finished
        self.scratch = scratch
        self.small_disk = small_disk
        self.table: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )
        self.failures: list[str] = []

    def run(self, target: str, fault: str, seed: int) -> str:
        """One trial; returns what came of it and counts it."""
        rng = random.Random(f"{target} {fault} {seed}")
        # a small one lies in memory
        folder = (self.small_disk or self.scratch) / "trial"
        remove(folder)
        shutil.copytree(self.finished, folder, copy_function=shutil.copy2)
        try:
            result, why = self._run(folder, target, fault, rng)
        finally:
            remove(folder)
        self.table[target, fault][result] += 1
        if result in BAD:
            self.failures.append(f"{target}, {fault}, seed {seed}: {result}: {why}")
        return result

    def _run(self, folder: Path, target: str, fault: str, rng: random.Random) -> tuple[str, str]:
        pattern, reader = TARGETS[target]
        before = None
        kill_after = None
        guard: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if fault in DAMAGE:
            path = _choose(folder, pattern, rng)
            DAMAGE[fault](path, rng)
            name = str(path.relative_to(folder))
            if fault == "flipped unseen" and not reader:
                # nobody reads it, and nobody can see it: `sensigap adopt` does
                fault = "flipped, adopted"
            if fault == "flipped, adopted":
                _adopt(folder, target)
            if fault == "unreadable" and os.geteuid() == 0:
                before = _give_to_nobody(folder)
        else:
            name = ""
            for output in folder.glob(pattern):
                remove(output)
            if fault == "killed":
                kill_after = rng.uniform(0.1, 1.5)
            elif fault == "disk full":
                guard = _full(folder, rng)
            else:
                guard = _read_only(self.small_disk)
        # the data set is left alone where nobody needs it
        if reader and (fault == "flipped unseen" or target == "data set"):
            for output in folder.glob(reader):
                remove(output)
        with guard:
            first = engine.in_a_child(folder, before=before, kill_after=kill_after)
        left = [] if first.killed else _left_behind(folder)
        if left:
            return "left behind", left[0]
        if first.error and not first.killed:
            if "Traceback" in first.error:
                return "traceback", first.error
            if not _is_clear(first.error, name):
                return "told nothing of the file", first.error
        second = engine.in_a_child(folder, before=before) if first.error else first
        if second.error:
            return "stopped", f"{first.error}\nthen {second.error}"
        left = _left_behind(folder)
        if left:
            return "left behind", left[0]
        differing = differences(folder, self.finished)
        if differing:
            return "silent" if not first.error else "stopped", ", ".join(differing)
        return (TOLD if first.error and not first.killed else SAME), ""

    def text(self) -> str:
        """The table: what is damaged by what happens to it; same + told, or what is wrong."""
        faults = [fault for fault in FAULTS if any(f == fault for _, f in self.table)]
        total = sum(self.table.values(), collections.Counter())
        lines = ["", f"{'':22}" + "".join(f"{fault[:15]:>17}" for fault in faults)]
        for target in TARGETS:
            cells = [self.table.get((target, fault), collections.Counter()) for fault in faults]
            if any(cells):
                lines.append(f"{target:22}" + "".join(f"{_cell(cell):>17}" for cell in cells))
        lines.append(
            f"{sum(total.values())} trials: " + ", ".join(f"{n} {k}" for k, n in total.items())
        )
        lines.append("; ".join(f"{name}: {total[name]}" for name in BAD))
        return "\n".join(lines)


def _cell(counts: "collections.Counter[str]") -> str:
    if not counts:
        return "-"
    bad = sum(counts[name] for name in BAD)
    return f"{counts[SAME]} + {counts[TOLD]}" + (f" BAD {bad}" if bad else "")


def _choose(folder: Path, pattern: str, rng: random.Random) -> Path:
    """A file of those that a pattern names, or in the stores that it names."""
    path = rng.choice(sorted(folder.glob(pattern)))
    if path.is_dir():
        inside = (p for p in path.rglob("*") if p.is_file() and p.name != engine.STAMP)
        path = rng.choice(sorted(inside))
    return path


def _is_clear(error: str, name: str) -> bool:
    """Whether a message names the file, or the store that it is in, and says what to do."""
    named = not name or any(str(part) in error for part in [Path(name), *Path(name).parents][:-3])
    return named and bool(re.search(r"run (the workflow )?again", error))


def _left_behind(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*.tmp")]


def _adopt(folder: Path, target: str) -> None:
    """What `sensigap adopt` does: it must find what a look at size and time stamp does not."""
    found = adopt(folder / "results")
    assert found or target == "design", f"adopt found no damage of {target}"


def _give_to_nobody(folder: Path) -> Callable[[], None]:
    """Root reads whatever there is: the run is another user's."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)

    def become_nobody() -> None:
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)

    return become_nobody


@contextlib.contextmanager
def _full(folder: Path, rng: random.Random) -> Iterator[None]:
    """Fills a small disk but for some pages."""
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    assert free < 2**27, "expected a small disk"
    ballast.write_bytes(bytes(max(free - rng.randrange(12) * room.f_frsize, 0)))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def _read_only(disk: Path | None) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def differences(folder: Path, finished: Path) -> list[str]:
    """Outputs that are not as those of the finished study, but for how long training took."""
    found = []
    timed = False
    for pattern, _ in TARGETS.values():
        for expected in sorted(finished.glob(pattern)):
            path = folder / expected.relative_to(finished)
            name = str(expected.relative_to(finished))
            if expected.suffix == ".zarr":
                if list(records.differences(records.of(path))):
                    found.append(name)
                elif records.read(records.of(path)) != records.read(records.of(expected)):
                    timed |= expected.name != "digits.zarr"
                    if _values(path) != _values(expected):
                        found.append(name)
            elif expected.name.endswith("record.json"):
                # what else it says, of versions, is the same or of no importance
                if list(records.differences(path)) or _kept(path) != _kept(expected):
                    found.append(name)
            elif expected.name == "report.html" and timed:
                # it shows what was trained anew; its record speaks for it
                continue
            elif not path.is_file() or path.read_bytes() != expected.read_bytes():
                found.append(name)
    return found


def _kept(record: Path) -> object:
    """What a record says that decides anything: who made it, and for which files it speaks."""
    kept = records.read(record)
    files = kept["files"]
    return kept["made_by"], sorted(files), "report.html" in files or files


def _values(store: Path) -> list[str]:
    """Checksums of the values of a store, group by group."""
    schema = {"datasets": "dataset", "survey": "survey"}.get(store.parent.name, store.stem)
    groups = [(None, schema)]
    groups += [(name, GROUPS[name]) for name in GROUPS if survey.has_group(store, name)]
    return [
        survey._checksum(survey.load(store, schema, group=group).drop_vars(TIMED, errors="ignore"))
        for group, schema in groups
    ]
