"""Made-up samples with known truth, for the calibration of tests and intervals.

The unit tests draw some hundred of each kind, `benchmarks/calibration.py` thousands.
"""

import dataclasses
import math

import numpy as np
import pandas as pd
import xarray as xr

from sensigap.analysis import groups, regression
from sensigap.analysis.crossfit import crossfitted
from sensigap.analysis.errors import Estimate, Halvings
from sensigap.analysis.pair_effects import PairEffect
from sensigap.analysis.point_rows import over_networks
from sensigap.analysis.point_statistics import STATISTICS
from sensigap.analysis.points import Points
from sensigap.analysis.relations import Relation
from sensigap.analysis.shared_points import SharedPoints
from sensigap.analysis.survey_table import COMPARED
from sensigap.analysis.verdicts import Question, Settings

SETTINGS = Settings(bootstrap=200, halvings=100, crossfit_splits=5)
QUESTION = Question(
    key="C9.s", claim="C9", dataset="made up", quantity="q", test="t", effect="e", claimed=1
)


def allowance(rate, trials):
    """Two Monte-Carlo standard errors (STATISTICS, section 10)."""
    return 2 * math.sqrt(rate * (1 - rate) / trials)


def pair_sample(rng, count, correlation, ratio, *, errors="normal", points=100):
    """Differences of mean 0 and SD 1, alike within architectures, 1 to 12 pairs each.

    All pairs share an error of the points whose SD is `ratio` times that of architectures.
    """
    sizes = rng.integers(1, 13, count)
    codes = np.repeat(np.arange(count), sizes)
    draw = rng.normal if errors == "normal" else lambda size: rng.exponential(size=size) - 1
    own = math.sqrt(correlation) * draw(size=count)[codes]
    own = own + math.sqrt(1 - correlation) * draw(size=len(codes))
    error = math.sqrt((correlation + (1 - correlation) / sizes).sum()) / count
    of_points = rng.normal(0, ratio * error * math.sqrt(points) + 1e-9, points)
    halves = Halvings(rng, 50, points).means(of_points[None])
    return PairEffect(own + of_points.mean(), own[:, None] + halves, codes, points)


def relation(rng, architectures, rho, shared, *, points=60, each=5):
    """Networks in architectures whose y follows x; the points' error moves their correlation."""
    codes = np.repeat(np.arange(architectures), each)
    n = len(codes)

    def alike():
        return 0.6 * rng.normal(size=architectures)[codes] + 0.8 * rng.normal(size=n)

    x = alike()
    y = rho * x + math.sqrt(1 - rho**2) * alike()
    of_points = rng.normal(0, shared * math.sqrt(points) + 1e-9, points)
    halves = Halvings(rng, SETTINGS.halvings, points).means(of_points[None])
    table = pd.DataFrame({"architecture": codes.astype(str)})
    return Relation(
        table=table,
        x=(x, None),
        y=(y + x * of_points.mean(), y[:, None] + x[:, None] * halves),
        points=points,
    )


def slope(rng, architectures, effect=0.0):
    """A regression slope with its jackknife error, x and y alike within uneven architectures."""
    codes = np.repeat(np.arange(architectures), rng.integers(1, 9, architectures))
    shared = rng.normal(size=(2, architectures))[:, codes]
    x, rest = 0.6 * shared + 0.8 * rng.normal(size=(2, len(codes)))
    y = effect * x + rest
    design = np.column_stack([np.ones(len(x)), rng.integers(0, 2, len(x))])
    found = float(regression.slopes(x[:, None], y[:, None], design)[0])
    error = regression.jackknife(x, y, design, codes, found)
    return Estimate(found, error, architectures)


def axis_sample(rng, architectures, levels):
    """One member of each level in each architecture."""
    architecture = np.repeat(np.arange(architectures), levels)
    return groups.Axis("gain", np.tile(np.arange(float(levels)), architectures), architecture)


