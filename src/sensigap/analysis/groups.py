"""Effects in the groups of an axis: 'mixed' verdicts and interactions (STATISTICS, section 6)."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from scipy import stats

from sensigap.analysis.bootstrap import DoesNotApply, cluster_variance, from_scale, resample_counts
from sensigap.analysis.verdicts import Finding, Settings, holm_adjusted

#: fewest architectures, and networks or pairs, of a group
ARCHITECTURES = 8
MEMBERS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Axis:
    """Networks or pairs by their value on an axis."""

    name: str
    #: value of each (network,)
    places: np.ndarray
    #: architecture of each, as a number from 0 (network,)
    architecture: np.ndarray

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """'optimizer sgd' -> whether each belongs to it (network,): the groups that suffice."""
        return {
            f"{self.name} {level}": member
            for level, member in self.levels.items()
            if member.sum() >= MEMBERS
            and len(np.unique(self.architecture[member])) >= ARCHITECTURES
        }

    @property
    def levels(self) -> dict[str, np.ndarray]:
        """Value, in words -> whether each belongs to it (network,): all of them."""
        return {
            f"{level:g}" if isinstance(level, float) else str(level): self.places == level
            for level in sorted(set(self.places.tolist()))
        }


#: p, side of the null and effect in words of some networks (network,) bool; the name of the draws
Test = Callable[[np.ndarray, str], tuple[float, int, str]]


def mixed(found: Finding, axes: list[Axis], test: Test, settings: Settings) -> Finding:
    """The finding with what its axes' groups say: an axis is mixed where two are opposite.

    Groups are tested as the row is, Holm over an axis' groups.

    Args:
        found: of all networks.
        axes: to look at.
        test: of a group; raises `DoesNotApply`.
        settings: of the tests.
    """
    against, remarks = [], []
    for axis in axes:
        tests = {}
        for name, member in axis.groups.items():
            try:
                tests[name] = test(member, name)
            except DoesNotApply:
                continue
        if not tests:
            remarks.append(
                f"by {axis.name}: no group with {ARCHITECTURES} architectures and {MEMBERS} members"
            )
            continue
        adjusted = holm_adjusted(np.array([p for p, _, _ in tests.values()]))
        sides = {
            side
            for p, (_, side, _) in zip(adjusted, tests.values(), strict=True)
            if p < settings.alpha
        }
        if {-1, 1} <= sides:
            against.append(axis.name)
        listed = ", ".join(
            f"{name} {text} (Holm p {p:.2g})"
            for p, (name, (_, _, text)) in zip(adjusted, tests.items(), strict=True)
        )
        remarks.append(f"by {axis.name}: {listed}")
    if against:
        remarks.insert(0, f"significant in opposite directions by {' and '.join(against)}")
    found = found.noted(*remarks, first=bool(against))
    return dataclasses.replace(found, mixed=" and ".join(against))


def interaction(
    axis: Axis,
    effects: Mapping[str, float],
    resample: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
    *,
    resamples: int,
    scale: str,
) -> Finding:
    """Whether an effect differs between the groups of an axis.

    With effects d of the k groups and their covariance S from one joint bootstrap over the G
    architectures, and contrasts C, F = (G-k+1) / ((G-1)(k-1)) d'C'(CSC')^-1 C d on (k-1, G-k+1).

    Args:
        axis: whose groups.
        effects: group -> its effect on the scale, in the order of `axis.groups`.
        resample: (members, their counts in each resample) -> their effect there (resample,).
        rng: draws the resamples.
        resamples: how many.
        scale: of the effects, a key of `bootstrap.SCALES`.

    Raises:
        DoesNotApply: fewer than two groups, too many for the architectures, or no variance.
    """
    groups = {name: member for name, member in axis.groups.items() if name in effects}
    k = len(groups)
    if k < 2:
        raise DoesNotApply(
            f"{k} groups with {ARCHITECTURES} architectures and {MEMBERS} members, 2 are needed"
        )
    anyone = np.logical_or.reduce(list(groups.values()))
    codes, own = np.unique(axis.architecture[anyone], return_inverse=True)
    G = len(codes)
    if G - k + 1 < 2:
        raise DoesNotApply(f"{G} architectures are too few for {k} groups")
    counts = np.zeros((len(anyone), resamples), np.uint16)
    counts[anyone] = resample_counts(rng, G, resamples)[own]
    resampled = np.stack([resample(member, counts[member]) for member in groups.values()])
    for values in resampled:
        cluster_variance(values, G)
    defined = np.isfinite(resampled).all(axis=0)
    covariance = np.cov(resampled[:, defined], bias=True) * G / (G - 1)
    d = np.array([effects[name] for name in groups])
    contrasts = np.eye(k)[1:] - np.eye(k)[:1]
    apart = contrasts @ d
    between = contrasts @ covariance @ contrasts.T
    if np.linalg.matrix_rank(between, hermitian=True) < k - 1:
        raise DoesNotApply("the groups' effects do not vary over architectures")
    F = float(apart @ np.linalg.solve(between, apart)) * (G - k + 1) / ((G - 1) * (k - 1))
    p = float(stats.f.sf(F, k - 1, G - k + 1))
    listed = ", ".join(
        f"{name} {from_scale(scale, value):.3g}" for name, value in zip(groups, d, strict=True)
    )
    remark = f"F({k - 1}, {G - k + 1}); {listed}; test points fixed"
    return Finding(F, np.nan, np.nan, p, 0, (remark,))
