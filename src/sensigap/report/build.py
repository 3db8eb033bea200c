"""Reads what a study wrote and writes its report."""

import base64
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from sensigap.analysis.bootstrap import level_text
from sensigap.analysis.leaderboard import COLUMNS as LEADERBOARD_COLUMNS
from sensigap.analysis.survey_table import with_custom
from sensigap.figure_names import FIGURE_SUFFIXES, Caption
from sensigap.files import written_whole
from sensigap.report import content
from sensigap.report.answer import answers
from sensigap.report.claims import SHOWN
from sensigap.report.explore import explorer
from sensigap.report.facts import facts, write_bundle
from sensigap.report.tables import write_tables
from sensigap.report.timings import by_stage, read_jobs, seconds_at_work
from sensigap.spec import STATUSES

_HERE = Path(__file__).parent
#: the figure beside the answer
MAIN_FIGURE = "sensitivity"
#: screens up to this wide (rem) get the figures as wide as a column
NARROW = 40
_READING = (
    "A network’s sensitivity is the norm of its input-output Jacobian, averaged over the test "
    "points; its generalization gap is its training accuracy minus its test accuracy. Each row "
    "below tests one claim on one dataset: an effect with its interval and a p-value. Intervals "
    "and p count two errors, of networks (by architectures) and of the test points, which all "
    "networks share. Primary rows (in bold) are those that decide a claim. They were named before "
    "looking, except on the digits, whose first results were known by then; their p is adjusted by "
    "Holm’s method for the number of primary rows of the dataset. Secondary rows show p as it is "
    "(levels and limits: ‘analysis’ in the configuration). Verdicts:"
)
_CLAIMS_COLUMNS = (
    *("key", "claim", "dataset", "quantity", "primary", "test", "n", "architectures", "left_out"),
    *("effect", "estimate", "low", "high", "level", "p", "p_holm", "verdict", "remarks"),
)


def build(
    *,
    study: str,
    alpha: float,
    config_text: str,
    claims: Path,
    leaderboard: Path,
    figures: Mapping[str, Path],
    surveys: Mapping[str, Path],
    timings: Iterable[Path],
    output: Path,
    expected: Mapping[str, float] | None = None,
    flat: Path | None = None,
    bundle: Path | None = None,
) -> None:
    """Writes the report: one HTML file that needs no other file and no network.

    It can be read without its script, which lets marks tell their network and tables sort.

    Args:
        study: the study's name.
        alpha: level of the analysis: intervals hold 1 - alpha.
        config_text: its configuration, YAML.
        claims: the table of claims (CSV), as `sensigap.analysis` writes it.
        leaderboard: the leaderboard of measures (CSV), the same.
        figures: path without suffix by figure, in the report's order; beside it lie the files
            that `sensigap.figures.draw` writes.
        surveys: survey store by dataset.
        timings: folders of benchmark files, see `read_jobs`; they may be missing.
        expected: stage -> wall seconds of its jobs by the cost model, shown beside the timings.
        flat: where the table with a row a network is written, what its columns are beside it, as
            `.columns.csv`; None: nowhere.
        bundle: where all tables and figures are written as one zip; None: nowhere.
        output: the report; links to other files are relative to its folder.

    Raises:
        FileNotFoundError: an input is missing.
        ValueError: the table of claims or the leaderboard lacks columns.
    """
    output = Path(output)
    table = content.asked_apart(_read_table(Path(claims), _CLAIMS_COLUMNS))
    board = _read_table(Path(leaderboard), LEADERBOARD_COLUMNS)
    opened = {name: with_custom(path) for name, path in surveys.items()}
    if flat:
        write_tables(opened, flat, flat.with_suffix(".columns.csv"))
    stems = {name: Path(stem) for name, stem in figures.items()}
    if bundle:
        files = [_beside(stem, suffix) for stem in stems.values() for suffix in FIGURE_SUFFIXES]
        files += [Path(claims), Path(leaderboard)]
        files += [flat, flat.with_suffix(".columns.csv")] if flat else []
        write_bundle(files, output.parent, bundle)
    jobs = read_jobs(map(Path, timings))
    taken, expected = by_stage(jobs), expected or {}
    page = render(
        study=study,
        summary=content.summary(table, opened),
        level=level_text(alpha),
        reading=_READING,
        legend=[
            {"word": word, "style": style, "meaning": meaning}
            for word, (style, meaning) in SHOWN.items()
        ],
        answers=answers(table, board),
        glance=content.glance(table),
        claims=content.claim_blocks(table),
        claims_link=_relative(Path(claims), output),
        leaderboard=content.leaderboard_blocks(board),
        leaderboard_link=_relative(Path(leaderboard), output),
        main_figure=MAIN_FIGURE,
        figures=[_figure(name, stem, output) for name, stem in stems.items()],
        narrow=NARROW,
        explorer=_safe(
            explorer(opened, {name: _beside(stem, ".marks.json") for name, stem in stems.items()})
        ),
        facts=facts(study, opened, taken, seconds_at_work(jobs), expected),
        bundle_link=_relative(bundle, output) if bundle else "",
        statuses=STATUSES,
        networks=content.network_rows(opened),
        flat_link=_relative(flat, output) if flat else "",
        config=config_text,
        datasets=list(opened),
        provenance=content.provenance_rows(opened),
        surveys=[
            {"word": name, "address": _relative(Path(path), output)}
            for name, path in surveys.items()
        ],
        timings=content.timing_rows(taken, expected),
    )
    with written_whole(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(**parts: Any) -> str:
    """The page of the template; a part that the template names and nobody gives is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Trusted text of this package, whose quotes must stay quotes
    own = {
        name: markupsafe.Markup((_HERE / file).read_text(encoding="utf-8"))
        for name, file in (("css", "style.css"), ("script", "script.js"))
    }
    return environment.get_template("template.html").render(**own, **parts)


def _safe(json: str) -> markupsafe.Markup:
    """JSON for a script element, which no text within it can end."""
    return markupsafe.Markup(json.replace("<", "\\u003c"))


def _read_table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_csv(path, keep_default_na=True)
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(
            f"{path}: expected columns {', '.join(needed)}; missing: {', '.join(missing)}; "
            "run the analysis again"
        )
    return table


def _figure(name: str, stem: Path, output: Path) -> dict[str, Any]:
    caption = Caption.read(_beside(stem, ".txt").read_text(encoding="utf-8"))
    words = {
        ".pdf": "PDF",
        ".column.pdf": "PDF, column width",
        ".png": "PNG",
        ".svg": "SVG",
        ".csv": "numbers drawn",
    }
    return {
        "name": name,
        "page": _drawing(_beside(stem, ".svg")),
        "column": _drawing(_beside(stem, ".column.svg")),
        "alt": f"{caption.title}. {caption.finding}",
        "title": f"{caption.title}.",
        "text": caption.text,
        "details": caption.details,
        "links": [
            {"word": word, "address": _relative(_beside(stem, suffix), output)}
            for suffix, word in words.items()
        ],
    }


def _drawing(path: Path) -> dict[str, Any]:
    """An SVG as an address that needs no file, and its size in points."""
    text = path.read_text(encoding="utf-8")
    size = re.search(r'<svg [^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    if size is None:
        raise ValueError(f"{path}: expected a drawing of this package's; draw the figure again")
    encoded = base64.b64encode(text.encode()).decode("ascii")
    width, height = (round(float(number)) for number in size.groups())
    return {
        "address": f"data:image/svg+xml;base64,{encoded}",
        "width": width,
        "height": height,
    }


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _relative(path: Path, output: Path) -> str:
    return Path(os.path.relpath(path, output.parent)).as_posix()
