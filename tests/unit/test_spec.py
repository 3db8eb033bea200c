import dataclasses
import json

import numpy as np
import pytest

from sensigap import seeds
from sensigap.spec import NetworkSpec

BASE = NetworkSpec(
    dataset="digits",
    train_size=500,
    depth=2,
    width=64,
    unit="relu",
    optimizer="momentum",
    learning_rate=0.03,
    batch_size=64,
    gain=1.0,
    steps=1000,
    seed=0,
)


def test_id_is_pinned():
    # a changed id makes every user train everything again: this value may never change
    assert BASE.id == "73784dc68650"


def test_id_changes_with_every_field():
    changed = {
        "int": lambda v: v + 1,
        "float": lambda v: v + 0.125,
        "str": lambda v: v + "x",
        "bool": lambda v: not v,
    }
    ids = {BASE.id}
    for field in dataclasses.fields(NetworkSpec):
        value = changed[getattr(field.type, "__origin__", field.type).__name__](
            getattr(BASE, field.name)
        )
        ids.add(dataclasses.replace(BASE, **{field.name: value}).id)
    assert len(ids) == 1 + len(dataclasses.fields(NetworkSpec))


def test_fields_at_their_default_are_not_in_the_id():
    assert "labels" not in json.loads(BASE.to_json())
    assert json.loads(dataclasses.replace(BASE, labels="random").to_json())["labels"] == "random"


def test_json_round_trip():
    spec = dataclasses.replace(BASE, labels="random", max_shift=2, flip=True, learning_rate=1e-4)
    assert NetworkSpec.from_json(spec.to_json()) == spec


def test_generators_depend_on_every_argument_alone():
    def draw(*args):
        return seeds.generator(*args).integers(2**60)

    assert draw(0, "a", 1) == draw(0, "a", 1)
    assert (
        len({draw(0, "a", 1), draw(1, "a", 1), draw(0, "b", 1), draw(0, "a", 2), draw(0, "a")}) == 5
    )


@pytest.mark.parametrize("fraction", [0.1, 0.7])
def test_share_keeps_about_a_share(fraction):
    kept = np.mean([seeds.share(0, "ellipses", str(k)) < fraction for k in range(4000)])
    # four standard errors
    assert abs(kept - fraction) < 4 * np.sqrt(fraction * (1 - fraction) / 4000)
