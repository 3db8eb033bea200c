"""SVG drawings that follow the reader's choice of light or dark."""

import io
import re
from pathlib import Path

from matplotlib.collections import Collection, LineCollection
from matplotlib.figure import Figure

from sensigap.figures.style import BAND, GREY

#: a drawing's own colour -> name of what stands in its place, and what that is in the dark
_COLOURS = {
    "#000000": ("ink", "#e8e8e8"),
    "#ffffff": ("paper", "#17191c"),
    GREY: ("quiet", "#b0b0b0"),
    BAND: ("band", "#22262b"),
    "#e4e4e4": ("grid", "#363b41"),
    # the darkest colour of data would be lost on dark paper
    "#0072b2": ("blue", "#56a8e0"),
}

#: digits beyond a hundredth of a point are nothing that can be seen
_LONG = re.compile(r"(?<=[\d-])(\.\d\d)\d+(?=[^\d%])")

#: of what is drawn as pixels within an SVG, which screens show at about this size
_DPI = 120
#: lines in a panel above which an SVG holds them as pixels
_SEGMENTS = 1_500


def write_svg(figure: Figure, path: Path) -> None:
    """An SVG that follows the reader's choice of light or dark, with letters as letters."""
    lines = [each for axes in figure.axes for each in axes.collections if _costly(each)]
    usual = [each.get_rasterized() for each in lines]
    for each in lines:
        each.set_rasterized(True)
    text = io.StringIO()
    none = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(text, format="svg", metadata=none, transparent=True, dpi=_DPI)
    for each, rasterized in zip(lines, usual, strict=True):
        each.set_rasterized(rasterized)
    path.write_text(themed(text.getvalue()), encoding="utf-8")


def _costly(collection: Collection) -> bool:
    """Whether so many lines that they take less room as pixels, on a screen."""
    return isinstance(collection, LineCollection) and len(collection.get_paths()) > _SEGMENTS


def themed(svg: str) -> str:
    """A drawing of matplotlib's whose neutral colours are those of a light or a dark page.

    Args:
        svg: the text of an SVG file that `savefig` wrote.
    """
    for colour, (name, _) in _COLOURS.items():
        svg = re.sub(rf"((?:fill|stroke): ?){colour}\b", rf"\g<1>var(--{name})", svg, flags=re.I)
    light = " ".join(f"--{name}: {colour};" for colour, (name, _) in _COLOURS.items())
    dark = " ".join(f"--{name}: {colour};" for name, colour in _COLOURS.values())
    style = (
        f"<style>svg {{ color-scheme: light dark; fill: var(--ink); {light} }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}</style>"
    )
    svg = re.sub(r"\s*\n\s*", " ", _LONG.sub(r"\1", svg)).replace("> <", "><")
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}{style}{svg[start:]}\n"
