"""What a run is of, took and on what, how it is cited; all its tables and figures in one file."""

import json
import os
import platform
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sensigap.files import written_whole
from sensigap.progress import duration
from sensigap.report.timings import foreseen

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import xarray as xr

#: of every file in a bundle: equal files give equal bytes
_TIME = (1980, 1, 1, 0, 0, 0)


class Fact(NamedTuple):
    """A line of the report: what it is, and the text."""

    name: str
    text: str


def facts(
    study: str,
    surveys: "Mapping[str, xr.Dataset]",
    timings: "pd.DataFrame",
    at_work: float,
    expected: Mapping[str, float],
) -> list[Fact]:
    """Data sets, time, machine, code and how to cite.

    Args:
        study: its name.
        surveys: data set -> its survey, of which sizes and attributes are read.
        timings: of `read_timings`.
        at_work: seconds in which a job ran, of `seconds_at_work`.
        expected: stage -> seconds of its jobs by the cost model.
    """
    first = next(iter(surveys.values())).attrs if surveys else {}
    code, device = (str(first.get(name, "unknown")) for name in ("code", "device"))
    found = [Fact(f"Data set {name}", _data(survey)) for name, survey in surveys.items()]
    if len(timings):
        text = (
            f"{duration(at_work)} with a job at work, {duration(timings['wall_s'].sum())} of jobs"
        )
        seconds = foreseen(timings, expected)
        if seconds:
            text += f"; the cost model expected {duration(seconds)} of jobs"
        found.append(Fact("Time", f"{text}."))
    return [
        *found,
        Fact("Machine", f"networks measured on {device}; this page written on {machine()}."),
        Fact("Code", f"version {code}."),
        Fact(
            "Cite",
            f"sensigap ({code}), study “{study}”; after R. Novak, Y. Bahri, D. A. Abolafia, "
            "J. Pennington, J. Sohl-Dickstein: Sensitivity and Generalization in Neural Networks: "
            "an Empirical Study. ICLR 2018, arXiv 1802.08760. CITATION.cff in the code holds both.",
        ),
    ]


def _data(survey: "xr.Dataset") -> str:
    """Images, classes, and test points of norms and transitions where those are not all.

    What a survey of an earlier version does not hold is left out.
    """
    images = survey.sizes["test_image"]
    text = f"{_range(survey['train_size'].to_numpy())} training images and {images:,} test images"
    if "image_shape" in survey.attrs:
        size = " × ".join(map(str, json.loads(survey.attrs["image_shape"])))
        text += f" of {size} (channels × height × width)"
    if "classes" in survey.attrs:
        text += f", {survey.attrs['classes']} classes"
    told = []
    if survey.sizes["sample"] < images:
        told.append(f"Jacobian norms at {survey.sizes['sample']:,} of the test images")
    points = survey["transitions_points"].to_numpy()
    points = points[points >= 0]
    if len(points) and points.min() < images:
        told.append(f"transitions at {_range(points)} of the test images")
    return "; ".join([text, *told]) + "."


def _range(counts: "np.ndarray") -> str:
    """'150', or '150 to 300' where networks have different ones."""
    least, most = int(counts.min()), int(counts.max())
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def machine() -> str:
    """Processor, number of cores and system of this host."""
    processor = platform.processor() or platform.machine()
    told = Path("/proc/cpuinfo")
    if told.exists():
        names = [
            line.partition(":")[2].strip()
            for line in told.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        processor = next(iter(names), processor)
    return f"{processor}, {os.cpu_count()} cores, {platform.system()}"


def write_bundle(files: Iterable[Path], root: Path, target: Path) -> None:
    """Writes files into one zip, named from a folder; equal files give equal bytes.

    Args:
        files: to be written.
        root: the folder from which they are named.
        target: the zip.
    """
    with (
        written_whole(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle,
    ):
        for path in sorted(files):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            bundle.writestr(entry, path.read_bytes())
