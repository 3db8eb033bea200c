"""Figures: a module each with a pure function `figure`; `draw` reads surveys and writes files."""

from sensigap.figure_names import FIGURES
from sensigap.figures.files import Sources, draw, drawn, save
from sensigap.figures.style import Drawn

__all__ = ["FIGURES", "Drawn", "Sources", "draw", "drawn", "save"]
