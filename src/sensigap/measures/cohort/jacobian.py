"""Jacobian norms, loss and margin of a cohort's networks at test points."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from sensigap import seeds
from sensigap.datasets.images import Images, standardise, training_subset
from sensigap.kinds import LOW_CONFIDENCE, TEMPERED_MARGIN
from sensigap.measures.cohort.members import (
    Advance,
    Member,
    once_a_subset,
    sample_coordinates,
    silent,
    test_points,
)
from sensigap.measures.jacobian import TEMPERED, jacobian_norm, measure_points
from sensigap.networks import Stack
from sensigap.spec import NetworkSpec

#: bytes of standardised test images held at once; more are standardised again for each part
POINT_BYTES = 2**29
#: what is kept of each network at each test point
_AT_POINTS = (
    *("jacobian_norm", "jacobian_norm_log10", "logit_jacobian_norm", "loss", "margin"),
    *("confidence", "log_doubt", "target_probability", "squared_probabilities", "prediction"),
)
#: what is averaged over them
_AVERAGED = ("doubt", "top_two_margin", "squared_logits", "tempered_norm")


def measure(
    members: Sequence[Member],
    images: Images,
    *,
    points: int,
    training_points: int,
    seed: int,
    device: str = "cpu",
    advance: Advance = silent,
) -> xr.Dataset:
    """Jacobian norms, loss and margin of networks at test points.

    The mean norm at some of its training points is measured beside them, and which images of the
    whole test set it classifies rightly: the gap is over all of them.

    Args:
        members: the networks, one a stack.
        images: their data set.
        points: test points at most, the first of the order of `members.test_points`.
        training_points: number of points, unaugmented, of each network's training subset; all of
            them if there are fewer.
        seed: of that order, and of the choice of training points, which depends on the subset and
            on nothing else.
        device: where the Jacobians are computed, as torch.device takes it.
        advance: is told the share of the work that has been done since the last call.

    Returns:
        Schema 'jacobian'; `sample` holds the test points in the order of the test set, and
        `test_image` stands for all of it, in that order.
    """
    samples = np.sort(test_points(images, points, seed))
    every_label = torch.from_numpy(images.test_labels)
    labels = every_label[samples]
    members = [(spec, stack.to(torch.device(device))) for spec, stack in members]
    columns = {name: np.zeros((len(members), len(labels))) for name in (*_AT_POINTS, *_AVERAGED)}
    train_sensitivity, margins = np.zeros((2, len(members)))
    correct = np.zeros((len(members), len(every_label)), np.int8)
    at_once = max(1, POINT_BYTES // (4 * images.inputs))
    parts = range(0, len(labels), at_once)
    part_done = 1 / max(len(members) * (len(parts) + 1), 1)
    # a pass without Jacobians comes first: it gives the temperatures at which these are measured
    asked = torch.zeros(len(every_label), dtype=torch.bool)
    asked[samples] = True
    for start in range(0, len(every_label), at_once):
        part = slice(start, start + at_once)
        x = torch.from_numpy(standardise(images.test_images[part])).double()
        for k, (_, stack) in enumerate(members):
            z = stack.to(torch.float64).logits(x.to(stack.device))[0].cpu()
            true, others = _true_and_others(z, every_label[part])
            correct[k, part] = (true > others.amax(1)).numpy()
            margins[k] += float(_top_two_margin(z[asked[part]]).sum()) / len(labels)
    for start in parts:
        part = slice(start, start + parts.step)
        x = torch.from_numpy(standardise(images.test_images[samples[part]]))
        for k, (_, stack) in enumerate(members):
            # a network whose logits all tie has none
            temperature = margins[k] / TEMPERED_MARGIN if margins[k] > 0 else 1.0
            for name, values in _point_measures(stack, x, labels[part], temperature).items():
                columns[name][k, part] = values.cpu().numpy()
            advance(part_done)
    means = {name: columns.pop(name).mean(1) for name in _AVERAGED}
    means["logit_jacobian"] = columns["logit_jacobian_norm"].mean(1)

    @once_a_subset
    def at_training_points(spec: NetworkSpec) -> torch.Tensor:
        subset = training_subset(images, spec.train_size, spec.subset_seed)
        draws = seeds.generator(seed, "training points", spec.train_size, spec.subset_seed)
        chosen = np.sort(draws.permutation(subset)[:training_points])
        return torch.from_numpy(standardise(images.train_images[chosen]))

    for k, (spec, stack) in enumerate(members):
        norms = jacobian_norm(stack, at_training_points(spec))
        train_sensitivity[k] = float(norms.mean())
        advance(part_done)
    zeros = np.isneginf(columns["jacobian_norm_log10"]).sum(1)
    predictions = columns.pop("prediction").astype(np.int16)
    with np.errstate(divide="ignore", invalid="ignore"):
        over_margin = means["logit_jacobian"] / means["top_two_margin"]
        over_scale = means["logit_jacobian"] / np.sqrt(means["squared_logits"])
    return xr.Dataset(
        {name: (("network", "sample"), values) for name, values in columns.items()}
        | {
            "jacobian_zero": ("network", zeros),
            "train_sensitivity": ("network", train_sensitivity),
            "prediction": (("network", "sample"), predictions),
            "correct": (("network", "test_image"), correct),
            "mean_doubt": ("network", means["doubt"]),
            "low_confidence": ("network", (columns["confidence"] < LOW_CONFIDENCE).mean(1)),
            "logit_jacobian_over_margin": ("network", over_margin),
            "logit_jacobian_over_scale": ("network", over_scale),
            "tempered_sensitivity": (
                "network",
                np.where(margins > 0, means["tempered_norm"], np.nan),
            ),
        },
        sample_coordinates(members, samples, images.test_labels[samples]),
    )


def _true_and_others(z: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """True logit (point,), and the logits with -inf in its place (point, class)."""
    places = labels[:, None]
    return z.gather(1, places)[:, 0], z.scatter(1, places, -torch.inf)


def _top_two_margin(z: torch.Tensor) -> torch.Tensor:
    """Largest logit minus the second (point,), from logits (point, class)."""
    best = z.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def _point_measures(
    stack: Stack, x: torch.Tensor, labels: torch.Tensor, temperature: float
) -> dict[str, torch.Tensor]:
    """`_AT_POINTS` and `_AVERAGED` of a stack of one network: (point,) tensors, float64."""
    measured = measure_points(stack, x, temperatures=[temperature])
    z = measured.logits[0]
    labels = labels.to(z.device)
    true, others = _true_and_others(z, labels)
    ordered = z.sort(1, descending=True).values
    f = torch.softmax(ordered, 1)
    # sum_i f_i^2 ((1 - f_i)^2 + sum_{j != i} f_j^2); for the top class 1 - f would cancel
    squares = (f**2).sum(1, keepdim=True)
    brackets = (1 - f) ** 2 + squares - f**2
    brackets[:, 0] = f[:, 1:].sum(1) ** 2 + (f[:, 1:] ** 2).sum(1)
    return {
        "jacobian_norm": measured.norm("softmax")[0],
        "jacobian_norm_log10": measured.log10_norm["softmax"][0],
        "logit_jacobian_norm": measured.norm("logits")[0],
        # log(1 + sum_{j != y} exp(z_j - z_y)), which keeps losses below 1e-16
        "loss": torch.logaddexp(torch.zeros_like(true), others.logsumexp(1) - true),
        "margin": true - others.amax(1),
        "confidence": f[:, 0],
        # of the others' logits, which keeps what is below 1e-16 of 1
        "log_doubt": ordered[:, 1:].logsumexp(1) - z.logsumexp(1),
        "target_probability": torch.log_softmax(z, 1).gather(1, labels[:, None])[:, 0].exp(),
        "squared_probabilities": (f**2 * brackets).sum(1),
        "prediction": z.argmax(1),
        # the sum of the others: 1 - f would cancel
        "doubt": f[:, 1:].sum(1),
        "top_two_margin": _top_two_margin(z),
        "squared_logits": (z - z.mean(1, keepdim=True)).square().mean(1),
        "tempered_norm": measured.norm(TEMPERED)[0],
    }
