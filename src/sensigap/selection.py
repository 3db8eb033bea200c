"""Seeded choices of networks that depend on no other network."""

from sensigap import seeds


def chosen(identity: str, measure: str, share: float, seed: int) -> bool:
    """Whether a network is among the share of all that get a measure.

    ASSUME: a seeded share rather than a fixed number, so that adding networks to a study changes
    nothing for those that are there.

    Args:
        identity: the network's id.
        measure: what is measured, for example 'ellipses'; choices for different ones are
            independent.
        share: of all networks, from 0 to 1.
        seed: of the choice.
    """
    return seeds.share(seed, measure, identity) < share
