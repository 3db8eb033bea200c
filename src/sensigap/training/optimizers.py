"""Minibatch optimizers on the parameters (network, parameter) of a whole stack.

Each equals its namesake in torch.optim up to rounding. Learning rates and step counts differ
between the networks of a stack, so they are columns (network, 1).
"""

import torch

from sensigap.spec import OPTIMIZERS

MINIBATCH_OPTIMIZERS = tuple(name for name in OPTIMIZERS if name != "lbfgs")


class Optimizer:
    """Plain SGD, and what all optimizers share.

    Args:
        rows: number of networks there is room for.
        length: parameters of a network.
        like: a tensor of the wanted dtype and device.
    """

    #: number of moment buffers
    moments = 0

    def __init__(self, rows: int, length: int, like: torch.Tensor) -> None:
        self.state = [like.new_zeros(rows, length) for _ in range(self.moments)]
        self._scratch = like.new_empty(rows, length) if self.moments else like

    def coefficients(self, rates: torch.Tensor, steps: torch.Tensor) -> list[torch.Tensor]:
        """What `update` needs for a number of steps to come: tensors (step, network, 1), float64.

        Args:
            rates: learning rates (network,), float64.
            steps: steps made by each network after the update, (step, network), float64.
        """
        return [(-rates).expand_as(steps)[..., None]]

    def update(
        self, parameters: torch.Tensor, gradients: torch.Tensor, coefficients: list[torch.Tensor]
    ) -> None:
        """One step of the networks in the first len(parameters) rows.

        Args:
            parameters, gradients: (network, parameter).
            coefficients: one step of `coefficients`, (network, 1) each, in the parameters' dtype.
        """
        parameters.addcmul_(gradients, coefficients[0])


class Momentum(Optimizer):
    """torch.optim.SGD(momentum=0.9)."""

    moments = 1

    def update(
        self, parameters: torch.Tensor, gradients: torch.Tensor, coefficients: list[torch.Tensor]
    ) -> None:
        """See `Optimizer.update`."""
        velocity = self.state[0][: len(parameters)]
        torch.add(gradients, velocity, alpha=0.9, out=velocity)
        parameters.addcmul_(velocity, coefficients[0])


class Adam(Optimizer):
    """torch.optim.Adam with its defaults: betas 0.9 and 0.999, eps 1e-8."""

    moments = 2

    def coefficients(self, rates: torch.Tensor, steps: torch.Tensor) -> list[torch.Tensor]:
        """See `Optimizer.coefficients`: corrected learning rate and epsilon."""
        # -rate / (1 - 0.9^t) m / (sqrt(v / (1 - 0.999^t)) + eps), with the root of the second
        # moment's correction taken out of the fraction: one operation fewer
        correction = (1 - 0.999**steps).sqrt()
        rate = -rates / (1 - 0.9**steps) * correction
        return [rate[..., None], (1e-8 * correction)[..., None]]

    def update(
        self, parameters: torch.Tensor, gradients: torch.Tensor, coefficients: list[torch.Tensor]
    ) -> None:
        """See `Optimizer.update`."""
        count = len(parameters)
        mean, square, scratch = *(moment[:count] for moment in self.state), self._scratch[:count]
        rate, epsilon = coefficients
        mean.lerp_(gradients, 0.1)
        square.mul_(0.999).addcmul_(gradients, gradients, value=0.001)
        torch.sqrt(square, out=scratch)
        scratch.add_(epsilon)
        torch.div(mean, scratch, out=scratch)
        parameters.addcmul_(scratch, rate)


class RMSProp(Optimizer):
    """torch.optim.RMSprop with its defaults: alpha 0.99, eps 1e-8, no momentum."""

    moments = 1

    def update(
        self, parameters: torch.Tensor, gradients: torch.Tensor, coefficients: list[torch.Tensor]
    ) -> None:
        """See `Optimizer.update`."""
        count = len(parameters)
        square, scratch = self.state[0][:count], self._scratch[:count]
        square.mul_(0.99).addcmul_(gradients, gradients, value=0.01)
        torch.sqrt(square, out=scratch)
        scratch.add_(1e-8)
        torch.div(gradients, scratch, out=scratch)
        parameters.addcmul_(scratch, coefficients[0])


OPTIMIZER_CLASSES: dict[str, type[Optimizer]] = {
    "sgd": Optimizer,
    "momentum": Momentum,
    "adam": Adam,
    "rmsprop": RMSProp,
}
