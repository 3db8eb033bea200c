"""The stack's optimizers against torch.optim, one network at a time."""

import pytest
import torch

from sensigap.training.optimizers import MINIBATCH_OPTIMIZERS, OPTIMIZER_CLASSES

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def peer(name, parameters, rate):
    return {
        "sgd": lambda: torch.optim.SGD([parameters], rate),
        "momentum": lambda: torch.optim.SGD([parameters], rate, momentum=0.9),
        "adam": lambda: torch.optim.Adam([parameters], rate),
        "rmsprop": lambda: torch.optim.RMSprop([parameters], rate),
    }[name]()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", MINIBATCH_OPTIMIZERS)
def test_equals_torch_step_by_step_on_the_same_gradients(name, dtype):
    generator = torch.Generator().manual_seed(3)
    networks, length = 3, 96
    rates = torch.tensor([0.03, 0.001, 0.2], dtype=torch.float64)
    ours = torch.randn(networks, length, generator=generator, dtype=dtype)
    theirs = ours.clone()
    optimizer = OPTIMIZER_CLASSES[name](networks, length, ours)
    peers = [peer(name, theirs[k].requires_grad_(), float(rates[k])) for k in range(networks)]
    for step in range(1, 101):
        # scales as they occur: from large ones down to those of a fitted network
        gradients = torch.randn(networks, length, generator=generator, dtype=dtype) * 0.9**step
        made = torch.full((1, networks), step, dtype=torch.float64)
        coefficients = [part[0].to(dtype) for part in optimizer.coefficients(rates, made)]
        optimizer.update(ours, gradients, coefficients)
        for k, other in enumerate(peers):
            (parameters,) = other.param_groups[0]["params"]
            parameters.grad = gradients[k]
            other.step()
            with torch.no_grad():
                difference = (ours[k] - parameters).norm() / parameters.norm()
            assert difference < TOLERANCE[dtype], (step, k)


def test_networks_of_one_stack_may_have_made_different_numbers_of_steps():
    generator = torch.Generator().manual_seed(4)
    gradients = torch.randn(30, 2, 32, generator=generator, dtype=torch.float64)
    start = torch.randn(2, 32, generator=generator, dtype=torch.float64)
    rates = torch.tensor([0.1, 0.02], dtype=torch.float64)
    together, alone = start.clone(), start.clone()
    optimizer = OPTIMIZER_CLASSES["adam"](2, 32, together)
    late = 10  # the second network joins after 10 steps of the first
    for step in range(30):
        count = 2 if step >= late else 1
        made = torch.tensor([[step + 1, step + 1 - late][:count]], dtype=torch.float64)
        coefficients = [part[0] for part in optimizer.coefficients(rates[:count], made)]
        optimizer.update(together[:count], gradients[step, :count], coefficients)
    for k, first in enumerate((0, late)):
        single = OPTIMIZER_CLASSES["adam"](1, 32, alone)
        for step in range(first, 30):
            made = torch.tensor([[step + 1 - first]], dtype=torch.float64)
            coefficients = [part[0] for part in single.coefficients(rates[k : k + 1], made)]
            single.update(alone[k : k + 1], gradients[step, k : k + 1], coefficients)
    assert torch.equal(together, alone)
