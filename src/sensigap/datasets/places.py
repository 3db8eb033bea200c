"""Where the data sets' files lie."""

import dataclasses
import os
import re
from pathlib import Path

ENVIRONMENT = "SENSIGAP_DATA"


class DatasetError(RuntimeError):
    """A data set cannot be read; the message says what is missing and how to mend it."""


@dataclasses.dataclass(frozen=True)
class Root:
    """The folder in which a data set's files are looked for, and what named it."""

    path: Path
    named_by: str


def root(data_root: str | Path | None) -> Root:
    """The folder of the data sets: `data_root`, else $SENSIGAP_DATA, else data/.

    `~` and variables of the environment in it stand for what they are.

    Raises:
        DatasetError: the folder names a variable that is not set.
    """
    if data_root is not None:
        return Root(expanded(str(data_root), "data_root"), "data_root")
    if os.environ.get(ENVIRONMENT):
        return Root(expanded(os.environ[ENVIRONMENT], f"${ENVIRONMENT}"), f"${ENVIRONMENT}")
    return Root(Path("data"), f"the default, as neither data_root nor ${ENVIRONMENT} is set")


def printable(text: str) -> str:
    """The text in one line that every terminal takes, whatever names of files stand in it."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def expanded(text: str, named_by: str) -> Path:
    """The path that a text means."""
    for name in re.findall(r"\$(?:\{(\w+)\}|(\w+))", text):
        variable = name[0] or name[1]
        if not os.environ.get(variable):
            raise DatasetError(
                f"{named_by} is {text}: expected that the variable {variable} is set, found that "
                f"it is not. Export {variable} before the run, or write the folder's path."
            )
    try:
        return Path(os.path.expandvars(text)).expanduser()
    except RuntimeError as error:
        raise DatasetError(
            f"{named_by} is {text}: expected a home folder for what stands after ~, found none "
            f"({error}). Write the folder's path."
        ) from None
