"""A measure of a cohort from file to file: whom it takes, where it comes from, what is written."""

import contextlib
import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sensigap import checkpoints, datasets, survey, weights
from sensigap.code_digest import code_digest
from sensigap.declarations import MEASURES
from sensigap.measures.cohort.kept import Kept, beside
from sensigap.measures.cohort.members import Member
from sensigap.progress import Progress
from sensigap.weights_header import MADE_FROM, check_made_from, read_header

logger = logging.getLogger(__name__)


def write(
    name: str,
    weights_path: str | Path,
    training: str | Path,
    dataset: str | Path,
    output: str | Path,
    *,
    settings: Mapping[str, Any],
    device: str = "cpu",
    made_by: str = "",
) -> None:
    """Measures the networks of a cohort and writes the measure's store.

    What a measure that takes long has found is kept `beside` the store (`Measure.kept_by`): a job
    after a kill, or of other settings, goes on from there.

    Args:
        name: of the measure, a key of `declarations.MEASURES`.
        weights_path: the cohort's weights (safetensors).
        training: the cohort's training store, whose status says which networks are measured.
        dataset: the data set's store.
        output: store to write; its schema has the measure's name.
        settings: every setting of the measure, null filled in, networks as ids.
        device: where it is computed, as torch.device takes it.
        made_by: digest of settings and code, kept with the store, see `sensigap.digests`.

    Raises:
        DamagedFileError, SchemaError: an input is not as it was written.
    """
    measure = MEASURES[name]
    images = datasets.load(dataset)
    members = taken(name, weights_path, training, settings)
    asked = {s.name: settings[s.name] for s in measure.settings if not s.only_chooses}
    made_from = {MADE_FROM: read_header(weights_path)["sha256"]}
    with contextlib.ExitStack() as stack:
        if measure.kept_by is not None:
            of = made_from | {
                "images": images.checksum,
                "settings": {key: settings[key] for key in measure.kept_by},
                "code": checkpoints.made_with(code_digest(measure.module)),
                "device": torch.device(device).type,
            }
            kept = stack.enter_context(Kept(beside(output), of))
            asked |= {"known": kept.values, "keep": kept.keep}
        progress = Progress(1.0, f"{name} of {len(members)} networks")
        found = importlib.import_module(measure.module).measure(
            members, images, device=device, advance=progress.advance, **asked
        )
    attributes = survey.provenance(
        measure=name, settings=dict(settings), device=device, made_by=made_by, **made_from
    )
    survey.write(found, output, name, attributes=attributes)


def taken(
    name: str, weights_path: str | Path, training: str | Path, settings: Mapping[str, Any]
) -> list[Member]:
    """The networks of a cohort that a measure takes, one a stack: `Measure.chosen`, `unfitted`."""
    trained = survey.load(training, "training")
    check_made_from(trained.attrs, training, weights_path, weights.REMEDY)
    status = trained["status"].to_series()
    measure = MEASURES[name]
    statuses = ("fitted", "not fitted") if measure.unfitted else ("fitted",)
    members = [
        (spec, stack.select(slice(k, k + 1)))
        for specs, stack in weights.load(weights_path)
        for k, spec in enumerate(specs)
        if status[spec.id] in statuses
        and (measure.chosen is None or measure.chosen(spec.id, settings))
    ]
    where = Path(weights_path).parent.name
    logger.info("%s of %s: %d of %d networks", name, where, len(members), len(status))
    return members
