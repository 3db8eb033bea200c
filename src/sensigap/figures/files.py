"""Reads surveys, draws a figure, writes it as PDF, PNG, CSV and caption."""

from collections.abc import Callable, Mapping
from pathlib import Path

import xarray as xr

from sensigap import survey as stores
from sensigap.analysis.verdicts import Settings
from sensigap.figures import (
    ellipses,
    factors,
    leaderboard,
    parameters,
    points,
    sensitivity,
    slices,
)
from sensigap.figures.style import Drawn, styled
from sensigap.files import written_whole
from sensigap.schema import GROUPS

#: what a figure leaves on disk, beside one another
SUFFIXES = (".pdf", ".png", ".csv", ".txt")


def _ellipses(surveys: Mapping[str, Path], settings: Settings) -> Drawn:
    return ellipses.figure(_roots(surveys), _group(surveys, "ellipses"), settings)


def _slices(surveys: Mapping[str, Path], settings: Settings) -> Drawn:
    return slices.figure(_roots(surveys), _group(surveys, "slices"))


def _parameters(surveys: Mapping[str, Path], settings: Settings) -> Drawn:
    return parameters.figure(_roots(surveys))


def _sensitivity(surveys: Mapping[str, Path], settings: Settings) -> Drawn:
    return sensitivity.figure(_roots(surveys))


def _factors(surveys: Mapping[str, Path], settings: Settings) -> Drawn:
    return factors.figure(_roots(surveys))


def _points(surveys: Mapping[str, Path], settings: Settings) -> Drawn:
    return points.figure(_roots(surveys), settings)


def _leaderboard(surveys: Mapping[str, Path], settings: Settings) -> Drawn:
    return leaderboard.figure(_roots(surveys), settings)


#: name of a figure -> reads surveys and draws it; in the order of the report
FIGURES: dict[str, Callable[[Mapping[str, Path], Settings], Drawn]] = {
    "sensitivity": _sensitivity,
    "parameters": _parameters,
    "factors": _factors,
    "points": _points,
    "ellipses": _ellipses,
    "slices": _slices,
    "leaderboard": _leaderboard,
}


def draw(name: str, surveys: Mapping[str, Path], stem: Path, settings: Settings) -> list[Path]:
    """Draws a figure from survey stores and writes `stem` + '.pdf', '.png', '.csv', '.txt'.

    Equal surveys and settings give equal bytes with the same version of matplotlib.

    Args:
        name: a key of `FIGURES`.
        surveys: survey store by dataset.
        stem: path of the files without their suffix.
        settings: of the analysis, whose choices the figures share.

    Returns:
        The files written.

    Raises:
        ValueError: there is no figure of that name.
        FileNotFoundError, SchemaError: a survey is missing or does not keep its schema.
    """
    if name not in FIGURES:
        raise ValueError(
            f"there is no figure {name!r}; expected one of {', '.join(FIGURES)}: "
            "correct the name, or add a module to sensigap.figures"
        )
    return save(FIGURES[name](surveys, settings), stem)


@styled
def save(drawn: Drawn, stem: Path) -> list[Path]:
    """Writes a figure whole, each file to a temporary name and then renamed."""
    # Laid out once, so that all files show the same, and in half the time
    drawn.figure.draw_without_rendering()
    drawn.figure.set_layout_engine("none")
    # No dates and no versions in the files: equal numbers give equal bytes
    pdf = {"CreationDate": None, "Producer": None, "Creator": None}
    writers: dict[str, Callable[[Path], object]] = {
        ".pdf": lambda path: drawn.figure.savefig(path, format="pdf", metadata=pdf),
        ".png": lambda path: drawn.figure.savefig(path, format="png", metadata={"Software": None}),
        ".csv": lambda path: drawn.numbers.to_csv(
            path, index=False, float_format="%.9g", lineterminator="\n"
        ),
        ".txt": lambda path: path.write_text(drawn.caption + "\n", encoding="utf-8"),
    }
    written = []
    for suffix in SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        with written_whole(path) as temporary:
            writers[suffix](temporary)
        written.append(path)
    return written


def _roots(surveys: Mapping[str, Path]) -> dict[str, xr.Dataset]:
    return {name: stores.read(path, "survey") for name, path in surveys.items()}


def _group(surveys: Mapping[str, Path], group: str) -> dict[str, xr.Dataset]:
    """The group of each survey that has it."""
    return {
        name: stores.read(path, GROUPS[group], group=group)
        for name, path in surveys.items()
        if (Path(path) / group / ".zgroup").exists()
    }
