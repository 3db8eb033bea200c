"""Figure for C1: sensitivity along ellipses through training points, against the angle."""

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sensigap import seeds
from sensigap.analysis.bootstrap import level_text
from sensigap.analysis.paths import ANCHORS, WINDOW, ellipse_networks, zero_norms
from sensigap.analysis.verdicts import Settings
from sensigap.figure_names import Caption
from sensigap.figures.captions import Counts, counts_sentence, plural, titled
from sensigap.figures.style import (
    COLOURS,
    Drawn,
    Layout,
    Painted,
    empty_panel,
    legend,
    log_axis,
    message,
    panels,
    styled,
    title,
)
from sensigap.kinds import ELLIPSE_KINDS, STATES

#: quantity -> axis label; the column in the numbers is called the same
QUANTITIES = {
    "jacobian_norm": r"Jacobian norm $\|J\|_F$",
    "transitions_per_length": "transitions per unit\nof arc length",
    "transitions_per_radian": "transitions per radian",
}
#: arcs over which transitions are counted: the first number that divides the number of angles
ARCS = (48, 24)
_KIND_LABELS = {
    "different classes": "3 training points, different classes",
    "one class": "3 training points, one class",
    "random": "random ellipse",
}
#: the states in the order drawn -> words
_STATES = {"trained": "trained", "initial": "before training"}


@styled
def figure(
    surveys: Mapping[str, xr.Dataset],
    ellipses: Mapping[str, xr.Dataset],
    settings: Settings | None = None,
) -> Drawn:
    """Jacobian norm and transition density along ellipses, two rows of panels a dataset.

    Drawn are the networks that C1's rows are about: fitted, with true labels.

    Args:
        surveys: survey root group by dataset.
        ellipses: its group 'ellipses', where ellipses were measured.
        settings: of the analysis: level, resamples and seed of the intervals.

    Returns:
        Numbers: one row a dataset, state, kind, quantity and angle (rad); `mean` over networks of
        each network's mean over its ellipses, the percentile interval `low`, `high` of a
        bootstrap over networks, and `n` networks.
    """
    settings = settings or Settings()
    chosen = {
        name: ellipse_networks(survey, ellipses.get(name)) for name, survey in surveys.items()
    }
    measured = {
        name: ellipses[name].sel(network=networks)
        for name, (networks, _) in chosen.items()
        if networks
    }
    counts = {name: (len(networks), left_out) for name, (networks, left_out) in chosen.items()}
    numbers = _numbers(measured, settings)
    caption = _caption(measured, counts, numbers, settings)
    if not measured:
        return Drawn(message("No ellipses were measured in this study."), numbers, caption)

    @styled
    def paint(layout: Layout) -> Painted:
        rows = list(itertools.product(surveys, _STATES))
        drawn, axes = panels(layout, len(rows), len(QUANTITIES), 1.75, sharex=True)
        for row, (name, state) in zip(axes, rows, strict=True):
            chosen = numbers[(numbers["dataset"] == name) & (numbers["state"] == state)]
            for panel, (quantity, label) in zip(row, QUANTITIES.items(), strict=True):
                _axis(panel, label)
                if name in measured:
                    mine = chosen[chosen["quantity"] == quantity]
                    _curves(panel, mine, log=quantity == "jacobian_norm")
                else:
                    empty_panel(panel, "no ellipses measured")
            title(layout, row, f"{name}, {_STATES[state]}")
        for panel in axes[-1, -1:] if layout.stacked else axes[-1]:
            panel.set_xlabel("angle on the ellipse (rad)")
        handles = [
            Line2D([], [], color=colour, label=_KIND_LABELS[kind])
            for kind, colour in zip(ELLIPSE_KINDS, COLOURS, strict=False)
        ]
        handles.append(
            Line2D([], [], color="#999999", linewidth=5, alpha=0.35, label="anchor ± π/12")
        )
        legend(layout, drawn, handles, 4)
        return Painted(drawn)

    return Drawn(paint, numbers, caption)


