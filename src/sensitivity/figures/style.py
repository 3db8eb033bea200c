"""The look that every figure shares, and the pieces that more than one figure draws."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("style.mplstyle")
#: full text width of a printed page, inches
WIDTH = 7.2
#: Okabe and Ito's colours, told apart with every common colour blindness
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#555555"

GAP = "generalization gap\n(train − test accuracy)"
SENSITIVITY = r"mean test Jacobian norm $\langle\|J\|_F\rangle$"
POINT_NORM = r"Jacobian norm $\|J(x)\|_F$ at a test point"

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Drawn(NamedTuple):
    """A figure, the numbers drawn in it (one row a mark or a curve's point), and its caption."""

    figure: Figure
    numbers: pd.DataFrame
    caption: str


def styled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Runs `function` under the shared style and leaves matplotlib's settings as they were."""

    @functools.wraps(function)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with matplotlib.style.context(["default", STYLE]):
            return function(*args, **kwargs)

    return wrapper


def panels(rows: int, columns: int, height: float, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    """A figure of the page's width with `rows` x `columns` panels, each row `height` inches high."""
    figure = Figure(figsize=(WIDTH, rows * height))
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def message_figure(message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(WIDTH, 1.6))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", wrap=True, fontsize=9)
    return figure


def empty_panel(axes: Axes, message: str) -> None:
    """Says inside a panel why it is empty, without ticks that mean nothing."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, message, ha="center", va="center", transform=axes.transAxes, color=GREY)


def note(axes: Axes, text: str, *, x: float = 0.03, y: float = 0.97, ha: str = "left") -> None:
    """A short text in a panel's corner, readable over marks."""
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    axes.text(x, y, text, transform=axes.transAxes, ha=ha, va="top", fontsize=7, bbox=box, zorder=5)


def levels(values: Sequence[float]) -> tuple[Colormap, BoundaryNorm, list[float]]:
    """Colour map and norm for a hyper-parameter with few ordered values: one colour a value.

    Returns:
        The colour map, the norm for positions 0, 1, ... of the sorted values, and these values.
    """
    found = sorted(set(values))
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.93, max(len(found), 1)))
    return (
        ListedColormap(shades),
        BoundaryNorm(np.arange(len(found) + 1) - 0.5, max(len(found), 1)),
        found,
    )


def marker_size(count: int) -> float:
    """Area of a scatter mark in points^2: smaller where there are more."""
    return float(np.clip(2500 / max(count, 1), 3, 18))
