"""Exact measures of sensitivity: Jacobian norms and transitions between linear regions."""

from sensitivity.measures.ellipses import ellipse_crossings, ellipse_transitions
from sensitivity.measures.jacobian import jacobian_norm
from sensitivity.measures.transitions import crossings, transitions
from sensitivity.measures.walk import Crossings

__all__ = [
    "Crossings",
    "crossings",
    "ellipse_crossings",
    "ellipse_transitions",
    "jacobian_norm",
    "transitions",
]