def _numbers(measured: Mapping[str, xr.Dataset], settings: Settings) -> pd.DataFrame:
    frames = []
    ends = [settings.alpha / 2, 1 - settings.alpha / 2]
    for position, (name, group) in enumerate(measured.items()):
        n = group.sizes["network"]
        weights = (
            seeds.generator(settings.seed, "figure: ellipses", position)
            .multinomial(n, np.full(n, 1 / n), size=settings.bootstrap)
            .astype(np.float64)
            / n
        )
        for quantity, (angle, network) in _by_angle(group).items():
            for i, state in enumerate(STATES):
                for j, kind in enumerate(ELLIPSE_KINDS):
                    resampled = weights @ network[:, i, j]
                    low, high = np.quantile(resampled, ends, axis=0)
                    frames.append(
                        pd.DataFrame(
                            {
                                "dataset": name,
                                "state": state,
                                "kind": kind,
                                "quantity": quantity,
                                "angle": angle,
                                "mean": network[:, i, j].mean(0),
                                "low": low,
                                "high": high,
                                "n": n,
                            }
                        )
                    )
    columns = ["dataset", "state", "kind", "quantity", "angle", "mean", "low", "high", "n"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _by_angle(group: xr.Dataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Quantity -> (angle,) and each network's mean over its ellipses (network, state, kind, angle).

    Transitions are counted over `ARCS` arcs, since fewer fall between neighbouring angles than a
    curve could be read from; a density stands at the middle of its arc.
    """
    group = group.sel(state=list(STATES), kind=list(ELLIPSE_KINDS))
    dims = ("network", "ellipse", "state", "kind", "angle")
    norm = group["jacobian_norm"].transpose(*dims).to_numpy().astype(np.float64)
    crossings = group["transitions"].transpose(*dims).to_numpy()
    length = group["arc_length"].transpose("network", "ellipse", "kind", "angle").to_numpy()
    arcs = _arcs(group)
    counts = crossings.reshape(*crossings.shape[:-1], arcs, -1).sum(-1)
    lengths = length.reshape(*length.shape[:-1], arcs, -1).sum(-1)[:, :, None]
    width = 2 * np.pi / arcs
    middle = width * (np.arange(arcs) + 0.5)
    return {
        "jacobian_norm": (group["angle"].to_numpy(), norm.mean(1)),
        "transitions_per_length": (middle, (counts / lengths).mean(1)),
        "transitions_per_radian": (middle, counts.mean(1) / width),
    }


def _arcs(group: xr.Dataset) -> int:
    angles = group.sizes["angle"]
    return next(number for number in (*ARCS, angles) if angles % number == 0)


def _axis(panel: Axes, label: str) -> None:
    panel.set_ylabel(label)
    panel.set_xlim(0, 2 * np.pi)
    ticks = range(7)
    names = ["0", "π/3", "2π/3", "π", "4π/3", "5π/3", "2π"]
    panel.set_xticks([tick * np.pi / 3 for tick in ticks], names)
    for anchor in ANCHORS:
        panel.axvspan(anchor - WINDOW, anchor + WINDOW, color="#999999", alpha=0.2, lw=0)


def _curves(panel: Axes, numbers: pd.DataFrame, *, log: bool) -> None:
    colours = dict(zip(ELLIPSE_KINDS, COLOURS, strict=False))
    for kind, curve in numbers.groupby("kind", sort=False):
        colour = colours[str(kind)]
        panel.fill_between(
            curve["angle"], curve["low"], curve["high"], color=colour, alpha=0.2, lw=0
        )
        panel.plot(curve["angle"], curve["mean"], color=colour)
    reach = numbers[["low", "high"]].to_numpy()
    if log and (reach > 0).any():
        log_axis(panel, "y", reach[reach > 0].min(), reach.max(), margin=0.04)
    else:
        panel.set_ylim(bottom=0)


def _caption(
    measured: Mapping[str, xr.Dataset],
    counts: Counts,
    numbers: pd.DataFrame,
    settings: Settings,
) -> Caption:
    size = "".join(
        f" {name}: {plural(group.sizes['ellipse'], 'ellipse')} of each kind and network,"
        f" {group.sizes['angle']} angles, {_arcs(group)} arcs; trained, "
        f"{zero_norms(group['jacobian_norm'].sel(state='trained').to_numpy())}, kept as 0 in "
        "the curves; untrained, "
        f"{zero_norms(group['jacobian_norm'].sel(state='initial').to_numpy())}."
        for name, group in measured.items()
    )
    return titled(
        "ellipses",
        "Each curve is the mean over networks of a network's mean over its ellipses: its Jacobian "
        "norm at each angle, and how many boundaries of linear regions it crosses. Two kinds of "
        "ellipse pass through three training points, their anchors (grey bands), random ones "
        "through none.",
        "The norm is that of the softmax output's Jacobian. Crossings are counted on arcs of equal "
        "angle, per unit of arc length in standardised input space and per radian. Anchors lie at "
        "π/3, π and 5π/3, bands reach π/12 to both sides. Shaded: "
        f"{level_text(settings.alpha)} bootstrap intervals over networks ({settings.bootstrap:,} "
        f"resamples).{size} " + counts_sentence("network", counts),
        _finding(numbers),
    )


def _finding(numbers: pd.DataFrame) -> str:
    """How much smaller the norm of trained networks is near the anchors than half-way."""
    rows = numbers[(numbers["quantity"] == "jacobian_norm") & (numbers["kind"] != "random")]
    turn = 2 * np.pi / len(ANCHORS)
    # from the nearest anchor, between 0 and half of the angle between two of them
    away = np.abs((rows["angle"] - ANCHORS[0] + turn / 2) % turn - turn / 2)
    near, between = rows[away <= WINDOW], rows[away >= turn / 2 - WINDOW]
    said = []
    for name in dict.fromkeys(numbers["dataset"]):
        ratios = [
            near.loc[(near["dataset"] == name) & (near["state"] == state), "mean"].mean()
            / between.loc[(between["dataset"] == name) & (between["state"] == state), "mean"].mean()
            for state in _STATES
        ]
        said.append(
            f"{name}: near the anchors the norm is {ratios[0]:.2f} times what it is half-way "
            f"between them, before training {ratios[1]:.2f} times."
        )
    return " ".join(said)
