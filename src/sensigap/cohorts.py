"""Cohorts: the networks that one job trains. A cohort never changes, and the plan only grows.

`extend` is a pure function of the old plan and the design: a network that has a cohort keeps it,
new networks form new cohorts, and networks taken out of the design stay where they are. So an
extended study trains and measures only what is new.
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sensigap.datasets.known import KNOWN
from sensigap.files import written_whole
from sensigap.spec import NetworkSpec

#: network id -> (cohort, spec), in the order of planning
Plan = dict[str, tuple[str, NetworkSpec]]


class PlanError(ValueError):
    """The plan file cannot be read."""


def flops(spec: NetworkSpec) -> float:
    """About how many floating-point operations training and measuring a network takes.

    Counts matrix products: forward and backward are 6 operations a weight and image, the Jacobian
    2 C a weight and test point, a polygon 2 a weight and vertex or transition. It only has to rank
    networks and to cut cohorts of about equal length.
    """
    facts = KNOWN[spec.dataset]
    inputs = facts.channels * facts.height * facts.width
    hidden = spec.width * spec.width * (spec.depth - 1)
    weights = inputs * spec.width + hidden + spec.width * facts.classes
    if spec.optimizer == "lbfgs":
        # ASSUME: it ends by its tolerances after about a tenth of 100 steps of 25 evaluations
        training = 6.0 * weights * spec.train_size * 250
    else:
        training = 6.0 * weights * spec.batch_size * spec.steps
    jacobians = 2.0 * facts.classes * weights * facts.test_size
    polygons = 2.0 * facts.transition_points * (facts.width + spec.width * spec.depth) * hidden
    return training + jacobians + polygons


def extend(plan: Plan, specs: Iterable[NetworkSpec], budget: float) -> Plan:
    """The plan with a cohort for every spec that has none yet.

    Args:
        plan: the old plan; its networks keep their cohorts.
        specs: the design's networks.
        budget: about how many FLOP a cohort may cost (`flops`); a larger network is one alone.

    Returns:
        A new plan: the old one and, after it, the new cohorts.
    """
    new: dict[str, dict[str, NetworkSpec]] = {}
    for spec in specs:
        if spec.id not in plan:
            new.setdefault(spec.dataset, {})[spec.id] = spec
    extended = dict(plan)
    for dataset, wanted in new.items():
        # same-shaped networks side by side, since they step together
        ordered = sorted(
            wanted.values(),
            key=lambda s: (
                s.optimizer == "lbfgs",
                s.width,
                s.depth,
                s.batch_size,
                s.optimizer,
                s.steps,
                s.id,
            ),
        )
        for members in _cut(ordered, budget):
            digest = hashlib.sha256("".join(sorted(s.id for s in members)).encode()).hexdigest()
            for spec in members:
                extended[spec.id] = (f"{dataset}-{digest[:8]}", spec)
    return extended


def _cut(specs: list[NetworkSpec], budget: float) -> list[list[NetworkSpec]]:
    """Consecutive groups of about equal cost, each about `budget` at most."""
    costs = np.array([flops(spec) for spec in specs])
    target = costs.sum() / math.ceil(costs.sum() / budget)
    # the middle of a network's stretch of the total decides, so that no rest is left at the end
    places = ((np.cumsum(costs) - costs / 2) / target).astype(int)
    return [[specs[k] for k in np.flatnonzero(places == place)] for place in np.unique(places)]


def members(plan: Plan, networks: Iterable[str]) -> dict[str, list[str]]:
    """Cohort -> those of `networks` that it trained, for cohorts that hold any."""
    found: dict[str, list[str]] = {}
    for identity in networks:
        found.setdefault(plan[identity][0], []).append(identity)
    return found


def specs_by_cohort(plan: Plan) -> dict[str, list[NetworkSpec]]:
    """Cohort -> all its networks, those taken out of the design included."""
    found: dict[str, list[NetworkSpec]] = {}
    for cohort, spec in plan.values():
        found.setdefault(cohort, []).append(spec)
    return found


def read_plan(path: str | Path) -> Plan:
    """The plan in a file; an empty one where there is no file.

    Raises:
        PlanError: the file is not a plan.
    """
    path = Path(path)
    if not path.exists():
        return {}
    plan: Plan = {}
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                spec = NetworkSpec.from_json(row["spec"])
                if spec.id != row["network"]:
                    raise ValueError(f"network {row['network']} has a spec whose id is {spec.id}")
                plan[spec.id] = (row["cohort"], spec)
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"{path}: expected a plan (columns network, cohort, spec), but {error}. "
            "Restore the file, or delete it: cohorts are then planned anew, "
            "and trained again where they differ."
        ) from error
    return plan


def write_plan(plan: Mapping[str, tuple[str, NetworkSpec]], path: str | Path) -> None:
    """Writes a plan whole, if it says anything new."""
    path = Path(path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["network", "cohort", "spec"])
    writer.writerows(
        [identity, cohort, spec.to_json()] for identity, (cohort, spec) in plan.items()
    )
    if path.exists() and path.read_text() == text.getvalue():
        return
    with written_whole(path) as temporary:
        temporary.write_text(text.getvalue())
