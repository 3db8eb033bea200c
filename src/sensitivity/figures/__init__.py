"""Figures: one module each with a pure function `figure`, and `draw`, which reads and writes files."""

from sensitivity.figures.files import FIGURES, SUFFIXES, draw, save
from sensitivity.figures.style import Drawn

__all__ = ["FIGURES", "SUFFIXES", "Drawn", "draw", "save"]
