"""Lets matplotlib be imported whatever MPLBACKEND names: figures are drawn without a backend.

A notebook names its own for the processes that it starts, which may lack it.
"""

import os

try:
    import matplotlib
except ValueError:
    del os.environ["MPLBACKEND"]
    import matplotlib  # noqa: F401
