"""Sentences that captions share: how many were drawn, and what was left out and why."""

from collections.abc import Mapping

import numpy as np

#: dataset -> (number drawn, reason -> number left out)
Counts = Mapping[str, tuple[int, Mapping[str, int]]]


def plural(count: int, noun: str) -> str:
    """'1 network', '1,200 networks', '2 classes'."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def status_counts(status: np.ndarray) -> dict[str, int]:
    """How many networks are not fitted and how many diverged, in this order."""
    return {reason: int((status == reason).sum()) for reason in ("not fitted", "diverged")}


def counts_sentence(noun: str, counts: Counts) -> str:
    """What was drawn and left out: 'digits: n = 40 networks; left out: 3 not fitted, 1 diverged.'"""
    parts = []
    for dataset, (drawn, reasons) in counts.items():
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
        parts.append(f"{dataset}: n = {plural(drawn, noun)}; left out: {left_out or 'none'}.")
    return " ".join(parts)
