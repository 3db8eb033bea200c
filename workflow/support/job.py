"""What every script does around its one call: the log, the thread limit, errors in one line."""

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sensigap import files, interrupt, records
from sensigap.progress import PROGRESS_FOLDER, job_name

NOTES = Path(".snakemake") / "sensigap" / "made"
# a notebook names its own for the processes that it starts; jobs draw into files
os.environ["MPLBACKEND"] = "agg"
# a full disk takes no log either, and its error is told by the job
logging.raiseExceptions = False


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Logs to the rule's log file and says what went wrong there; a failure ends the process.

    Errors that the library raises on purpose are one message; any other comes with its traceback.
    So does SIGINT or SIGTERM end the process, with one message and nothing on the terminal.
    """
    log = Path(snakemake.log[0])
    _log_to(log)
    name = job_name(snakemake.rule, dict(snakemake.wildcards.items()))
    progress = PROGRESS_FOLDER / f"{name}.json"
    with suppress(OSError):
        progress.parent.mkdir(parents=True, exist_ok=True)
    os.environ["SENSIGAP_PROGRESS"] = str(progress)
    try:
        interrupt.install()
        try:
            yield
            leave_notes(snakemake.output)
        except Exception as raised:
            error = files.refusal(raised) or raised
            told = type(error).__module__.startswith("sensigap.")
            text = str(error) if told else traceback.format_exc()
            logging.error("%s", text)
            if not _holds(log, text):
                print(text, file=sys.stderr)
            sys.exit(1)
        finally:
            interrupt.ignore()
    except interrupt.Interrupted as request:
        logging.info("%s", request)
        sys.exit(interrupt.STATUS)
    finally:
        with suppress(OSError):
            progress.unlink(missing_ok=True)


def _log_to(log: Path) -> None:
    """Has what happens written to a rule's log, and thrown away where that cannot be written."""
    handler: logging.Handler = logging.NullHandler()
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(log, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)


def _holds(log: Path, text: str) -> bool:
    """Whether a text has come into a log: a full disk takes none."""
    try:
        return text in log.read_text(errors="replace")
    except OSError:
        return False


def note_of(output: str) -> Path:
    """Where a job notes that it made an output: in Snakemake's folder, gone when that is gone."""
    return NOTES.joinpath(*Path(output).parts[Path(output).is_absolute() :])


def leave_notes(outputs: Iterable[str]) -> None:
    """Notes that a job made its outputs, see `note_of`; of tables also their checksum."""
    for output in outputs:
        note = note_of(output)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(records.checksum(output) if output.endswith(".csv") else "")


def limit_threads(threads: int) -> None:
    """Keeps a job to its threads: networks gain more from one job a core than from threads."""
    import torch

    torch.set_num_threads(threads)


def execution(snakemake: Any, *keys: str) -> dict[str, Any]:
    """Keys of the configuration's `execution` that are given; the others have defaults.

    They are read here and are no params of a rule: how a job is carried out runs nothing again.
    """
    given = snakemake.config.get("execution") or {}
    return {key: given[key] for key in keys if key in given}


def device(snakemake: Any) -> str:
    """What a job computes on: a GPU where its rule or the profile gave it one, else the CPU."""
    from sensigap.training.devices import device_for

    return device_for(int(snakemake.resources.get("gpu", 0)))


def write_record(snakemake: Any) -> None:
    """The record of a rule's files, its last output: their checksums, and what made them."""
    from sensigap import records, survey

    *files, record = snakemake.output
    made_by = records.digest(snakemake.params.settings, snakemake.params.code)
    records.write_record(record, files, made_by, survey.provenance())
