"""The hidden units: one family, a shifted clamp (STUDY, 'Networks')."""

import math
from typing import NamedTuple


class Clamp(NamedTuple):
    """The hidden unit phi(z) = min(max(z + shift, low), high)."""

    shift: float
    low: float
    high: float


UNITS: dict[str, Clamp] = {
    "relu": Clamp(0.0, 0.0, math.inf),
    "relu6": Clamp(0.0, 0.0, 6.0),
    "hardtanh": Clamp(0.0, -1.0, 1.0),
    "hardsigmoid": Clamp(0.5, 0.0, 1.0),
}
