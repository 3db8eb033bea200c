"""Reads what a study wrote and writes its report."""

import base64
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from sensigap import survey as stores
from sensigap.analysis.bootstrap import level_text
from sensigap.analysis.leaderboard import COLUMNS as LEADERBOARD_COLUMNS
from sensigap.files import written_whole
from sensigap.report import content
from sensigap.report.answer import answers
from sensigap.report.claims import VERDICTS
from sensigap.report.tables import write_tables
from sensigap.report.timings import read_timings
from sensigap.spec import STATUSES

_HERE = Path(__file__).parent
#: the figure beside the answer
MAIN_FIGURE = "sensitivity"
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
) -> None:
    """Writes the report: one HTML file that needs no other file and no network.

    Args:
        study: the study's name.
        alpha: level of the analysis: intervals hold 1 - alpha.
        config_text: its configuration, YAML.
        claims: the table of claims (CSV), as `sensigap.analysis` writes it.
        leaderboard: the leaderboard of measures (CSV), the same.
        figures: path without suffix by figure, in the report's order; beside it lie the files
            that `sensigap.figures.draw` writes.
        surveys: survey store by dataset.
        timings: folders of benchmark files, see `read_timings`; they may be missing.
        expected: stage -> wall seconds of its jobs by the cost model, shown beside the timings.
        flat: where the table with a row a network is written, what its columns are beside it, as
            `.columns.csv`; None: nowhere.
        output: the report; links to other files are relative to its folder.

    Raises:
        FileNotFoundError: an input is missing.
        ValueError: the table of claims or the leaderboard lacks columns.
    """
    output = Path(output)
    table = _read_table(Path(claims), _CLAIMS_COLUMNS)
    board = _read_table(Path(leaderboard), LEADERBOARD_COLUMNS)
    opened = {name: stores.read(path, "survey") for name, path in surveys.items()}
    if flat:
        write_tables(opened, flat, flat.with_suffix(".columns.csv"))
    page = render(
        study=study,
        summary=content.summary(table, opened),
        level=level_text(alpha),
        reading=_READING,
        legend=[
            {"word": word, "style": style, "meaning": meaning}
            for word, (style, meaning) in VERDICTS.items()
        ],
        answers=answers(table, board),
        glance=content.glance(table),
        claims=content.claim_blocks(table),
        claims_link=_relative(Path(claims), output),
        leaderboard=content.leaderboard_blocks(board),
        leaderboard_link=_relative(Path(leaderboard), output),
        main_figure=MAIN_FIGURE,
        figures=[_figure(name, Path(stem), output) for name, stem in figures.items()],
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
        timings=content.timing_rows(read_timings(map(Path, timings)), expected or {}),
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
    css = markupsafe.Markup((_HERE / "style.css").read_text(encoding="utf-8"))
    return environment.get_template("template.html").render(css=css, **parts)


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
    png = stem.with_name(stem.name + ".png").read_bytes()
    caption = stem.with_name(stem.name + ".txt").read_text(encoding="utf-8").strip()
    title, _, text = caption.partition(". ")
    # Width and height stand in the first chunk of a PNG, at bytes 16 to 24
    width, height = struct.unpack(">II", png[16:24])
    links = [
        {
            "word": suffix[1:].upper(),
            "address": _relative(stem.with_name(stem.name + suffix), output),
        }
        for suffix in (".pdf", ".png", ".csv")
    ]
    return {
        "name": name,
        "png": base64.b64encode(png).decode("ascii"),
        "alt": f"{title}. What the marks are and how many there are is said in the caption.",
        "title": f"{title}.",
        "text": text,
        "width": width,
        "height": height,
        "links": links,
    }


def _relative(path: Path, output: Path) -> str:
    return Path(os.path.relpath(path, output.parent)).as_posix()
