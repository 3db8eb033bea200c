"""Which networks a measure takes that does not take all; a choice hangs on no other network."""

from collections.abc import Mapping
from typing import Any

from sensigap import seeds


def by_share(identity: str, settings: Mapping[str, Any]) -> bool:
    """Whether a network is among a seeded share of all there might be.

    ASSUME: a seeded share rather than a fixed number, so that adding networks to a study changes
    nothing for those that are there.

    Args:
        identity: the network's id.
        settings: `share` of the networks, and `seed` of the choice.
    """
    return seeds.share(settings["seed"], "ellipses", identity) < settings["share"]


def where_asked(identity: str, settings: Mapping[str, Any]) -> bool:
    """Every network, where there are functions to call."""
    return bool(settings["functions"])


def by_name(identity: str, settings: Mapping[str, Any]) -> bool:
    """Whether a network is listed among the ids of the setting `networks`."""
    return identity in settings["networks"]
