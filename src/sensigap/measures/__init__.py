"""Exact measures of sensitivity: Jacobian norms and transitions between linear regions."""

from sensigap.measures.ellipses import ellipse_crossings, ellipse_transitions
from sensigap.measures.jacobian import (
    PointMeasures,
    jacobian_norm,
    jacobian_rows,
    measure_points,
)
from sensigap.measures.polygons.walk import Crossings
from sensigap.measures.transitions import (
    crossings,
    part_lengths,
    transitions,
    transitions_along,
)

__all__ = [
    "Crossings",
    "PointMeasures",
    "crossings",
    "ellipse_crossings",
    "ellipse_transitions",
    "jacobian_norm",
    "jacobian_rows",
    "measure_points",
    "part_lengths",
    "transitions",
    "transitions_along",
]
