"""A data set's Zarr store: groups train and test, each with image and label."""

import difflib
import json
from pathlib import Path

import numpy as np

from sensigap.datasets import own
from sensigap.datasets.images import Images, first_constant
from sensigap.datasets.known import KNOWN
from sensigap.datasets.places import printable
from sensigap.datasets.sources import DatasetError, checksum_fault, read


def prepare(
    name: str,
    store: str | Path,
    data_root: str | Path | None = None,
    *,
    source: own.Source | None = None,
    content: str | None = None,
) -> None:
    """Reads a data set and writes it as a Zarr store, whole or not at all.

    The store has the groups train and test, with image (sample, channel, row, column) uint8 and
    label (sample,) int64; its attributes say where the images come from and hold a SHA-256 of each
    group.

    Args:
        name: a key of `KNOWN`; with `source` any name.
        store: the store's folder; an existing one is replaced.
        data_root: folder in torchvision's layout; None: $SENSIGAP_DATA, else data/. Files that
            are not there are unpacked from a published archive that is, or downloaded into it,
            once. Not used for the embedded digits.
        source: images of one's own instead.
        content: `DatasetFacts.content` of these when the run was planned; None: whatever they are.

    Raises:
        DatasetError: the data set is unknown, its files are missing and cannot be downloaded, or
            what they hold is not as published, or not what it was.
    """
    import xarray as xr

    from sensigap import survey

    if source is None and name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DatasetError(f"unknown data set {name!r}: expected one of {', '.join(KNOWN)}{hint}")
    if source:
        images, origin = own.read(source)
        if content not in (None, own.facts_of(images).content):
            raise DatasetError(
                printable(f"{name}: the images in {source.path} are others than when the run ")
                + "was planned. Run again: their networks are planned anew."
            )
    else:
        images, origin = read(name, data_root, Path(store).absolute().parent)
        _check(images)
    groups = {
        "train": (images.train_images, images.train_labels),
        "test": (images.test_images, images.test_labels),
    }
    survey.write(
        xr.Dataset(),
        store,
        "dataset",
        groups={
            group: xr.Dataset(
                {
                    "image": (("sample", "channel", "row", "column"), pixels),
                    "label": (("sample",), labels),
                },
                {"sample": np.arange(len(labels))},
            )
            for group, (pixels, labels) in groups.items()
        },
        attributes=survey.provenance(
            name=name,
            source=origin,
            class_names=list(images.class_names),
        ),
    )


def load(store: str | Path) -> Images:
    """Reads a data set's store into memory and verifies its checksums.

    Raises:
        FileNotFoundError: there is no store.
        DamagedFileError: the store is damaged; it has been moved aside, so that the next run of the
            workflow makes it again.
        SchemaError: the store does not hold what a data set's store must.
    """
    from sensigap import survey

    attributes = survey.read(store, "dataset").attrs
    groups = {}
    for group in ("train", "test"):
        dataset = survey.load(store, "images", group=group, verified=True)
        groups[group] = (dataset["image"].values, dataset["label"].values)
    return Images(
        *groups["train"],
        *groups["test"],
        name=attributes["name"],
        class_names=tuple(json.loads(attributes["class_names"])),
    )


def _check(images: Images) -> None:
    """Raises `DatasetError` with every way in which a data set is not as published."""
    facts = KNOWN[images.name]
    faults = []
    if images.classes != facts.classes:
        faults.append(f"expected {facts.classes} classes, found {images.classes}")
    for group, size, pixels, labels in (
        ("train", facts.train_size, images.train_images, images.train_labels),
        ("test", facts.test_size, images.test_images, images.test_labels),
    ):
        shape = (size, facts.channels, facts.height, facts.width)
        if pixels.shape != shape or pixels.dtype != np.uint8:
            faults.append(
                f"{group}: expected images (image, channel, row, column) uint8 {shape}, found "
                f"{pixels.dtype} {pixels.shape}"
            )
        if labels.shape != (size,):
            faults.append(f"{group}: expected {size} labels, found {len(labels)}")
        if np.any((labels < 0) | (labels >= facts.classes)):
            faults.append(
                f"{group}: expected labels from 0 to {facts.classes - 1}, found "
                f"{labels.min()} to {labels.max()}"
            )
        index = first_constant(pixels)
        if index is not None:
            faults.append(f"{group}: image {index} is constant and cannot be standardised")
    if not faults and (fault := checksum_fault(images)):
        faults.append(fault)
    if faults:
        listed = "\n  ".join(faults)
        raise DatasetError(
            f"{images.name} is not as published:\n  {listed}\n"
            "Replace its files by the published ones (delete them to have them downloaded again)."
        )
