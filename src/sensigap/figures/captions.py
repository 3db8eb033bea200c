"""Sentences that captions share: how many were drawn, and what was left out and why."""

from collections.abc import Mapping

import numpy as np

from sensigap.analysis.survey_table import LeftOut
from sensigap.figure_names import FIGURES, Caption

#: dataset, or another part of the figure -> (number drawn, what was left out)
Counts = Mapping[str, tuple[int, LeftOut]]


def titled(name: str, text: str, details: str, finding: str) -> Caption:
    """A figure's caption, with its title.

    Args:
        name: a key of `FIGURES`.
        text: two sentences: what the marks are, and how to read them.
        details: definitions and counts.
        finding: what the figure shows; empty: nothing.
    """
    return Caption(FIGURES[name], text, details, finding or "Nothing is drawn.")


def plural(count: int, noun: str) -> str:
    """'1 network', '1,200 networks'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def chosen_counts(status: np.ndarray, drawn: int, what: str) -> LeftOut:
    """What was left out of the networks chosen for a measure that only fitted ones get.

    Args:
        status: of the networks chosen (network,).
        drawn: how many of them were measured.
        what: names the networks chosen.
    """
    left_out = LeftOut(len(status), what)
    for reason in ("not fitted", "diverged"):
        left_out.add(reason, int((status == reason).sum()))
    left_out.add("fitted but not measured", int((status == "fitted").sum()) - drawn)
    return left_out


def counts_sentence(noun: str, counts: Counts) -> str:
    """Numbers drawn and left out, part by part.

    For example 'digits: n = 40 networks (left out: 4 of 44 survey networks: 4 not fitted).'
    """
    parts = []
    for name, (drawn, left_out) in counts.items():
        reasons = str(left_out) if left_out.count else "none"
        parts.append(f"{name}: n = {plural(drawn, noun)} (left out: {reasons}).")
    return " ".join(parts)
