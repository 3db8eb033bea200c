import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from measure_helpers import spec
from sensigap.networks import ClampUnit, HardSigmoid, from_sequential, initial
from sensigap.units import UNITS

MODULES = [
    nn.ReLU(),
    nn.ReLU6(),
    nn.Hardtanh(),
    nn.Hardtanh(-0.5, 2.0),
    nn.Hardsigmoid(),
    HardSigmoid(),
    ClampUnit(0.1, -1.0, 3.0),
]


def network(unit, widths=(7, 5), inputs=6, classes=3, bias=True):
    layers = []
    sizes = [inputs, *widths]
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b, bias=bias), unit]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


@pytest.mark.parametrize("unit", MODULES, ids=repr)
@pytest.mark.parametrize("bias", [True, False])
def test_from_sequential_computes_the_same(unit, bias):
    model = network(unit, bias=bias).double()
    stack = from_sequential(model)
    x = torch.randn(50, 6, dtype=torch.float64) * 5
    torch.testing.assert_close(stack.logits(x)[0], model(x))
    torch.testing.assert_close(stack.sequential(0)(x), model(x))
    assert (stack.depth, stack.inputs, stack.classes, stack.widths) == (2, 6, 3, (7, 5))
    assert stack.parameters == sum(p.numel() for p in stack.sequential(0).parameters())


def test_from_a_list_of_networks_with_units_that_differ():
    models = [network(unit) for unit in MODULES]
    stack = from_sequential(models)
    x = torch.randn(20, 6)
    assert len(stack) == len(models)
    for k, model in enumerate(models):
        torch.testing.assert_close(stack.logits(x)[k], model(x))
        torch.testing.assert_close(stack.select([k]).logits(x)[0], model(x))


def test_weights_are_copied():
    model = network(nn.ReLU())
    stack = from_sequential(model)
    before = stack.weights[0].clone()
    nn.init.zeros_(model[0].weight)
    assert torch.equal(stack.weights[0], before)
    assert not stack.weights[0].requires_grad


class Doubled(nn.ReLU):
    def forward(self, z):
        return 2 * super().forward(z)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (
            [nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 2)],
            TypeError,
            r"network\[1\] \(Sigmoid\) is not supported",
        ),
        (
            [nn.Linear(2, 3), Doubled(), nn.Linear(3, 2)],
            TypeError,
            r"network\[1\] \(Doubled\) has a forward method of its own",
        ),
        ([nn.Linear(2, 3), nn.ReLU()], ValueError, "last layer must be a Linear layer"),
        (
            [nn.ReLU(), nn.Linear(3, 2)],
            ValueError,
            r"network\[0\] \(ReLU\): expected a Linear layer before",
        ),
        ([nn.Linear(2, 3), nn.Linear(3, 2)], ValueError, r"network\[1\].*expected an activation"),
        ([nn.Linear(2, 3), nn.ReLU(), nn.ReLU(), nn.Linear(3, 2)], ValueError, r"network\[2\]"),
        ([], ValueError, "last layer must be"),
    ],
)
def test_unsupported_networks_are_named(layers, error, message):
    with pytest.raises(error, match=message):
        from_sequential(nn.Sequential(*layers))


def test_lists_must_hold_networks_of_one_shape():
    with pytest.raises(ValueError, match="network 1 has"):
        from_sequential([network(nn.ReLU()), network(nn.ReLU(), widths=(7, 4))])
    with pytest.raises(ValueError, match="empty list"):
        from_sequential([])


def test_initial_weights_depend_on_their_own_spec_alone():
    specs = [spec(unit=unit, seed=k, gain=2.0) for k, unit in enumerate(UNITS)]
    stack = initial(specs, 64, 10)
    for k, one in enumerate(specs):
        alone = initial([one], 64, 10)
        for together, single in zip(stack.weights, alone.weights, strict=True):
            assert torch.equal(together[k], single[0])
        assert stack.low[k].tolist() == [UNITS[one.unit].low] * 3
    assert float(stack.weights[1].std()) == pytest.approx(2.0 / math.sqrt(32), rel=0.05)
    assert all((b == 0).all() for b in stack.biases)
    wide = initial([spec(width=8, depth=1, precision="float64")], 10_000, 2).weights[0].numpy()
    assert np.std(wide) * 100 == pytest.approx(1.4, rel=0.02)
    with pytest.raises(ValueError, match="one depth, width and precision"):
        initial([spec(width=8), spec(width=9)], 64, 10)
