"""Data sets: published images -> one Zarr store each -> numpy arrays.

Importing this package is cheap: what reads and writes files is imported where it is used.
"""

from sensigap.datasets.images import Images, noise_dose, standardise, training_subset
from sensigap.datasets.known import KNOWN, DatasetFacts
from sensigap.datasets.store import DatasetError, load, prepare

__all__ = [
    "KNOWN",
    "DatasetError",
    "DatasetFacts",
    "Images",
    "load",
    "noise_dose",
    "prepare",
    "standardise",
    "training_subset",
]
