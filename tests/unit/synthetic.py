"""Made-up surveys that keep their schema and hold the effects that a test asks for."""

import math

import numpy as np
import xarray as xr

from sensigap import survey as stores
from sensigap.config.models import Dataset, resolve
from sensigap.datasets.known import KNOWN
from sensigap.factors import FACTORS, Side
from sensigap.kinds import ELLIPSE_KINDS, STATES
from sensigap.schema import SCHEMAS
from sensigap.seeds import generator

INPUTS = 64
CLASSES = 10
DEPTHS = (1, 2, 3, 4)
WIDTHS = (16, 32, 64, 128)
UNITS = ("relu", "relu6", "hardtanh", "hardsigmoid")
GAINS = (0.5, 1.0, 2.0, 4.0)
#: of the data set that sides take values from
SETTINGS = resolve(Dataset(primary_share=0.1), KNOWN["digits"])


def survey(
    *,
    networks: int = 160,
    samples: int = 200,
    others: int = 0,
    transition_points: int = 60,
    ragged: bool = False,
    pairs: int | dict[str, int] = 24,
    seed: int = 0,
    unfitted: float = 0.1,
    diverged: float = 0.02,
    slope: float = 0.15,
    size_slope: float = -0.05,
    loss_slope: float = 0.0,
    gain_slope: float = 0.1,
    point_slope: float = 0.6,
    noise: float = 0.02,
    gap_shift: float = 0.15,
    sensitivity_shift: float = 0.4,
    transitions_shift: float = 0.3,
    dead_networks: int = 2,
    dead_points: int = 5,
) -> xr.Dataset:
    """A valid 'survey' Dataset.

    Args:
        networks: members of the survey (C0, C2, C5).
        samples: test points.
        others: images of the test set that are no test points, every other image from the first.
        transition_points: test points with transitions; the others hold NaN.
        ragged: whether networks have transitions at half of them or more, each at its own number.
        pairs: pairs of each factor, two networks of their own each; or a number by factor.
        seed: of everything that is drawn.
        unfitted: share of the networks that are not fitted.
        diverged: share of the networks that diverged.
        slope: gap per decade of sensitivity that no hyper-parameter explains.
        size_slope: gap per decade of parameters.
        loss_slope: gap per standard deviation of the log training loss.
        gain_slope: gap per doubling of the gain (which also raises the sensitivity).
        point_slope: decades of the norm per standard deviation of a point's difficulty.
        noise: standard deviation of what is added to the gap.
        gap_shift: gap of a pair's worse side minus the better one's.
        sensitivity_shift: the same in decades of sensitivity.
        transitions_shift: the same in e-folds of transitions.
        dead_networks: fitted survey members with points at which J = 0.
        dead_points: number of those points in each.
    """
    rng = generator(seed, "synthetic survey")
    counts = pairs if isinstance(pairs, dict) else dict.fromkeys(FACTORS, pairs)
    in_pair = [
        (factor, pair, side)
        for factor, count in counts.items()
        for pair in range(count)
        for side in FACTORS[factor].sides
    ]
    total = networks + len(in_pair)

    table = {
        "depth": rng.choice(DEPTHS, total),
        "width": rng.choice(WIDTHS, total),
        "unit": rng.choice(UNITS, total).astype(object),
        "optimizer": rng.choice(("sgd", "momentum", "adam"), total).astype(object),
        "learning_rate": rng.choice((0.01, 0.03, 0.1), total),
        "batch_size": rng.choice((32, 64), total),
        "gain": rng.choice(GAINS, total),
        "steps": np.full(total, 1000),
        "seed": rng.integers(0, 3, total),
        "train_size": np.full(total, 500),
        "subset_seed": np.zeros(total, int),
        "labels": np.full(total, "true", object),
        "max_shift": np.zeros(total, int),
        "flip": np.zeros(total, bool),
        "shift_mode": np.full(total, "zeros", object),
        "augmentation_share": np.ones(total),
        "input_noise": np.zeros(total),
        "stop": np.full(total, "steps", object),
        "fit_accuracy": np.ones(total),
        "target_loss": np.zeros(total),
        "precision": np.full(total, "float32", object),
        "in_survey": np.arange(total) < networks,
    }
    for factor in FACTORS:
        table[f"pair_{factor}"] = np.full(total, "", object)
        table[f"side_{factor}"] = np.full(total, "", object)
    worse = np.zeros(total)
    for position, (factor, pair, side) in enumerate(in_pair):
        row = networks + position
        table[f"pair_{factor}"][row] = f"{factor}-{pair:04d}"
        table[f"side_{factor}"][row] = side.name
        worse[row] = side is FACTORS[factor].worse
        if side is FACTORS[factor].better:
            for name in ("depth", "width", "unit", "optimizer", "learning_rate", "gain", "seed"):
                table[name][row] = table[name][row - 1]
        _set_side(table, side, row)
    fitted_draw = rng.random(total)
    status = np.where(
        fitted_draw < diverged,
        "diverged",
        np.where(fitted_draw < diverged + unfitted, "not fitted", "fitted"),
    ).astype(object)
    fitted = status == "fitted"

    parameters = _parameters(table["depth"], table["width"])
    size = np.log10(parameters)
    own = rng.normal(0, 0.25, total)
    log10_sensitivity = -0.5 + 0.3 * np.log2(table["gain"]) + own + sensitivity_shift * worse
    log_train_loss = rng.normal(-8, 1.5, total)
    gap = (
        0.25
        + slope * own
        + size_slope * (size - size.mean())
        + loss_slope * (log_train_loss + 8) / 1.5
        + gain_slope * np.log2(table["gain"]) / 4
        + gap_shift * worse
        + rng.normal(0, noise, total)
    )
    errors = np.clip(np.round(gap * samples), 2, samples - 2).astype(int)

    difficulty = rng.normal(0, 1, samples)[None] + rng.normal(0, 0.7, (total, samples))
    difficulty = (difficulty - difficulty.mean(1, keepdims=True)) / difficulty.std(1, keepdims=True)
    descending = -np.sort(-difficulty, axis=1)
    rows = np.arange(total)
    threshold = (descending[rows, errors - 1] + descending[rows, errors]) / 2
    margin = -4.0 * (difficulty - threshold[:, None])
    log10_norm = point_slope * difficulty + rng.normal(0, 0.3, (total, samples))
    log10_norm += (log10_sensitivity - np.log10((10**log10_norm).mean(1)))[:, None]
    dead = np.flatnonzero(fitted & table["in_survey"])[:dead_networks]
    log10_norm[dead, :dead_points] = -math.inf
    norm = 10**log10_norm

    target = 1 / (1 + np.exp(-margin))
    rest = 1 - target
    square = target**2 + rest**2
    squared = target**2 * (1 - 2 * target + square) + rest**2 * (1 - 2 * rest + square)
    transitions = np.full((total, samples), np.nan)
    chosen = np.sort(rng.choice(samples, min(transition_points, samples), replace=False))
    drawn = np.full(total, len(chosen))
    level = 3 + 0.5 * (log10_sensitivity - sensitivity_shift * worse) + transitions_shift * worse
    transitions[:, chosen] = rng.poisson(np.exp(level)[:, None], (total, len(chosen)))

    if ragged:
        # as if precision had been reached: the first so many of one order of the points
        order = generator(seed, "synthetic order of points").permutation(chosen)
        drawn = generator(seed, "synthetic precision").integers(
            len(chosen) // 2, len(chosen), total
        )
        for row, count in enumerate(drawn):
            transitions[row, order[count:]] = np.nan

    points = {
        "jacobian_norm": norm,
        "jacobian_norm_log10": log10_norm,
        "logit_jacobian_norm": norm * np.sqrt(CLASSES / squared),
        "loss": np.logaddexp(0, -margin),
        "margin": margin,
        "confidence": np.maximum(target, rest),
        "log_doubt": -np.logaddexp(0, np.abs(margin)),
        "target_probability": target,
        "squared_probabilities": squared,
        "transitions": transitions,
    }
    # as hard as the points, for each network on average
    share = (margin > 0).mean(1)
    correct = np.empty((total, samples + others), np.int8)
    places = np.setdiff1d(np.arange(samples + others), 2 * np.arange(others))[:samples]
    beside = np.setdiff1d(np.arange(samples + others), places)
    correct[:, places] = margin > 0
    draws = generator(seed, "synthetic other images").random((total, others))
    correct[:, beside] = draws < share[:, None]
    test_accuracy = correct.mean(1)
    train_accuracy = np.where(fitted, 1.0, np.where(status == "diverged", np.nan, 0.8))
    outcomes = {
        "status": status,
        "steps_done": np.where(status == "diverged", 300, 1000),
        "fit_step": np.where(fitted, 400, -1),
        "parameters": parameters,
        "train_loss": np.where(status == "diverged", np.nan, np.exp(log_train_loss)),
        "train_accuracy": train_accuracy,
        "test_loss": np.where(status == "diverged", np.nan, points["loss"].mean(1)),
        "test_accuracy": np.where(status == "diverged", np.nan, test_accuracy),
        "train_seconds": np.full(total, 0.1),
        "jacobian_zero": np.where(fitted, (norm == 0).sum(1), 0),
        "mean_doubt": np.where(fitted, np.minimum(target, rest).mean(1), np.nan),
        "low_confidence": np.where(fitted, (np.maximum(target, rest) < 0.9).mean(1), np.nan),
        "logit_jacobian_over_margin": np.where(
            fitted, points["logit_jacobian_norm"].mean(1) / np.abs(margin).mean(1), np.nan
        ),
        "logit_jacobian_over_scale": np.where(
            fitted, points["logit_jacobian_norm"].mean(1) / np.sqrt((margin**2).mean(1)), np.nan
        ),
        "tempered_sensitivity": np.where(fitted, 1.1 * norm.mean(1), np.nan),
        "train_sensitivity": np.where(fitted, 0.5 * norm.mean(1), np.nan),
        "gap": train_accuracy - test_accuracy,
        "sensitivity": np.where(fitted, norm.mean(1), np.nan),
        "transitions_points": np.where(fitted, drawn, -1),
        "transitions_error": np.where(
            fitted,
            np.nanstd(transitions, axis=1, ddof=1)
            / np.sqrt(drawn)
            / np.nanmean(transitions, axis=1),
            np.nan,
        ),
        "mean_transitions": np.where(fitted, np.nanmean(transitions, axis=1), np.nan),
    }
    complexity = _complexity(log10_sensitivity, size, generator(seed, "synthetic complexity"))
    outcomes |= {name: np.where(fitted, values, np.nan) for name, values in complexity.items()}
    for values in points.values():
        values[~fitted] = np.nan
    ids = np.array([f"{seed:02d}{row:010d}" for row in range(total)], object)
    table["cohort"] = np.array([f"synthetic-{row // 50:03d}" for row in range(total)], object)
    table["in_ellipses"] = table["in_survey"] & (np.arange(total) % 3 == 0)
    table["in_custom"] = np.zeros(total, bool)
    table["in_slices"] = np.arange(total) == np.flatnonzero(fitted)[0]
    right = np.arange(samples) % CLASSES
    prediction = np.where(margin > 0, right, (right + 1) % CLASSES)
    prediction[~fitted] = -1
    dataset = xr.Dataset(
        {name: ("network", values) for name, values in outcomes.items()}
        | {name: (("network", "sample"), values) for name, values in points.items()}
        | {
            "prediction": (("network", "sample"), prediction),
            "correct": (("network", "test_image"), np.where(fitted[:, None], correct, np.int8(-1))),
        },
        coords={
            "network": ("network", ids),
            "sample": ("sample", places),
            "label": ("sample", np.arange(samples) % CLASSES),
        }
        | {name: ("network", values) for name, values in table.items()},
    )
    stores.validate(dataset, "survey", "synthetic survey")
    return stores.describe(dataset, "survey")


