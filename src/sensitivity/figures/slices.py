"""Figure: the last hidden layer's linear regions over the plane of three training points."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from sensitivity.analysis.survey_table import LeftOut
from sensitivity.contracts import ELLIPSE_STATES
from sensitivity.figures.captions import Counts, chosen_counts, counts_sentence
from sensitivity.figures.style import WIDTH, Drawn, message_figure, panels, styled

#: slices drawn at most, so that the figure stays on a page
LIMIT = 4
_TITLES = {"initial": "before training", "trained": "after training"}


@styled
def figure(surveys: Mapping[str, xr.Dataset], slices: Mapping[str, xr.Dataset]) -> Drawn:
    """Region boundaries before and after training, one row of panels a network.

    Args:
        surveys: survey root group by dataset.
        slices: its group 'slices', where slices were measured.

    Returns:
        Numbers: one row a grid point of each panel; `x`, `y` in standardised inputs, whether a
        `boundary` passes to the next grid point, and the `predicted` class.
    """
    measured = {name: slices[name] for name in surveys if name in slices}
    networks = [
        (name, group.isel(network=[position]).squeeze("network"))
        for name, group in measured.items()
        for position in range(group.sizes["network"])
    ]
    shown = _spread(networks)
    counts = {name: _counts(name, surveys[name], networks, shown) for name in surveys}
    numbers = _numbers(shown)
    if not shown:
        drawn = message_figure("No slices were measured in this study.")
        return Drawn(drawn, numbers, _caption([], counts))
    height = WIDTH / 2.2
    drawn, axes = panels(len(shown), len(ELLIPSE_STATES), height)
    for row, (name, group) in zip(axes, shown, strict=True):
        survey = surveys[name].sel(network=group["network"].item())
        for panel, state in zip(row, ELLIPSE_STATES, strict=True):
            _slice(panel, group.sel(state=state), group)
            panel.set_title(f"{name}, {_describe(survey)}: {_TITLES[state]}", fontsize=8)
        row[0].set_ylabel("second coordinate in the plane\n(standardised inputs)")
    for panel in axes[-1]:
        panel.set_xlabel("first coordinate in the plane (standardised inputs)")
    return Drawn(drawn, numbers, _caption(shown, counts))


def _spread(networks: list[tuple[str, xr.Dataset]]) -> list[tuple[str, xr.Dataset]]:
    """At most `LIMIT` networks: the first of each dataset, then the second, and so on."""
    seen: dict[str, int] = {}
    ranked = []
    for position, (name, group) in enumerate(networks):
        seen[name] = seen.get(name, 0) + 1
        ranked.append((seen[name], position, (name, group)))
    kept = sorted(ranked, key=lambda item: item[:2])[:LIMIT]
    return [entry for _, _, entry in sorted(kept, key=lambda item: item[1])]


def _slice(panel: Axes, state: xr.Dataset, group: xr.Dataset) -> None:
    predicted = state["predicted"].transpose("y", "x").to_numpy()
    boundary = state["boundary"].transpose("y", "x").to_numpy().astype(bool)
    # Pale class colours beneath dark boundaries; classes beyond 20 use the colours again
    palette = np.array([to_rgb(colour) for colour in color_sequences["tab20"]])
    image = 1 - 0.38 * (1 - palette[predicted % len(palette)])
    image[boundary] = np.array(to_rgb("#1a1a1a"))
    x, y = group["x"].to_numpy(), group["y"].to_numpy()
    half_x, half_y = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    panel.imshow(image, origin="lower", extent=extent, interpolation="nearest", aspect="equal")
    panel.grid(visible=False)
    panel.locator_params(nbins=5)
    anchors = zip(
        group["anchor_x"].to_numpy(),
        group["anchor_y"].to_numpy(),
        group["anchor_label"].to_numpy(),
        strict=True,
    )
    for anchor_x, anchor_y, label in anchors:
        panel.plot(anchor_x, anchor_y, "o", color="white", mec="black", mew=1.2, ms=11, zorder=4)
        panel.text(
            anchor_x, anchor_y, str(label), ha="center", va="center_baseline", fontsize=7, zorder=5
        )


def _describe(network: xr.Dataset) -> str:
    return f"{network['depth'].item()} × {network['width'].item()} {network['unit'].item()}"


def _numbers(shown: list[tuple[str, xr.Dataset]]) -> pd.DataFrame:
    frames = []
    for name, group in shown:
        for state in ELLIPSE_STATES:
            panel = group.sel(state=state)
            x, y = np.meshgrid(group["x"].to_numpy(), group["y"].to_numpy())
            frames.append(
                pd.DataFrame(
                    {
                        "dataset": name,
                        "network": group["network"].item(),
                        "state": state,
                        "x": x.ravel(),
                        "y": y.ravel(),
                        "boundary": panel["boundary"]
                        .transpose("y", "x")
                        .to_numpy()
                        .ravel()
                        .astype(int),
                        "predicted": panel["predicted"].transpose("y", "x").to_numpy().ravel(),
                    }
                )
            )
    columns = ["dataset", "network", "state", "x", "y", "boundary", "predicted"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _counts(
    name: str,
    survey: xr.Dataset,
    networks: list[tuple[str, xr.Dataset]],
    shown: list[tuple[str, xr.Dataset]],
) -> tuple[int, LeftOut]:
    status = survey["status"].to_numpy()[survey["in_slices"].to_numpy().astype(bool)]
    measured = sum(other == name for other, _ in networks)
    drawn = sum(other == name for other, _ in shown)
    left_out = chosen_counts(status, measured, "networks chosen")
    left_out.add("measured but not drawn, to keep the figure on a page", measured - drawn)
    return drawn, left_out


def _caption(
    shown: list[tuple[str, xr.Dataset]],
    counts: Counts,
) -> str:
    shares = " ".join(
        f"{name}, network {group['network'].item()}: "
        + ", ".join(
            f"{100 * group['boundary'].sel(state=state).to_numpy().mean():.1f}% {_TITLES[state]}"
            for state in ELLIPSE_STATES
        )
        + "."
        for name, group in shown
    )
    text = (
        "Linear regions before and after training. Each panel is the plane through three training "
        "points (white discs with their class). Dark: grid points next to which the code of the "
        "last hidden layer's units changes, so that a boundary of its linear regions passes; the "
        "pale colour is the predicted class. "
    )
    if shares:
        text += f"Share of grid points at a boundary: {shares} "
    return text + counts_sentence("network", counts)
