"""Exact measures of sensitivity: Jacobian norms and transitions between linear regions."""

from sensitivity.measures.jacobian import jacobian_norm
from sensitivity.measures.transitions import transitions

__all__ = ["jacobian_norm", "transitions"]
