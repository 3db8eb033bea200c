"""A copy of the repository in which a tiny study runs once; tests then change one thing each."""

import shutil

import pytest

from checkouts import Checkout, copy_repository


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Checkout:
    """The tiny study, run to its report. Tests must not change it: see `checkout`."""
    checkout = copy_repository(tmp_path_factory.mktemp("finished"))
    checkout.configure()
    done = checkout.snakemake(command=("workflow/run.py",))
    checkout.output = done.stdout + done.stderr
    return checkout


@pytest.fixture
def checkout(finished, tmp_path) -> Checkout:
    """A copy of the finished study, to change."""
    folder = tmp_path / "copy"
    # times are kept: they decide what runs again
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2)
    return Checkout(folder)


@pytest.fixture(scope="session")
def untouched(tmp_path_factory) -> Checkout:
    """A copy in which nothing has run."""
    checkout = copy_repository(tmp_path_factory.mktemp("untouched"))
    checkout.configure()
    return checkout
