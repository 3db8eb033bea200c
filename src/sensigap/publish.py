"""A study's results as a folder for an archive: everything that a reader needs, and checksums.

Images are not in it, which belong to others; weights are where they are asked for.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sensigap import records
from sensigap import survey as stores
from sensigap.cohorts import WEIGHTS
from sensigap.config.documentation import markdown_table
from sensigap.figure_names import FIGURES
from sensigap.files import written_whole
from sensigap.results import SUMS, Results
from sensigap.schema import GROUPS

if TYPE_CHECKING:
    import xarray as xr

#: a record, and what it speaks for in words
_TABLES = {
    "claims": "the tests of the claims, one row each",
    "leaderboard": "sensitivity beside complexity measures: correlations with the gap",
}
#: the table of all networks with its types, where pyarrow is installed
_PARQUET = "networks.parquet"
_UNWANTED = shutil.ignore_patterns(".snakemake_timestamp")


class PublishError(RuntimeError):
    """Results cannot be published as they are, or not to that place."""


def publish(
    study: str | Path, target: str | Path, *, weights: bool = False, zipped: bool = False
) -> Path:
    """Copies a study's results, verified, to a new folder.

    Args:
        study: its folder, such as `results/demo`.
        target: the new folder, which must not exist.
        weights: whether all networks' weights go with it.
        zipped: whether a new zip file of it is made beside it, see `zip_of`.

    Returns:
        The target.

    Raises:
        ResultsError: the study has no results.
        PublishError: it was not run to its end, weights that are asked for are not there, or the
            target or its zip file exists.
        DamagedFileError: something is not as it was written.
        WriteError: the target cannot be written.
    """
    study, target = Path(study), Path(target)
    results = Results(study)
    if os.path.lexists(target):
        raise PublishError(f"{target} exists: expected a new folder; name another, or delete it")
    if zipped and os.path.lexists(zip_of(target)):
        raise PublishError(
            f"{zip_of(target)} exists: expected a new zip file; name another folder, or delete it"
        )
    parts = [f"{name}.record.json" for name in (*_TABLES, "report")] + ["figures/record.json"]
    missing = [name for name in parts if not (study / name).exists()]
    if missing:
        raise PublishError(
            f"{study} lacks {', '.join(missing)}: expected a study that was run to its end; run "
            "the workflow, then publish"
        )
    cohorts = results.cohorts if weights else []
    of_cohorts = {cohort: results.weights(cohort) for cohort in cohorts}
    if absent := [str(file) for file in of_cohorts.values() if not file.exists()]:
        raise PublishError(
            f"{', '.join(absent)} missing: expected the networks' weights; run the workflow, then "
            "publish its results, or publish without --weights"
        )
    for name in parts:
        records.verify(study / name)
    with written_whole(target) as folder:
        folder.mkdir()
        for name in parts:
            record = study / name
            for file in (name, *_beside(record, study)):
                (folder / file).parent.mkdir(exist_ok=True)
                shutil.copyfile(study / file, folder / file)
        for file in ("design.csv", "pilot.csv", "pilot.txt"):
            if (study / file).exists():
                shutil.copyfile(study / file, folder / file)
        if importlib.util.find_spec("pyarrow"):
            results.table().to_parquet(folder / _PARQUET)
        for dataset in results.datasets:
            store = Path("survey") / f"{dataset}.zarr"
            shutil.copytree(study / store, folder / store, ignore=_UNWANTED)
            stores.verify(folder / store)
        for cohort, source in of_cohorts.items():
            of_cohort = folder / "networks" / cohort
            of_cohort.mkdir(parents=True)
            shutil.copyfile(source, of_cohort / WEIGHTS)
        first = results.survey(results.datasets[0])
        (folder / "configuration.yaml").write_text(_configuration(first), encoding="utf-8")
        (folder / "README.md").write_text(_readme(results, weights=weights), encoding="utf-8")
        lines = [
            f"{records.checksum(path)}  {path.relative_to(folder).as_posix()}\n"
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    if zipped:
        with written_whole(zip_of(target)) as archive:
            shutil.make_archive(str(archive.with_suffix("")), "zip", target.parent, target.name)
    return target


def zip_of(target: Path) -> Path:
    """The zip file of a published folder, beside it."""
    return target.with_name(f"{target.name}.zip")


def _beside(record: Path, study: Path) -> Iterator[str]:
    """The files that a record speaks for, from the study's folder."""
    for name in records.files(record):
        yield (record.parent / name).relative_to(study).as_posix()


def _configuration(survey: "xr.Dataset") -> str:
    return yaml.safe_dump(json.loads(survey.attrs["configuration"]), sort_keys=False)


def _readme(results: Results, *, weights: bool) -> str:
    first = results.survey(results.datasets[0])
    versions = json.loads(first.attrs["versions"])
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    files = {
        "report.html": "all of it on one page, for a browser",
        "networks.csv": "one row a network; `networks.columns.csv` says what the columns are; "
        f"`{_PARQUET}` is the same, where pyarrow was at hand",
        **{f"{name}.csv": text for name, text in _TABLES.items()},
        "figures/": "; ".join(FIGURES.values()) + ": PDF, PNG and SVG, as wide as a page and as "
        "a column; numbers drawn (CSV); caption (what is seen, definitions and counts, finding)",
        "tables_and_figures.zip": "these tables and figures once more, in one file",
        "survey/": f"Zarr stores, one a data set ({', '.join(results.datasets)}): all values",
        "configuration.yaml": "the study; `design.csv` is what it comes to, a row a network",
        **({"networks/": "weights, safetensors files, one a cohort"} if weights else {}),
        "*.record.json": "what files were made from, with their sizes and checksums",
    }
    opening = (
        "```python\nimport xarray as xr\n\n"
        f'tree = xr.open_datatree("survey/{results.datasets[0]}.zarr")\n```\n'
    )
    return "\n".join(
        [
            f"# Results of the study '{results.folder.name}'\n",
            "Sensitivity and generalization in neural networks, after Novak et al., ICLR 2018 "
            "(arXiv 1802.08760).\n",
            markdown_table(["file", "what"], [[f"`{name}`", text] for name, text in files.items()]),
            f"To verify all of it: `sha256sum --check --quiet {SUMS}`. To open the surveys:\n",
            opening,
            f"Made by version {first.attrs['code']} with Python {first.attrs['python']}, {named}, "
            f"on {first.attrs.get('device', 'unknown')}.\n",
            "## Variables of a survey\n",
            *_variables(results),
        ]
    )


def _variables(results: Results) -> Iterator[str]:
    dataset = results.datasets[0]
    store = results.folder / "survey" / f"{dataset}.zarr"
    groups = [None, *(group for group in GROUPS if stores.has_group(store, group))]
    for group in groups:
        opened = results.survey(dataset, group=group)
        if group:
            yield f"\n### Group `{group}`\n"
        yield markdown_table(
            ["variable", "dimensions", "unit", "what"],
            [
                [f"`{name}`", ", ".join(map(str, v.dims)), *_described(v.attrs)]
                for name, v in opened.variables.items()
            ],
        )


def _described(attributes: dict[str, Any]) -> list[str]:
    return [str(attributes.get("units", "")), str(attributes.get("long_name", ""))]
