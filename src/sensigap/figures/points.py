"""Figure for C5: the Jacobian norm, the loss and correctness at single test points."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from sensigap import seeds
from sensigap.analysis.bootstrap import level_text
from sensigap.analysis.points import point_networks, points
from sensigap.analysis.relation import bounds, classes_of, logit_gradient_norm
from sensigap.analysis.verdicts import Settings
from sensigap.figure_names import Caption
from sensigap.figures.captions import Counts, counts_sentence, plural, titled
from sensigap.figures.style import (
    COLOURS,
    Drawn,
    Layout,
    Painted,
    empty_panel,
    log_axis,
    message,
    note,
    panels,
    styled,
    title,
)

#: points whose norm or loss is smaller would stretch the axes over hundreds of decades
FLOOR = 1e-20
#: bins of each axis of the density, and of the misclassification rate (equal numbers of points)
DENSITY_BINS = 48
RATE_BINS = 12
COLUMNS = [
    "dataset",
    "panel",
    "x_low",
    "x",
    "x_high",
    "y_low",
    "y_high",
    "value",
    "low",
    "high",
    "n",
]
_NORM = r"Jacobian norm $\|J(x)\|_F$"
_SCALED = r"$\|J(x)\|_F\,/\,M$"


@dataclasses.dataclass(frozen=True)
class _Points:
    """A dataset's points with a norm of at least `FLOOR`, of all its chosen networks (point,)."""

    norm: np.ndarray
    scaled: np.ndarray
    loss: np.ndarray
    wrong: np.ndarray
    #: position of the point's network among the chosen ones
    network: np.ndarray
    #: whether norm over M and loss, too, are at least `FLOOR`: the points of the densities. The
    #: misclassification rate is of all points, since a choice by the loss is one by the outcome
    dense: np.ndarray
    networks: int
    classes: int
    #: points with J = 0, and with a norm below `FLOOR`: in no panel
    silent: int
    tiny: int


@styled
def figure(surveys: Mapping[str, xr.Dataset], settings: Settings | None = None) -> Drawn:
    """Loss and misclassification against the Jacobian norm, one row of panels a dataset.

    Args:
        surveys: survey root group by dataset.
        settings: of the analysis: which networks are drawn, level, resamples and seed of the
            intervals.

    Returns:
        Numbers, one row a mark; `panel` says which of four kinds it is. 'loss' and 'relation': a
        bin of the density, with `value` points; x is the norm, or the norm over M, and y the loss
        (nat). 'bounds': the least (`low`) and greatest (`high`) norm over M at the loss `y_low`.
        'misclassification': the rate (`value`) among `n` points of a bin of norms, of which `x` is
        the median, with the interval that holds 1 - alpha.
    """
    settings = settings or Settings()
    chosen = {name: point_networks(survey, settings) for name, survey in surveys.items()}
    found = {
        name: _points(survey, chosen[name][0])
        for name, survey in surveys.items()
        if chosen[name][0]
    }
    frames = [
        _numbers(dataset, settings, position).assign(dataset=name)
        for position, (name, dataset) in enumerate(found.items())
        if dataset.dense.any()
    ]
    numbers = (
        pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)
    )
    counts = {name: (len(networks), left_out) for name, (networks, left_out) in chosen.items()}
    caption = _caption(counts, found, numbers, settings)
    if numbers.empty:
        return Drawn(message("No network of the survey is fitted."), numbers, caption)

    @styled
    def paint(layout: Layout) -> Painted:
        drawn, axes = panels(layout, len(surveys), 3, 2.5)
        density = numbers[numbers["panel"].isin(["loss", "relation"])]["value"]
        norm = LogNorm(1, max(float(density.max()), 2.0))
        for row, name in zip(axes, surveys, strict=True):
            title(layout, row, name)
            mine = numbers[numbers["dataset"] == name]
            if mine.empty:
                for panel in row:
                    empty_panel(panel, "no network is fitted" if name not in found else "no points")
                continue
            of = dict(tuple(mine.groupby("panel")))
            _density(row[0], of["loss"], norm)
            row[0].set(xlabel=_NORM, ylabel="loss at the point (nat)")
            _relation(row[1], of["relation"], of["bounds"], norm)
            _rate(row[2], of["misclassification"])
        bar = drawn.colorbar(
            ScalarMappable(norm, "Blues"), ax=axes, aspect=20 * axes.size, pad=0.01, fraction=0.03
        )
        bar.set_label("points in a bin")
        return Painted(drawn)

    return Drawn(paint, numbers, caption)


