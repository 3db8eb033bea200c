"""Makes the library importable in the jobs' processes where it is not installed."""

import os
from pathlib import Path


def add_to_python_path(folder: Path) -> None:
    """Puts `folder` on PYTHONPATH for the processes that this one starts."""
    present = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(folder) not in present:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, present)])