def ellipses(
    dataset: xr.Dataset,
    *,
    near: float = -0.5,
    data: float = -0.4,
    initial: float = 0.0,
    count: int = 3,
    angles: int = 48,
    seed: int = 0,
) -> xr.Dataset:
    """A valid 'ellipses' Dataset for the fitted members of `in_ellipses` of a survey.

    Args:
        dataset: the survey.
        near: trained networks' log(norm at the anchors / norm between them).
        data: trained networks' log(norm on ellipses of data / random ones).
        initial: what untrained networks have of both.
        count: ellipses of a kind.
        angles: a multiple of 24.
        seed: of what is drawn.
    """
    rng = generator(seed, "synthetic ellipses")
    chosen = (dataset["in_ellipses"].values.astype(bool)) & (dataset["status"].values == "fitted")
    names = dataset["network"].values[chosen]
    theta = 2 * np.pi * np.arange(angles) / angles
    kinds = ELLIPSE_KINDS
    # cos(3 (theta - pi)) is 1 at the anchors pi/3, pi, 5 pi/3 and -1 half-way between them
    shape = np.cos(3 * (theta - np.pi)) / 2
    arc = (2 * np.pi / angles) * (8 + 3 * np.cos(2 * theta))
    log_norm = rng.normal(0, 0.1, (len(names), 2, len(kinds), count, angles))
    log_norm += rng.normal(0, 0.5, (len(names), 2, 1, 1, 1))
    for state, (effect_near, effect_data) in enumerate(((initial, initial), (near, data))):
        for kind, name in enumerate(kinds):
            if name != "random":
                log_norm[:, state, kind] += effect_near * shape + effect_data
    lengths = np.broadcast_to(arc, (len(names), len(kinds), count, angles))
    lengths = lengths * rng.uniform(0.7, 1.4, (len(names), len(kinds), count, 1))
    crossings = rng.poisson(np.exp(log_norm) * lengths[:, None] * 4)
    result = xr.Dataset(
        {
            "jacobian_norm": (
                ("network", "state", "kind", "ellipse", "angle"),
                np.exp(log_norm),
            ),
            "transitions": (("network", "state", "kind", "ellipse", "angle"), crossings),
            "arc_length": (("network", "kind", "ellipse", "angle"), lengths),
        },
        coords={
            "network": names,
            "state": np.array(STATES, object),
            "kind": np.array(kinds, object),
            "angle": theta,
        },
    )
    stores.validate(result, "ellipses", "synthetic ellipses")
    return stores.describe(result, "ellipses")


