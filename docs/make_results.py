"""Makes the tables and figures of docs/results.md from the results of a study.

    python docs/make_results.py results/four    # with the data_root or SENSIGAP_DATA of the run

Writes between the two comments of docs/results.md, and the figures, 1,000 pixels wide, into
docs/results/. The text around them is written by people.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

import pandas as pd  # noqa: E402
from PIL import Image  # noqa: E402

from sensigap import records  # noqa: E402
from sensigap.config.documentation import markdown_table  # noqa: E402
from sensigap.estimate import Estimate  # noqa: E402
from sensigap.figure_names import FIGURES, Caption  # noqa: E402
from sensigap.report.content import effect_text, p_text, timing_rows  # noqa: E402
from sensigap.report.timings import read_timings  # noqa: E402
from sensigap.survey import CHECKSUM  # noqa: E402
from sensigap.workplan import WorkPlan  # noqa: E402

BEGIN, END = "<!-- made by docs/make_results.py -->", "<!-- end -->"
PAGE = ROOT / "docs" / "results.md"
PIXELS = 1_000


def main() -> None:
    """Reads a study's folder and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="folder of the study's results")
    study = parser.parse_args().study
    for record in ("claims", "leaderboard"):
        records.verify(study / f"{record}.record.json")
    claims = pd.read_csv(study / "claims.csv", keep_default_na=True)
    board = pd.read_csv(study / "leaderboard.csv")
    parts = [
        "### Primary rows\n",
        side_by_side(claims[claims["primary"]], "key", claim),
        "### All rows that got a verdict, and comparisons\n",
        side_by_side(claims[~claims["primary"] & claims["estimate"].notna()], "key", claim),
        "### Networks or pairs of each row\n",
        side_by_side(claims[claims["primary"]], "key", lambda row: f"{row['n']:,}"),
        "### Leaderboard: correlation with the gap within hyper-parameters\n",
        side_by_side(board[board["within"].notna()], "label", measure),
        "### Stages: wall seconds of their jobs, by the cost model and as they were\n",
        stages(study),
        "### Figures\n",
        *figures(study),
        "### What it was made from\n",
        sources(study, list(dict.fromkeys(claims["dataset"]))),
    ]
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    text = "\n".join(parts)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def claim(row: pd.Series) -> str:
    """A row of the claims in a cell: verdict, effect with its interval, p."""
    p = row["p_holm"] if row["primary"] else row["p"]
    effect = effect_text(row["estimate"], row["low"], row["high"])
    verdict = "" if row["verdict"] == "none" else f"**{row['verdict']}** "
    return f"{verdict}{effect}" + ("" if pd.isna(p) else f", p {p_text(p)}")


def measure(row: pd.Series) -> str:
    """A row of the leaderboard in a cell."""
    return effect_text(row["within"], row["within_low"], row["within_high"], digits=2)


def side_by_side(table: pd.DataFrame, name: str, cell: Callable[[pd.Series], str]) -> str:
    """A table with a row for each value of a column and a column for each data set."""
    datasets = list(dict.fromkeys(table["dataset"]))
    names = list(dict.fromkeys(table[name]))
    cells = {(row[name], row["dataset"]): cell(row) for _, row in table.iterrows()}
    return markdown_table(
        ["", *datasets],
        [[str(key), *(cells.get((key, dataset), "") for dataset in datasets)] for key in names],
    )


def figures(study: Path) -> Iterable[str]:
    """Each figure with its caption, after its picture has been made smaller."""
    folder = PAGE.parent / "results"
    folder.mkdir(exist_ok=True)
    for name in FIGURES:
        stem = study / "figures" / name
        with Image.open(stem.with_suffix(".png")) as picture:
            height = round(picture.height * PIXELS / picture.width)
            small = picture.convert("RGB").resize((PIXELS, height), Image.Resampling.LANCZOS)
        small.quantize(128).save(folder / f"{name}.png", optimize=True)
        caption = Caption.read(stem.with_suffix(".txt").read_text(encoding="utf-8"))
        yield f"![{caption.finding}](results/{name}.png)\n"
        yield f"**{caption.title}.** {caption.text} {caption.details}\n"


def stages(study: Path) -> str:
    """What each stage took beside what the cost model says of the same jobs."""
    store = next(iter(sorted((study / "survey").glob("*.zarr"))))
    configuration = json.loads(json.loads((store / ".zattrs").read_text())["configuration"])
    root = study.parent
    plan = WorkPlan(configuration, root)
    folders = [
        study / "timings",
        *(root / "networks" / cohort for cohort in plan.cohorts),
        *(root / "datasets" / "timings" / name for name in plan.stores()),
    ]
    rows = timing_rows(read_timings(folders), Estimate(plan).model_seconds())
    names = ("stage", "jobs", "expected", "wall", "memory")
    return markdown_table(names, [[row[name] for name in names] for row in rows])


def sources(study: Path, datasets: Sequence[str]) -> str:
    """The surveys' checksums, by which another run can be compared, and versions."""
    rows, versions = [], ""
    for name in datasets:
        store = study / "survey" / f"{name}.zarr"
        attributes = json.loads((store / ".zattrs").read_text())
        rows.append([name, f"`{attributes[CHECKSUM][:16]}`", attributes["code"]])
        named = json.loads(attributes["versions"]).items()
        versions = ", ".join(f"{package} {version}" for package, version in named)
    table = markdown_table(["data set", "SHA-256 of the survey's values", "code"], rows)
    return f"{table}\nWith {versions}.\n"


if __name__ == "__main__":
    main()
