import os
import signal

import pytest

# One thread, as in the workflow's jobs: set before any library reads it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# In the background of a shell SIGINT is ignored, by the processes that tests start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--results", help="folder of a finished study, for tests/results")


@pytest.fixture(scope="session")
def results(request):
    from pathlib import Path

    folder = request.config.getoption("--results")
    if folder is None:
        pytest.skip("no --results given: these tests check what a run wrote")
    return Path(folder)
