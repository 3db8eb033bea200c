"""What a measure finds while it runs, kept beside its store-to-be.

A job that is killed loses seconds of its work, and one that is asked for more, or for less, begins
with what is there. The file is no output of a rule, since Snakemake deletes those before a job;
nobody else reads it, so neither a run nor `sensigap adopt` looks at it.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from sensigap import checkpoints, interrupt
from sensigap.files import remove_abandoned

logger = logging.getLogger(__name__)

#: seconds between two writes
KEEP_S = 20.0


def beside(store: str | Path) -> Path:
    """The file with the values at single points that a measure's store is made from."""
    store = Path(store)
    return store.with_name(f"{store.stem}.counts.safetensors")


class Kept:
    """Values by network, read from a file and written to it; a context that writes at its end.

    Values that are damaged, or are of something else, are found anew; one that cannot be read or
    written is a line in the log: it costs time, and no result.
    """

    def __init__(self, path: Path, of: Mapping[str, Any]) -> None:
        """Reads what there is.

        Args:
            path: the file.
            of: what the values are of, anything that JSON can hold: weights, data, settings, code.
                Only values of the same are taken.
        """
        self.path = path
        self.of = dict(of)
        #: network id -> its values (point,), int64
        self.values: dict[str, np.ndarray] = self._read()
        self._unsaved = False
        self._saved = time.monotonic()

    def keep(self, network: str, values: np.ndarray) -> None:
        """Takes a network's values (point,), int64, in the place of earlier ones."""
        self.values[network] = values
        self._unsaved = True
        if time.monotonic() - self._saved >= KEEP_S:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # also where the job failed or was asked to end; it takes no longer than any other write
        with interrupt.deferred():
            if self._unsaved:
                self._write()
            # of jobs that were killed while they wrote
            remove_abandoned(self.path)

    def _read(self) -> dict[str, np.ndarray]:
        try:
            found = checkpoints.read(self.path)
        except (OSError, MemoryError) as error:
            logger.warning("%s cannot be read (%s): its work is done again.", self.path, error)
            return {}
        if found is None:
            return {}
        header, tensors = found
        if header != {"of": self.of}:
            logger.info("%s is of other weights, data, settings or code: not used", self.path)
            return {}
        logger.info("going on from %s: values of %d networks", self.path, len(tensors))
        return {network: tensor.numpy() for network, tensor in tensors.items()}

    def _write(self) -> None:
        tensors = {network: torch.from_numpy(values) for network, values in self.values.items()}
        try:
            checkpoints.write(self.path, {"of": self.of}, tensors)
            self._unsaved = False
        except OSError as error:
            logger.warning("what has been found cannot be kept: %s", error)
        self._saved = time.monotonic()
