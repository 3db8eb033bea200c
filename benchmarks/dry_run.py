"""What a dry run of the paper's study takes, beside a bare Snakefile with as many jobs.

    python benchmarks/dry_run.py [--configfile config/paper.yaml] [--repeats 3]

The bare one has as many jobs of each of the study's rules, in the same order, and no
functions, no params and no resources that hang on wildcards. Figures are processor seconds (user
and system) of the whole process, the least of the repeats, and bytes of output.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def dry_run(folder: Path, arguments: list[str], repeats: int) -> tuple[float, str]:
    """Least processor seconds of `snakemake -n` in a folder, and what it says."""
    best, text = float("inf"), ""
    for _ in range(repeats):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", "-n", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        after = os.times()
        spent = after.children_user + after.children_system
        best = min(best, spent - before.children_user - before.children_system)
        text = done.stdout + done.stderr
    return best, text


def bare_snakefile(counts: dict[str, int]) -> str:
    """A Snakefile with so many jobs of each rule, in chains as the study's."""
    measures = [
        rule
        for rule, n in counts.items()
        if n > 1 and rule not in ("cohort", "train", "dataset", "survey")
    ]
    lines = [
        f"MEASURES = { ({rule: counts[rule] for rule in measures})!r}",
        "rule all:",
        "    input:",
        "        [f'{rule}/{k}' for rule, n in MEASURES.items() for k in range(n)], 'survey'",
        "rule cohort:",
        "    output: 'cohort/{k}'",
        "    message: 'Planning cohort {wildcards.k}'",
        "    script: 'x.py'",
        "rule train:",
        "    input: 'cohort/{k}'",
        "    output: 'train/{k}'",
        "    message: 'Training the networks of {wildcards.k}'",
        "    script: 'x.py'",
    ]
    for rule in measures:
        lines += [
            f"rule {rule}:",
            "    input: 'train/{k}'",
            f"    output: '{rule}/{{k}}'",
            f"    message: '{rule} of {{wildcards.k}}'",
            "    resources: mem_mb=4000, runtime=60",
            "    script: 'x.py'",
        ]
    lines += [
        "rule survey:",
        "    input: [f'{rule}/{k}' for rule, n in MEASURES.items() for k in range(n)]",
        "    output: 'survey'",
        "    message: 'Survey'",
        "    script: 'x.py'",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints both and their difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", default="config/paper.yaml")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    seconds, text = dry_run(REPOSITORY, ["--configfile", options.configfile], options.repeats)
    table = text.partition("Job stats:")[2].partition("total")[0]
    counts = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(bare_snakefile(counts))
        (Path(folder) / "x.py").touch()
        bare, bare_text = dry_run(Path(folder), ["--quiet", "host", "reason"], options.repeats)
    total = re.search(r"^total +(\d+)$", bare_text, re.M)
    print(f"study: {sum(counts.values()):,} jobs, {seconds:.1f} s, {len(text) / 1e3:.0f} kB")
    print(f"bare:  {int(total.group(1)) if total else 0:,} jobs, {bare:.1f} s")
    print(f"beyond the bare one: {seconds - bare:.1f} s")


if __name__ == "__main__":
    main()