def _points(survey: xr.Dataset, networks: list[str]) -> _Points:
    found = points(survey, networks)
    scale = logit_gradient_norm(survey, networks)
    log10_norm = np.concatenate([p.log10_norm for p in found])
    network = np.concatenate([np.full(len(p.loss), row) for row, p in enumerate(found)])
    loss = np.concatenate([p.loss for p in found])
    wrong = np.concatenate([p.wrong for p in found])
    with np.errstate(divide="ignore"):
        log10_scaled = log10_norm - np.log10(scale[network])
    floor = np.log10(FLOOR)
    large = log10_norm >= floor
    dense = (log10_scaled >= floor) & np.isfinite(log10_scaled) & (loss >= FLOOR)
    return _Points(
        norm=10 ** log10_norm[large],
        scaled=10 ** log10_scaled[large],
        loss=loss[large],
        wrong=wrong[large],
        network=network[large],
        dense=dense[large],
        networks=len(networks),
        classes=classes_of(survey),
        silent=len(networks) * survey.sizes["sample"] - len(loss),
        tiny=int((~large).sum()),
    )


def _numbers(dataset: _Points, settings: Settings, position: int) -> pd.DataFrame:
    losses = dataset.loss[dataset.dense]
    y_edges = _edges(losses)
    frames = []
    for panel, x in (
        ("loss", dataset.norm[dataset.dense]),
        ("relation", dataset.scaled[dataset.dense]),
    ):
        x_edges = _edges(x)
        count, _, _ = np.histogram2d(x, losses, bins=(x_edges, y_edges))
        i, j = np.nonzero(count)
        frames.append(
            pd.DataFrame(
                {
                    "panel": panel,
                    "x_low": x_edges[i],
                    "x_high": x_edges[i + 1],
                    "y_low": y_edges[j],
                    "y_high": y_edges[j + 1],
                    "value": count[i, j],
                }
            )
        )
    loss = np.geomspace(y_edges[0], y_edges[-1], 200)
    low, high = bounds(np.exp(-loss), dataset.classes, rest=-np.expm1(-loss))
    frames.append(pd.DataFrame({"panel": "bounds", "y_low": loss, "low": low, "high": high}))
    rng = seeds.generator(settings.seed, "figure: points", position)
    frames.append(_rates(dataset, rng, settings))
    return pd.concat(frames, ignore_index=True)


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of bins of equal width on a logarithmic axis that hold all values."""
    low, high = float(values.min()), float(values.max())
    if high <= low * 1.001:
        low, high = low / 2, high * 2
    edges = np.geomspace(low, high, DENSITY_BINS + 1)
    # The outermost edges exactly at the extremes, whatever geomspace rounds
    edges[0], edges[-1] = low, high
    return edges


def _rates(dataset: _Points, rng: np.random.Generator, settings: Settings) -> pd.DataFrame:
    """Misclassification rate in bins of equal numbers of points; bootstrap over networks."""
    edges = np.unique(np.quantile(dataset.norm, np.linspace(0, 1, RATE_BINS + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0], edges[0] * 1.001])
    bins = len(edges) - 1
    bin_of = np.clip(np.searchsorted(edges, dataset.norm, side="right") - 1, 0, bins - 1)
    cell = dataset.network * bins + bin_of
    size = dataset.networks * bins
    total = np.bincount(cell, minlength=size).reshape(dataset.networks, bins)
    wrong = np.bincount(cell, dataset.wrong, minlength=size).reshape(dataset.networks, bins)
    median = [np.median(dataset.norm[bin_of == i]) for i in range(bins)]
    share = np.full(dataset.networks, 1 / dataset.networks)
    weights = rng.multinomial(dataset.networks, share, size=settings.bootstrap).astype(float)
    with np.errstate(invalid="ignore"):
        resampled = (weights @ wrong) / (weights @ total)
    low, high = np.nanquantile(resampled, [settings.alpha / 2, 1 - settings.alpha / 2], axis=0)
    return pd.DataFrame(
        {
            "panel": "misclassification",
            "x_low": edges[:-1],
            "x": median,
            "x_high": edges[1:],
            "value": wrong.sum(0) / np.maximum(total.sum(0), 1),
            "low": low,
            "high": high,
            "n": total.sum(0),
        }
    )


def _density(panel: Axes, bins: pd.DataFrame, norm: LogNorm) -> None:
    """Draws the bins that hold points, on logarithmic axes."""
    x, y = (np.unique(bins[[f"{axis}_low", f"{axis}_high"]]) for axis in "xy")
    counts = np.zeros((len(y) - 1, len(x) - 1))
    counts[np.searchsorted(y, bins["y_low"]), np.searchsorted(x, bins["x_low"])] = bins["value"]
    panel.pcolormesh(x, y, np.ma.masked_equal(counts, 0), norm=norm, cmap="Blues", rasterized=True)
    log_axis(panel, "x", x[0], x[-1])
    log_axis(panel, "y", y[0], y[-1])


def _relation(panel: Axes, density: pd.DataFrame, bound: pd.DataFrame, norm: LogNorm) -> None:
    """The density by the scaled norm, between its analytic bounds."""
    _density(panel, density, norm)
    panel.set(xlabel=_SCALED, ylabel="loss at the point (nat)")
    # as far as there are points: at losses near 0 and at large ones the bounds go on for decades
    lowest, highest = float(density["x_low"].min()), float(density["x_high"].max())
    log_axis(panel, "x", lowest, max(highest, bound["high"].max()), margin=0.03)
    for side, line, label in (("low", "solid", "least"), ("high", "dashed", "greatest")):
        panel.plot(bound[side], bound["y_low"], color=COLOURS[1], linestyle=line, label=label)
    panel.legend(loc="upper left", title="analytic bound", title_fontsize=7, borderaxespad=1.5)


def _rate(panel: Axes, rates: pd.DataFrame) -> None:
    panel.errorbar(
        rates["x"],
        rates["value"],
        yerr=[rates["value"] - rates["low"], rates["high"] - rates["value"]],
        fmt="o",
        color=COLOURS[0],
        elinewidth=0.9,
        markersize=3.5,
    )
    panel.set(xlabel=_NORM, ylabel="misclassification rate")
    log_axis(panel, "x", rates["x"].min(), rates["x"].max(), margin=0.06)
    panel.set_ylim(bottom=0)
    rising = rates["value"].iloc[0] < 0.5 * rates["value"].max()
    corner = "upper left" if rising else "lower right"
    note(panel, f"n = {plural(int(rates['n'].sum()), 'point')}", corner=corner)


def _caption(
    counts: Counts, found: Mapping[str, _Points], numbers: pd.DataFrame, settings: Settings
) -> Caption:
    details = (
        "All test points of a seeded choice of fitted networks of the survey; the norm is that of "
        "the softmax output's Jacobian, the loss the cross-entropy at the point. M is the root "
        "mean square norm of a logit's gradient: if the gradients of the logits were orthogonal "
        "and of norm M, every point would lie between the two curves. Misclassified points are "
        "counted in bins of equal numbers of points, whatever their loss, at the bin's median norm "
        f"(bars: {level_text(settings.alpha)} bootstrap interval over networks, "
        f"{settings.bootstrap:,} resamples). {counts_sentence('network', counts)}"
    )
    for name, dataset in found.items():
        parts = [
            f"{count:,} {reason}"
            for count, reason in (
                (dataset.silent, "with a Jacobian of exactly 0 or not measured"),
                (dataset.tiny, f"with a norm below {FLOOR:g}"),
            )
            if count
        ]
        left_out = f"; left out: {', '.join(parts)}" if parts else "; none left out"
        details += f" {name}: {plural(len(dataset.norm), 'point')}{left_out}."
        sparse = int((~dataset.dense).sum())
        if sparse:
            lossless = int((dataset.loss == 0).sum())
            details += (
                f" Of these, {sparse:,} with a loss or a norm over M below {FLOOR:g} (loss of "
                f"exactly 0: {lossless:,}) are in the misclassification rate only."
            )
    finding = []
    rates = numbers[numbers["panel"] == "misclassification"]
    for shown, of_dataset in rates.groupby("dataset", sort=False):
        first, last = of_dataset["value"].iloc[0], of_dataset["value"].iloc[-1]
        finding.append(
            f"{shown}: {first:.1%} of the points of smallest norm are misclassified, and "
            f"{last:.1%} of those of largest norm."
        )
    return titled(
        "points",
        "Test points by their Jacobian norm and their loss, the same with each norm divided by its "
        "network's M, and the share of misclassified points at each norm. Darker bins hold more "
        "points.",
        details,
        " ".join(finding),
    )
