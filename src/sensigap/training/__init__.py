"""Training: thousands of small fully-connected networks, same-shaped ones in one stack.

`cohort` trains the networks of one job and writes their files; `trainer` advances a stack of
same-shaped networks; `passes` holds the forward and backward pass, `optimizers` and `lbfgs` the
update rules, `batches`, `augmentation` and `noise` what each network sees, `schedule` when it is
looked at, `devices` which device a job may use; `sensigap.checkpoints` is what survives a kill.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sensigap.training.cohort import Settings, train_cohort

__all__ = ["Settings", "train_cohort"]


def __getattr__(name: str) -> Any:
    """`train_cohort` and `Settings` on first use: the trainer needs neither xarray nor Zarr."""
    if name in __all__:
        from sensigap.training import cohort

        return getattr(cohort, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
