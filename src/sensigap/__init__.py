"""Sensitivity and generalization in neural networks (Novak et al., ICLR 2018), measured exactly."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensigap.results import Results

__version__ = "0.1.0"


def open(folder: str | Path) -> "Results":  # noqa: A001 - as in xarray.open_..., torch.load
    """What a study has written, see `sensigap.results.Results`.

    Args:
        folder: the study's, such as `results/demo`.

    Raises:
        sensigap.results.ResultsError: it holds no results.
    """
    from sensigap.results import Results

    return Results(folder)