def curves(dataset: xr.Dataset, *, checks: int = 10, seed: int = 0) -> xr.Dataset:
    """A valid 'curves' Dataset for all networks of a survey."""
    rng = generator(seed, "synthetic curves")
    shape = (dataset.sizes["network"], checks)
    loss = 2.3 * np.exp(-np.arange(checks) / 2)[None] * rng.uniform(0.5, 1.5, shape)
    result = xr.Dataset(
        {
            "loss": (("network", "check"), loss),
            "accuracy": (
                ("network", "check"),
                np.minimum(1, 0.1 + np.arange(checks) / 5 + 0 * loss),
            ),
            "gradient_norm": (("network", "check"), np.sqrt(loss)),
            "seconds": (("network", "check"), 0.01 * np.arange(checks) + 0 * loss),
        },
        coords={
            "network": dataset["network"].values,
            "step": ("check", 100 * np.arange(checks)),
        },
    )
    stores.validate(result, "curves", "synthetic curves")
    return stores.describe(result, "curves")


def slices(dataset: xr.Dataset, *, edges: int = 60, seed: int = 0) -> xr.Dataset:
    """A valid 'slices' Dataset for the fitted members of `in_slices` of a survey.

    Initial networks have `edges` segments, trained ones a third fewer.
    """
    rng = generator(seed, "synthetic slices")
    chosen = (dataset["in_slices"].values.astype(bool)) & (dataset["status"].values == "fitted")
    names = dataset["network"].values[chosen]
    both = (len(names), 2)
    counts = np.tile([edges, edges - edges // 3], (len(names), 1))
    x = np.linspace(-12, 12, 30)
    ends = rng.uniform(-12, 12, (*both, edges, 4)).astype(np.float32)
    ends[np.arange(edges) >= counts[..., None]] = np.nan
    slopes = rng.normal(0, 1, (*both, 6, 2, 1, 1))
    values = slopes[:, :, :, 0] * x + slopes[:, :, :, 1] * x[:, None]
    anchors = np.array([[-6.0, -4.0], [6.0, -4.0], [0.0, 8.0]])
    result = xr.Dataset(
        {
            name: (("network", "state", "edge"), ends[..., column])
            for column, name in enumerate(("x0", "y0", "x1", "y1"))
        }
        | {
            "edges": (("network", "state"), counts),
            "regions": (("network", "state"), counts // 2),
            "window": ("network", np.full(len(names), 12.0)),
            "predicted": (("network", "state", "y", "x"), values.argmax(2)),
            "anchor_x": (("network", "anchor"), np.tile(anchors[:, 0], (len(names), 1))),
            "anchor_y": (("network", "anchor"), np.tile(anchors[:, 1], (len(names), 1))),
            "anchor_label": (("network", "anchor"), np.tile([0, 1, 2], (len(names), 1))),
        },
        coords={
            "network": names,
            "state": np.array(STATES, object),
            "edge": np.arange(edges),
            "x": x,
            "y": x,
        },
    )
    stores.validate(result, "slices", "synthetic slices")
    return stores.describe(result, "slices")


def _set_side(table: dict[str, np.ndarray], side: Side, row: int) -> None:
    """Gives a pair's network the hyper-parameters of its side."""
    for name, value in side.made(SETTINGS).items():
        if name == "augmentation":
            table["max_shift"][row] = 1 if value else 0
            continue
        table[name][row] = value
        if name == "stop":
            # above all training losses
            table["target_loss"][row] = 10.0 if value == "loss" else 0.0
        if name == "optimizer":
            full = value == "lbfgs"
            table["learning_rate"][row] = 1.0 if full else 0.03
            table["batch_size"][row] = 500 if full else 64
            table["steps"][row] = 100 if full else 1000


def _complexity(
    log10_sensitivity: np.ndarray, size: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Complexity measures: the sharpness goes with the sensitivity, norms with the size.

    The rest is noise.
    """
    names = SCHEMAS["complexity"].variables
    found = {name: rng.normal(0, 1, len(size)) for name in names}
    found["sharpness_magnitude"] = 10 ** (log10_sensitivity + rng.normal(0, 0.2, len(size)))
    found["frobenius_product_log10"] += size
    for name in ("distance", "spectral_distance", "inverse_margin", "sharpness"):
        found[name] = 10 ** found[name]
    return found


def _parameters(depth: np.ndarray, width: np.ndarray) -> np.ndarray:
    return (
        INPUTS * width + width + (depth - 1) * (width**2 + width) + width * CLASSES + CLASSES
    ).astype(int)
