"""Configuration files and `--config` as Snakemake takes them: a plan, or one clear error."""

import pytest
import yaml

from checkouts import TINY

pytestmark = pytest.mark.workflow

# the slices' network takes its depth from `defaults`
TEXT = yaml.safe_dump(
    {**TINY, "measures": {"slices": {"networks": [{"seed": 3}]}}}, sort_keys=False
)
LAUGHS = "\n".join(
    ["a0: &a0 [x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 10))]
)
#: what Snakemake itself reads without a word, name -> (text, words)
READ = {
    "a key twice": (f"{TEXT}measures: {{}}\n", ["measures: this key stands in line"]),
    "a number of YAML 1.1": (TEXT.replace("steps: 80", "steps: 0120"), ["80 or 120"]),
    "aliases of aliases": (f"{TEXT}{LAUGHS}\n", ["expand to more than 1,000,000 values"]),
    "a list in itself": (f"{TEXT}extra: &a [*a]\n", ["within the value that it stands for"]),
    "a name of Windows": (TEXT.replace("study: tiny", "study: nul"), ['found "nul"']),
    "terabytes": (TEXT.replace("steps: 80", "depth: 900").replace("16", "65536"), ["TB of memory"]),
    "tf32 without a GPU": (TEXT.replace("width: 16", "precision: tf32"), ["and no GPU"]),
}
#: what only the run command can tell: Snakemake ends with a traceback, or never does
FIRST = {
    "a mapping in itself": (f"{TEXT}extra: &a {{b: *a}}\n".encode(), ["within the value"]),
    "brackets": (f"{TEXT}extra: {'[' * 5_000}\n".encode(), ["nested more than 50 levels"]),
    "Latin-1": (f"{TEXT}# é\n".encode("latin-1"), ["not UTF-8"]),
    "a tab": (f"{TEXT}extra:\n\ta: 1\n".encode(), ["not tabs"]),
    "nothing": (b"", ["found an empty file"]),
}


def told(done, words):
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    assert "Traceback" not in text
    assert "Job stats" not in text
    assert "bad.yaml" in text or "config/README.md" in text
    assert [word for word in words if word not in text] == [], text


@pytest.mark.parametrize(("text", "words"), READ.values(), ids=READ.keys())
def test_snakemake_tells_what_the_file_holds(untouched, text, words):
    (untouched.folder / "bad.yaml").write_text(text)
    told(untouched.snakemake("-n", "-q", config="bad.yaml", check=False), words)


@pytest.mark.parametrize(("content", "words"), FIRST.values(), ids=FIRST.keys())
def test_the_run_command_tells_before_snakemake_reads(untouched, content, words):
    (untouched.folder / "bad.yaml").write_bytes(content)
    told(
        untouched.snakemake("-n", config="bad.yaml", check=False, command=("workflow/run.py",)),
        words,
    )


def test_values_of_the_command_line_count(untouched):
    done = untouched.snakemake(
        *("-n", "-q", "--config", "study=short", "defaults={steps: 10, batch_size: 5}"),
        'survey=[{search: grid, axes: {labels: ["true"], learning_rate: [1e-3, 0.1]}}]',
    )
    assert "short: 4 networks on digits" in done.stdout + done.stderr
    wrong = untouched.snakemake("-n", "-q", "--config", "defaults={steps: ten}", check=False)
    told(wrong, ['defaults.steps: found "ten"; allowed: a whole number'])
