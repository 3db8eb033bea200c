"""The two passes through one `nn.Sequential`, for its Jacobian; a `measures.backward.Backward`."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from sensigap.measures.backward import last_rows, rescale
from sensigap.measures.sequential.affine import Linear
from sensigap.measures.sequential.stages import Stage, read_network


class SequentialBackward:
    """A network as Jacobian norms need it; a `backward.Backward` at inputs of the network's shape.

    Attributes:
        classes: number of logits.
        dtype: the weights' dtype.
        device: the weights' device.
        widest: values of a row at its widest.
    """

    def __init__(self, stages: list[Stage], dtype: torch.dtype, device: torch.device) -> None:
        last = stages[-1]
        if len(last.outputs) != 1:
            raise ValueError(
                f"the network gives outputs of shape {last.outputs} at each point, expected one "
                "row of logits: put nn.Flatten at its end"
            )
        self.classes, self.dtype, self.device = last.outputs[0], dtype, device
        shapes = [stages[0].inputs, *(layer.outputs for s in stages for layer in s.layers)]
        self.widest = max(map(math.prod, shapes))
        self._stages, self._layers = stages, [list(stage.layers) for stage in stages]
        # rows begin before the last layer where that is linear, else at the logits
        final = self._layers[-1][-1] if self._layers[-1] else None
        if isinstance(final, Linear):
            self._layers[-1].pop()
            self._head = final.weight
        else:
            self._head = torch.eye(self.classes, dtype=dtype, device=device)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """See `Backward`; x is (point, *shape)."""
        derivatives = []
        x = x.to(self.device, torch.float64)
        for stage in self._stages:
            x = stage.evaluate(x)
            if stage.unit is not None:
                derivatives.append(stage.unit.slope(x).flatten(1).to(self.dtype))
                x = stage.unit.module(x)
        return x, derivatives

    def carry(
        self,
        top: torch.Tensor,
        derivatives: list[torch.Tensor],
        *,
        with_top: bool,
        rescaled: bool = False,
        whole: bool = False,
    ) -> tuple[Iterable[torch.Tensor], torch.Tensor]:
        """See `Backward`; the rows are always whole, in one block of flat inputs."""
        del whole
        power = torch.zeros(top.shape, dtype=torch.float64, device=top.device)
        rows = last_rows(self._head, top, with_top)
        size = rows.shape[:2]
        for l in range(len(self._stages) - 1, -1, -1):
            if rescaled:
                rows = rescale(rows, power)
            if l < len(derivatives):
                rows.mul_(derivatives[l][:, None])
            flat = rows.flatten(0, 1)
            for layer in reversed(self._layers[l]):
                flat = layer.transposed(flat.reshape(-1, *layer.outputs))
            rows = flat.reshape(*size, math.prod(self._stages[l].inputs))
        if rescaled:
            rows = rescale(rows, power)
        return [rows], power


def sequential_network(model: nn.Sequential, shape: tuple[int, ...]) -> SequentialBackward:
    """A network for inputs of one shape (without the axis of points), to measure Jacobian norms.

    Raises:
        TypeError, ValueError: as `read_network`; also where its outputs are no row of logits.
    """
    network = read_network(model, shape)
    return SequentialBackward(network.stages, network.dtype, network.device)