def means_of(values, axis):
    """Effects of groups as means over their members, and in resamples."""
    effects = {name: float(values[member].mean()) for name, member in axis.groups.items()}

    def resample(member, counts):
        return (values[member] @ counts) / counts.sum(axis=0)

    return effects, resample


def interaction_p(rng, architectures, apart=0.0):
    """P of an interaction of three groups whose effects are `apart` standard deviations apart."""
    axis = axis_sample(rng, architectures, 3)
    values = rng.normal(size=architectures)[axis.architecture] + rng.normal(size=3 * architectures)
    effects, resample = means_of(values + apart * axis.places, axis)
    resamples = SETTINGS.bootstrap
    found = groups.interaction(axis, effects, resample, rng, resamples=resamples, scale="identity")
    return found.p


def shared_points(variables, right=None, places=None):
    """Test points that made-up networks share, from variables (network, point).

    Args:
        variables: by name.
        right: whether each image of the test set is classified rightly (network, image).
        places: of the points in it; None: all.
    """
    networks, samples = next(iter(variables.values())).shape
    survey = xr.Dataset(
        {name: (("network", "sample"), values) for name, values in variables.items()},
        {
            "network": [f"n{k}" for k in range(networks)],
            "sample": np.arange(samples) if places is None else places,
        },
    )
    if right is not None:
        survey["correct"] = ("network", "test_image"), right.astype(np.int8)
    return SharedPoints(survey, "made up", SETTINGS)


def crossfit(rng, architectures, rho, *, points=200, others=0, each=4):
    """The cross-fitted relation where a point that is hard moves all networks' norm and accuracy.

    Without a relation of the networks (`rho` 0) gap and norm still share their points. `others` are
    images of the test set without a norm.
    """
    codes = np.repeat(np.arange(architectures), each)
    n = len(codes)
    own, other = 0.6 * rng.normal(size=(2, architectures))[:, codes] + 0.8 * rng.normal(size=(2, n))
    images = points + others
    hard = rng.normal(size=images)
    scale = 0.5 * (rho * own + math.sqrt(1 - rho**2) * other)
    wrong = own[:, None] + 1.5 * hard - 1.5 + rng.logistic(size=(n, images)) > 0
    places = np.sort(rng.permutation(images)[:points]) if others else np.arange(points)
    norm = np.exp(scale[:, None] + hard[places] + 0.5 * rng.normal(size=(n, points)))
    shared = shared_points({"jacobian_norm": norm}, ~wrong, places)
    table = pd.DataFrame(dict.fromkeys(COMPARED, 0), index=shared.survey["network"].to_numpy())
    table = table.assign(
        gain=rng.integers(1, 3, n),
        architecture=codes.astype(str),
        gap=wrong.mean(axis=1),
        train_accuracy=1.0,
        sensitivity=norm.mean(axis=1),
    )
    # every trial has draws of its own
    shared.settings = dataclasses.replace(SETTINGS, seed=int(rng.integers(2**31)))
    return crossfitted(QUESTION, table, shared)


def point_mean(rng, key, rho, *, networks=20, points=200):
    """The mean over networks of a statistic of C5, of loss and norm with a correlation of `rho`.

    Half of the variance of each is the points' own, and all networks share it.
    """
    (statistic,) = (each for each in STATISTICS if each.key == key)
    own = rng.normal(size=(2, networks, points)) + rng.normal(size=(2, 1, points))
    loss = own[0] / math.sqrt(2)
    norm = rho * loss + math.sqrt((1 - rho**2) / 2) * own[1]
    shared = shared_points({"norm": norm})
    member = Halvings(rng, SETTINGS.halvings, points).member
    every = [
        Points(str(k), np.arange(points), loss[k], norm[k], loss[k] > 0.8, np.zeros(points))
        for k in range(networks)
    ]
    return over_networks(
        np.array([statistic.whole(of) for of in every]),
        np.stack([statistic.compute(of, member) for of in every]),
        shared,
        rng,
        statistic.scale,
    )
