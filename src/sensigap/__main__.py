"""The command `sensigap`: what is done to results from outside a run."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Carries out a command.

    Args:
        arguments: of the command line; None: those of this process.

    Returns:
        The exit status: 0, or 1 where something was damaged.
    """
    parser = argparse.ArgumentParser(
        prog="sensigap",
        description="Studies run with `snakemake` or `make run`; this is for results that exist.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    adopting = commands.add_parser(
        "adopt",
        help="take over results that were copied without time stamps",
        description="Verifies every file of a results folder by its checksum, then dates them in "
        "the order of the stages, so that a run finds nothing to do. What is damaged is moved "
        "aside; the next run makes it again.",
    )
    adopting.add_argument("results", nargs="?", default="results", help="the folder [results]")
    publishing = commands.add_parser(
        "publish",
        help="copy a study's results to a folder for an archive",
        description="Verifies a study's results and copies them to a new folder, with a README of "
        "all variables, the configuration and checksums.",
    )
    publishing.add_argument("study", help="its folder, such as results/demo")
    publishing.add_argument("target", nargs="?", help="the new folder [published/<study>]")
    publishing.add_argument("--weights", action="store_true", help="with all networks' weights")
    publishing.add_argument("--zip", action="store_true", help="and a zip file of it beside it")
    given = parser.parse_args(arguments)
    if given.command == "adopt":
        return _adopt(Path(given.results))
    study = Path(given.study)
    target = Path(given.target or Path("published") / study.resolve().name)
    return _publish(study, target, weights=given.weights, zipped=given.zip)


def _publish(study: Path, target: Path, *, weights: bool, zipped: bool) -> int:
    from sensigap.integrity import DamagedFileError
    from sensigap.publish import PublishError, publish, zip_of
    from sensigap.results import ResultsError

    try:
        publish(study, target, weights=weights, zipped=zipped)
    except (PublishError, ResultsError, DamagedFileError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{_of_system(error, study)}\n")
        return 1
    sys.stderr.write(f"{study} is published in {target}; its README.md says what is in it.\n")
    if zipped:
        sys.stderr.write(f"The same is in {zip_of(target)}.\n")
    return 0


def _of_system(error: OSError, folder: Path) -> str:
    """What the system refused, in one line; errors of this project say it themselves."""
    if type(error).__module__.startswith("sensigap.") or error.errno is None:
        return error.strerror or str(error)
    return (
        f"{error.filename or folder}: {error.strerror}; expected files of {folder} that this user "
        "may read and write: mend that, then give the command again."
    )


def _adopt(folder: Path) -> int:
    from sensigap.adopt import adopt

    try:
        found = adopt(folder)
    except OSError as error:
        sys.stderr.write(f"{_of_system(error, folder)}\n")
        return 1
    for line in found:
        sys.stderr.write(f"{line}\n")
    sys.stderr.write(
        f"{folder}: {len(found)} damaged; run the workflow to make them again.\n"
        if found
        else f"{folder}: all files are as they were written; a run has nothing to do for them.\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
