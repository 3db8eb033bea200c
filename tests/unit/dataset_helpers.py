"""Small data sets of noise in the published files' formats, taken for published."""

import dataclasses
import gzip
import hashlib
import io
import pickle
import tarfile

import numpy as np

from sensigap.datasets import sources
from sensigap.datasets.known import KNOWN

TRAIN, TEST = 40, 20


def shrink(monkeypatch, name):
    """Takes for published what the files made here hold: TRAIN and TEST images of noise."""
    facts = dataclasses.replace(KNOWN[name], train_size=TRAIN, test_size=TEST)
    if facts.published.startswith("sha256"):
        facts = dataclasses.replace(facts, published=sha256(random_images(name)))
    monkeypatch.setitem(KNOWN, name, facts)


def sha256(images):
    """The checksum of published images and labels, by its definition."""
    digest = hashlib.sha256()
    for pixels, labels in images:
        digest.update(pixels.astype("u1").tobytes() + labels.astype("<i8").tobytes())
    return f"sha256:{digest.hexdigest()}"


def random_images(name):
    """Train and test images (sample, channel, row, column) and labels, of the right shape."""
    facts, draws = KNOWN[name], np.random.default_rng(list(KNOWN).index(name))
    return [
        (
            draws.integers(0, 256, (size, facts.channels, facts.height, facts.width), np.uint8),
            draws.integers(0, facts.classes, size),
        )
        for size in (TRAIN, TEST)
    ]


def idx(array):
    """The idx format of MNIST's files: magic number, sizes as big-endian integers, bytes."""
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def mnist_files(images):
    """File name -> bytes of the four MNIST files."""
    return {
        f"{part}-{kind}": idx(values)
        for part, (pixels, labels) in zip(("train", "t10k"), images, strict=True)
        for kind, values in (("images-idx3-ubyte", pixels[:, 0]), ("labels-idx1-ubyte", labels))
    }


def md5(data):
    return hashlib.md5(data).hexdigest()


def cifar_archive(source, name, images):
    """The archive that torchvision expects, and the checksums of its members."""
    label_key = "labels" if name == "cifar10" else "fine_labels"
    (train_images, train_labels), (test_images, test_labels) = images
    parts = len(source.train_list)
    members = {
        file: {"data": pixels.reshape(len(pixels), -1), label_key: labels.tolist()}
        for (file, _), pixels, labels in zip(
            [*source.train_list, *source.test_list],
            [*np.split(train_images, parts), test_images],
            [*np.split(train_labels, parts), test_labels],
            strict=True,
        )
    }
    members[source.meta["filename"]] = {
        source.meta["key"]: [f"class {k}" for k in range(KNOWN[name].classes)]
    }
    contents = {file: pickle.dumps(value) for file, value in members.items()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for file, data in contents.items():
            entry = tarfile.TarInfo(f"{source.base_folder}/{file}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue(), {file: md5(data) for file, data in contents.items()}


def take_cifar(monkeypatch, source, archive, sums):
    """Has torchvision take an archive, and the files in it, for the published ones."""
    monkeypatch.setattr(source, "tgz_md5", md5(archive))
    for files in ("train_list", "test_list"):
        monkeypatch.setattr(
            source, files, [[file, sums[file]] for file, _ in getattr(source, files)]
        )
    meta = {**source.meta, "md5": sums[source.meta["filename"]]}
    monkeypatch.setattr(source, "meta", meta)


def publish(monkeypatch, name):
    """Takes small archives for published: (class in torchvision, images, archive -> bytes)."""
    import torchvision

    shrink(monkeypatch, name)
    images = random_images(name)
    source = getattr(torchvision.datasets, sources.TORCHVISION[name])
    if hasattr(source, "resources"):
        archives = {f"{file}.gz": gzip.compress(data) for file, data in mnist_files(images).items()}
        resources = [(file, md5(data)) for file, data in archives.items()]
        monkeypatch.setattr(source, "resources", resources)
        return source, images, archives
    archive, sums = cifar_archive(source, name, images)
    take_cifar(monkeypatch, source, archive, sums)
    return source, images, {source.filename: archive}


def cut_network(monkeypatch):
    """Every address of torchvision's leads to a port on which nobody listens."""
    import torchvision

    for source in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(source, "mirrors", ["http://127.0.0.1:9/"])
    for source in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(source, "url", "http://127.0.0.1:9/cifar.tar.gz")


def assert_equal(found, images):
    (train_images, train_labels), (test_images, test_labels) = images
    np.testing.assert_array_equal(found.train_images, train_images)
    np.testing.assert_array_equal(found.train_labels, train_labels)
    np.testing.assert_array_equal(found.test_images, test_images)
    np.testing.assert_array_equal(found.test_labels, test_labels)
