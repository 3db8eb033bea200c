"""Makes library and scripts' helpers importable in the jobs' processes."""

import os
from pathlib import Path


def add_to_python_path(*folders: Path) -> None:
    """Puts `folders` first on PYTHONPATH for the processes that this one starts."""
    names = [str(folder) for folder in folders]
    present = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [name for name in present if name and name not in names]
    os.environ["PYTHONPATH"] = os.pathsep.join(names + kept)
