"""Reads surveys, draws a figure, and writes its files: drawings, marks, numbers, caption."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

import sensigap.figures.backend  # noqa: F401 - before whatever imports matplotlib
from sensigap import survey as stores
from sensigap.analysis.leaderboard import read_leaderboard
from sensigap.analysis.verdicts import Settings
from sensigap.figure_names import FIGURE_SUFFIXES, FIGURES
from sensigap.figures import (
    effects,
    ellipses,
    factors,
    leaderboard,
    parameters,
    points,
    sensitivity,
    slices,
)
from sensigap.figures.style import LAYOUTS, PAGE, Drawn, Layout, Marks, Painted, styled
from sensigap.figures.themes import write_svg
from sensigap.files import written_whole
from sensigap.schema import GROUPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Sources:
    """What the figures of a study are drawn from."""

    #: survey store by dataset
    surveys: Mapping[str, Path]
    #: the leaderboard of measures (CSV), as `sensigap.analysis` writes it
    leaderboard: Path
    #: the table of claims (CSV), the same
    claims: Path
    #: of the analysis, whose choices the figures share
    settings: Settings

    @functools.cached_property
    def roots(self) -> dict[str, xr.Dataset]:
        """The root group of each survey, verified once for all figures."""
        return {name: stores.read(path, "survey") for name, path in self.surveys.items()}

    def group(self, group: str) -> dict[str, xr.Dataset]:
        """The group of each survey that has it."""
        return {
            name: stores.read(self.surveys[name], GROUPS[group], group=group, verified=True)
            for name in self.roots
            if stores.has_group(self.surveys[name], group)
        }


#: name of a figure -> reads what it needs and draws it
_FIGURES: dict[str, Callable[[Sources], Drawn]] = {
    "sensitivity": lambda sources: sensitivity.figure(sources.roots),
    "effects": lambda sources: effects.figure(
        sources.roots,
        pd.read_csv(sources.claims),
        read_leaderboard(sources.leaderboard),
        sources.settings,
    ),
    "parameters": lambda sources: parameters.figure(sources.roots),
    "factors": lambda sources: factors.figure(sources.roots),
    "points": lambda sources: points.figure(sources.roots, sources.settings),
    "ellipses": lambda sources: ellipses.figure(
        sources.roots, sources.group("ellipses"), sources.settings
    ),
    "slices": lambda sources: slices.figure(sources.roots, sources.group("slices")),
    "leaderboard": lambda sources: leaderboard.figure(
        sources.roots, read_leaderboard(sources.leaderboard), sources.settings
    ),
}


def drawn(name: str, sources: Sources) -> Drawn:
    """Draws a figure, and writes nothing.

    Args:
        name: a key of `FIGURES`.
        sources: what it is drawn from.

    Raises:
        ValueError: there is no figure of that name, or the leaderboard lacks columns.
        FileNotFoundError, SchemaError: a survey or the leaderboard is missing, or a survey does not
            keep its schema.
        DamagedFileError: a survey is not as it was written.
    """
    if name not in FIGURES:
        raise ValueError(
            f"there is no figure {name!r}; expected one of {', '.join(FIGURES)}: "
            "correct the name, or add a module to sensigap.figures"
        )
    return _FIGURES[name](sources)


def draw(name: str, sources: Sources, stem: Path) -> list[Path]:
    """Draws a figure and writes `stem` + each of `FIGURE_SUFFIXES`.

    Equal surveys and settings give equal bytes with the same version of matplotlib.

    Args:
        name: a key of `FIGURES`.
        sources: what it is drawn from.
        stem: path of the files without their suffix.

    Returns:
        The files written.

    Raises:
        ValueError, FileNotFoundError, SchemaError, DamagedFileError: as `drawn`.
    """
    return save(drawn(name, sources), stem)


@styled
def save(drawn: Drawn, stem: Path) -> list[Path]:
    """Writes a figure whole, each file to a temporary name and then renamed."""
    painted = {layout: drawn.paint(layout) for layout in LAYOUTS}
    for figure, _ in painted.values():
        # Laid out once, so that all files show the same, and in half the time
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    png = painted[PAGE].figure
    writers: dict[str, Callable[[Path], object]] = {
        ".png": lambda path: png.savefig(path, format="png", metadata={"Software": None}),
        ".marks.json": lambda path: path.write_text(_marks(painted), encoding="utf-8"),
        ".csv": lambda path: drawn.numbers.to_csv(
            path, index=False, float_format="%.9g", lineterminator="\n"
        ),
        ".txt": lambda path: path.write_text(f"{drawn.caption}\n", encoding="utf-8"),
    }
    for layout, (figure, _) in painted.items():
        prefix = "" if layout is PAGE else f".{layout.name}"
        writers[f"{prefix}.pdf"] = functools.partial(_write_pdf, figure)
        writers[f"{prefix}.svg"] = functools.partial(write_svg, figure)
    written = []
    for suffix in FIGURE_SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        with written_whole(path) as temporary:
            writers[suffix](temporary)
        written.append(path)
    return written


def _write_pdf(figure: "Figure", path: Path) -> None:
    # No dates and no versions in the files: equal numbers give equal bytes
    figure.savefig(
        path, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None}
    )


def _marks(painted: Mapping[Layout, Painted]) -> str:
    """Where the marks that are networks stand, in shares of the figure from its upper left."""
    first, *_ = painted.values()
    return json.dumps(
        {
            "panels": [
                {"label": each.label, "dataset": each.dataset, "networks": list(each.networks)}
                for each in first.marks
            ],
            # layouts may have the panels in orders of their own
            "places": {
                layout.name: [_place(made.figure, of[each.label]) for each in first.marks]
                for layout, made in painted.items()
                for of in [{each.label: each for each in made.marks}]
            },
        },
        separators=(",", ":"),
    )


def _place(figure: "Figure", marks: Marks) -> dict[str, list[float]]:
    size = np.array([figure.bbox.width, figure.bbox.height])
    points = marks.panel.transData.transform(np.column_stack([marks.x, marks.y])) / size
    points[:, 1] = 1 - points[:, 1]
    left, low, right, high = marks.panel.get_window_extent().extents / np.tile(size, 2)
    box = np.array([left, 1 - high, right, 1 - low])
    x, y = points.round(4).T.tolist()
    return {"x": x, "y": y, "box": box.round(4).tolist()}
