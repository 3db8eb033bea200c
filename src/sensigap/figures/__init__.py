"""Figures: a module each with a pure function `figure`; `draw` reads surveys and writes files."""

from sensigap.figures.files import FIGURES, SUFFIXES, draw, save
from sensigap.figures.style import Drawn

__all__ = ["FIGURES", "SUFFIXES", "Drawn", "draw", "save"]
