"""The look that every figure shares, and the pieces that more than one figure draws."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sensigap.figure_names import Caption

STYLE = Path(__file__).with_name("style.mplstyle")
#: Okabe and Ito's colours, told apart with every common colour blindness
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#555555"
#: of a band behind every other row
BAND = "#f4f4f4"
#: around each mark: it keeps the palest and the darkest ones apart from paper of either colour
RIM = "#7f7f7f"
#: marks in a panel above which they are drawn as pixels, and paler
_MANY = 1_000

GAP = "generalization gap\n(train − test accuracy)"
SENSITIVITY = r"mean test Jacobian norm $\langle\|J\|_F\rangle$"

#: within a decade, from the finest ticks on
_FACTORS = (range(1, 10), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a figure is to stand."""

    name: str
    #: inches
    width: float
    #: whether panels stand below one another
    stacked: bool


#: as wide as the text of a printed page; panels side by side
PAGE = Layout("page", 7.2, stacked=False)
#: as wide as a column of a journal, or a telephone
COLUMN = Layout("column", 3.4, stacked=True)
LAYOUTS = (PAGE, COLUMN)


class Marks(NamedTuple):
    """The marks of a panel of which each is a network, or a pair of networks."""

    panel: Axes
    #: what the panel shows; no two of a figure are the same
    label: str
    dataset: str
    #: their ids, one or two a mark (mark,)
    networks: Sequence[tuple[str, ...]]
    #: where they stand, in the panel's data coordinates (mark,)
    x: np.ndarray
    y: np.ndarray


class Painted(NamedTuple):
    """A figure in one layout."""

    figure: Figure
    marks: Sequence[Marks] = ()


@dataclasses.dataclass
class Drawn:
    """The numbers drawn in a figure (one row a mark or a curve's point), and what draws them."""

    paint: Callable[[Layout], Painted]
    numbers: pd.DataFrame
    caption: Caption

    @functools.cached_property
    def figure(self) -> Figure:
        """The figure as wide as a page."""
        return self.paint(PAGE).figure


def styled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Runs `function` under the shared style and leaves matplotlib's settings as they were."""

    @functools.wraps(function)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with matplotlib.style.context(["default", STYLE]):
            return function(*args, **kwargs)

    return wrapper


def panels(
    layout: Layout, rows: int, columns: int, height: float | Sequence[float], **kwargs: Any
) -> tuple[Figure, np.ndarray]:
    """A figure with `rows` x `columns` panels, all below one another where the layout is stacked.

    Args:
        layout: where the figure is to stand.
        rows: of panels.
        columns: of panels.
        height: of a row, inches; or of each row.
        kwargs: of matplotlib's `subplots`.

    Returns:
        The figure, and its panels (rows, columns), wherever they stand.
    """
    heights = [height] * rows if isinstance(height, int | float) else list(height)
    below = columns if layout.stacked else 1
    heights = [each for each in heights for _ in range(below)]
    figure = Figure(figsize=(layout.width, sum(heights)))
    axes = figure.subplots(
        rows * below, columns // below, squeeze=False, height_ratios=heights, **kwargs
    )
    return figure, axes.reshape(rows, columns)


def title(layout: Layout, row: Sequence[Axes], text: str) -> None:
    """What a row of panels is of: above its first, or above each where they are stacked."""
    for panel in row if layout.stacked else row[:1]:
        panel.set_title(text)


def legend(layout: Layout, figure: Figure, handles: Sequence[Line2D], columns: int) -> None:
    """A legend below all panels, in `columns` columns, or in as many as a narrow figure has."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=min(columns, 2) if layout.stacked else columns,
    )


def message(text: str) -> Callable[[Layout], Painted]:
    """Paints a figure that says why there is nothing to draw."""

    @styled
    def paint(layout: Layout) -> Painted:
        figure = Figure(figsize=(layout.width, 1.6))
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, fontsize=9)
        return Painted(figure)

    return paint


def scatter(panel: Axes, x: pd.Series, y: pd.Series, **look: Any) -> PathCollection:
    """Marks with a thin rim; many of them paler, and as pixels within a drawing of lines."""
    count = len(x)
    usual: dict[str, Any] = {
        "s": float(np.clip(2500 / max(count, 1), 3, 18)),
        "alpha": float(np.clip(0.85 * (_MANY / max(count, 1)) ** 0.5, 0.25, 0.85)),
    }
    # not clipped: that would double the size of an SVG, and limits are as wide as the marks
    fixed: dict[str, Any] = {"edgecolors": RIM, "linewidths": 0.25, "clip_on": False}
    return panel.scatter(x, y, rasterized=count > _MANY, **fixed | usual | look)


def empty_panel(axes: Axes, message: str) -> None:
    """Says inside a panel why it is empty, without ticks that mean nothing."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, message, ha="center", va="center", transform=axes.transAxes, color=GREY)


