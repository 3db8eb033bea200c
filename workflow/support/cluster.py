"""What a Snakemake call says of the cluster that its jobs go to."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

#: GPUs that each job asks for that can use one: the main process knows, and its jobs are told
ASKED = "SENSIGAP_GPUS_PER_JOB"


def gpus_per_job(main_process: bool, limit: int | None) -> int:
    """GPUs to ask for, for each job that can use one.

    On a cluster it is 1, whatever the host of this process has; elsewhere 1 where this host has a
    GPU. None where the call says that there are none, with `--resources gpu=0` or in its profile.

    Args:
        main_process: whether this is the process that plans the run rather than one of its jobs.
        limit: GPUs that the run may use at the same time; None: the call gives no limit.
    """
    from sensigap.training.devices import has_gpu

    told = os.environ.get(ASKED, "")
    if not main_process and told:
        return int(told)
    asked = 0 if limit == 0 else int((main_process and submits_jobs()) or has_gpu())
    os.environ[ASKED] = str(asked)
    return asked


@functools.cache
def submits_jobs() -> bool:
    """Whether this Snakemake hands its jobs to a cluster: by the command line and its profiles.

    Snakemake itself tells a Snakefile only once it has been read.
    """
    from snakemake.cli import parse_args
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    # not every caller of Snakemake has a command line that it can read
    with contextlib.suppress(Exception, SystemExit), _silent():
        _, arguments = parse_args(sys.argv[1:])
        plugin = ExecutorPluginRegistry().get_plugin(arguments.executor or "local")
        return bool(plugin.common_settings.non_local_exec)
    return False


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Reading a command line a second time tells its faults a second time."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stderr(nowhere),
        contextlib.redirect_stdout(nowhere),
    ):
        yield
