import dataclasses

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sensigap import networks, weights
from sensigap.integrity import DamagedFileError
from test_spec import BASE

SPECS = [
    dataclasses.replace(BASE, depth=depth, width=5, unit=unit, seed=seed)
    for depth, unit, seed in [(1, "relu", 0), (2, "hardtanh", 0), (2, "hardsigmoid", 1)]
]


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "weights.safetensors"
    weights.save(
        path,
        [
            ([SPECS[0]], networks.initial(SPECS[:1], 7, 3)),
            (SPECS[1:], networks.initial(SPECS[1:], 7, 3)),
        ],
    )
    return path


def test_round_trip(saved):
    loaded = {
        spec: (stack, k) for specs, stack in weights.load(saved) for k, spec in enumerate(specs)
    }
    assert set(loaded) == set(SPECS)
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    for spec, (stack, k) in loaded.items():
        original = networks.initial([spec], 7, 3)
        assert torch.equal(stack.select([k]).logits(x), original.logits(x))


def test_anyone_can_load_one_network_into_a_sequential(saved):
    identity = SPECS[1].id
    module = nn.Sequential(
        nn.Linear(7, 5), nn.Hardtanh(), nn.Linear(5, 5), nn.Hardtanh(), nn.Linear(5, 3)
    )
    tensors = load_file(saved)
    prefix = f"{identity}."
    module.load_state_dict(
        {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    )
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    expected = networks.initial([SPECS[1]], 7, 3).logits(x)[0]
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damaged_file_is_named_and_set_aside(saved, damage):
    content = bytearray(saved.read_bytes())
    if damage == "truncated":
        content = content[:-100]
    else:
        content[-10] ^= 0x10
    saved.write_bytes(content)
    with pytest.raises(
        DamagedFileError, match=r"weights\.safetensors is damaged.*run the workflow"
    ):
        weights.load(saved)
    assert not saved.exists()
    assert saved.with_name("weights.safetensors.damaged").exists()


def test_numbers_of_another_kind_are_refused(saved):
    """Whole numbers of the same bytes, and so of the same checksum."""
    content = saved.read_bytes()
    assert b'"F32"' in content
    saved.write_bytes(content.replace(b'"F32"', b'"I32"'))
    with pytest.raises(DamagedFileError, match="no floating-point numbers"):
        weights.load(saved)


def test_nothing_but_the_file_is_left(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["weights.safetensors"]


def test_the_same_networks_make_the_same_bytes(saved, tmp_path):
    contents = set()
    for k in range(4):
        again = tmp_path / f"{k}.safetensors"
        weights.save(again, weights.load(saved))
        contents.add(again.read_bytes())
    assert contents == {saved.read_bytes()}


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DamagedFileError, match=r"none\.safetensors is missing.*Run the workflow"):
        weights.load(tmp_path / "none.safetensors")