def note(axes: Axes, text: str, *, corner: str = "upper left") -> None:
    """A short text in a panel's corner, readable over marks: 'upper left' or 'lower right'."""
    x, y, ha, va = {
        "upper left": (0.03, 0.97, "left", "top"),
        "lower right": (0.98, 0.03, "right", "bottom"),
    }[corner]
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    axes.text(x, y, text, transform=axes.transAxes, ha=ha, va=va, fontsize=7, bbox=box, zorder=5)


def log_ticks(low: float, high: float, most: int = 4) -> tuple[list[float], list[str]]:
    """Ticks of a logarithmic axis from `low` to `high` with their labels, also over narrow ranges.

    Args:
        low: end of the axis, above 0.
        high: the other end, above `low`.
        most: the largest number of ticks.
    """
    if high < 2 * low:
        linear = MaxNLocator(most - 1).tick_values(low, high)
        ticks = [float(value) for value in linear if low <= value <= high]
        return ticks, _labels(ticks)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    decades = range(first, last + 1)
    choices = [[f * 10.0**d for d in decades for f in factors] for factors in _FACTORS]
    choices += [[10.0**d for d in decades if d % stride == 0] for stride in (2, 3, 5, 10, 20)]
    within = [[value for value in ticks if low <= value <= high] for ticks in choices]
    # labels closer than a seventh of the axis would run into each other
    least = np.log10(high / low) / 7
    chosen = next(
        (
            ticks
            for ticks in within
            if 0 < len(ticks) <= most and np.all(np.diff(np.log10(ticks)) >= least)
        ),
        within[-1],
    )
    return chosen, _labels(chosen)


def _labels(ticks: list[float]) -> list[str]:
    """Plain numbers where all are short, else all as powers of ten."""
    if all(1e-3 <= value < 1e5 for value in ticks):
        return [f"{value:g}" for value in ticks]
    labels = []
    for value in ticks:
        exponent = int(np.floor(np.log10(value) + 1e-9))
        factor = f"{value / 10.0**exponent:.3g}"
        power = f"10^{{{exponent}}}"
        labels.append(f"${power}$" if factor == "1" else f"${factor}{{\\times}}{power}$")
    return labels


def log_axis(
    axes: Axes, which: Literal["x", "y"], low: float, high: float, *, margin: float = 0.0
) -> None:
    """Makes an axis logarithmic, with the ticks of `log_ticks`.

    Args:
        axes: the panel.
        which: of its axes.
        low: smallest value, above 0.
        high: largest value.
        margin: left free at both ends, as a share of the axis between the values.
    """
    # At least a tenth of a decade, so that one value alone has an axis
    wider = max(high / low, 1.26) ** margin if margin else 1.0
    low, high = low / wider, high * wider
    ticks, labels = log_ticks(low, high)
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axis.set_ticks(ticks, labels)
    axis.minorticks_off()


def between(name: str, count: int = 256) -> ListedColormap:
    """A colour map without its darkest and palest ends, which paper of either colour would hide."""
    return ListedColormap(matplotlib.colormaps[name](np.linspace(0.14, 0.94, count)))


def levels(values: Iterable[Any]) -> tuple[Colormap, BoundaryNorm, list[Any]]:
    """Colour map and norm for a hyper-parameter with few ordered values: one colour a value.

    Returns:
        The colour map, the norm for positions 0, 1, ... of the sorted values, and these values.
    """
    found = sorted(set(values))
    shades = between("viridis", max(len(found), 1)).colors
    return (
        ListedColormap(shades),
        BoundaryNorm(np.arange(len(found) + 1) - 0.5, max(len(found), 1)),
        found,
    )
