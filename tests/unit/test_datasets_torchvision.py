"""Data sets through torchvision: published files, downloads from a local server, missing files."""

import functools
import gzip
import http.server
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from dataset_helpers import (
    assert_equal,
    cifar_archive,
    cut_network,
    md5,
    mnist_files,
    random_images,
    sha256,
    shrink,
    take_cifar,
)
from sensigap import datasets
from sensigap.datasets import sources
from sensigap.datasets.known import KNOWN

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path):
    """A web server on this machine: (folder that it serves, its address, the paths asked for)."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{web.server_port}/", asked
        web.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_folder_from_outside(monkeypatch):
    monkeypatch.delenv(sources.ENVIRONMENT, raising=False)


@pytest.fixture
def no_network(monkeypatch):
    cut_network(monkeypatch)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_downloaded_once(name, server, monkeypatch, tmp_path):
    import torchvision

    folder, address, asked = server
    shrink(monkeypatch, name)
    images = random_images(name)
    archives = {f"{file}.gz": gzip.compress(data) for file, data in mnist_files(images).items()}
    for file, data in archives.items():
        (folder / file).write_bytes(data)
    source = getattr(torchvision.datasets, sources.TORCHVISION[name])
    monkeypatch.setattr(source, "mirrors", [address])
    monkeypatch.setattr(source, "resources", [(file, md5(data)) for file, data in archives.items()])

    root = tmp_path / "root"
    datasets.prepare(name, tmp_path / "first.zarr", root)
    assert_equal(datasets.load(tmp_path / "first.zarr"), images)
    raw = root / source.__name__ / "raw"
    assert sorted(path.name for path in raw.iterdir()) == sorted(mnist_files(images))
    assert [path.name for path in root.iterdir()] == [source.__name__]

    requests = len(asked)
    assert requests > 0
    datasets.prepare(name, tmp_path / "second.zarr", root)
    assert len(asked) == requests
    assert_equal(datasets.load(tmp_path / "second.zarr"), images)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_downloaded_once(name, server, monkeypatch, tmp_path):
    import torchvision

    folder, address, asked = server
    shrink(monkeypatch, name)
    images = random_images(name)
    source = getattr(torchvision.datasets, sources.TORCHVISION[name])
    data, sums = cifar_archive(source, name, images)
    (folder / source.filename).write_bytes(data)
    monkeypatch.setattr(source, "url", address + source.filename)
    take_cifar(monkeypatch, source, data, sums)

    root = tmp_path / "root"
    datasets.prepare(name, tmp_path / "first.zarr", root)
    found = datasets.load(tmp_path / "first.zarr")
    assert_equal(found, images)
    assert found.class_names == tuple(f"class {k}" for k in range(KNOWN[name].classes))
    assert [path.name for path in root.iterdir()] == [source.base_folder]
    requests = len(asked)
    datasets.prepare(name, tmp_path / "second.zarr", root)
    assert len(asked) == requests


@pytest.fixture
def mnist_folder(monkeypatch, tmp_path):
    """(folder in torchvision's layout with small, uncompressed MNIST files, the images)."""
    shrink(monkeypatch, "mnist")
    images = random_images("mnist")
    raw = tmp_path / "layout" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file, data in mnist_files(images).items():
        (raw / file).write_bytes(data)
    return tmp_path / "layout", images


def test_a_read_only_folder_will_do(mnist_folder, no_network, tmp_path):
    folder, images = mnist_folder
    places = [
        folder,
        folder / "MNIST",
        folder / "MNIST" / "raw",
        *(folder / "MNIST" / "raw").iterdir(),
    ]
    before = {path: path.stat().st_mtime_ns for path in places}
    for path in places:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        datasets.prepare("mnist", tmp_path / "mnist.zarr", folder)
    finally:
        for path in places:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    assert_equal(datasets.load(tmp_path / "mnist.zarr"), images)
    # root may write anywhere, so the folder itself is looked at too
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_where_a_folder_is_looked_for(mnist_folder, no_network, monkeypatch, tmp_path):
    folder, images = mnist_folder
    monkeypatch.setenv(sources.ENVIRONMENT, str(folder))
    datasets.prepare("mnist", tmp_path / "environment.zarr")
    assert_equal(datasets.load(tmp_path / "environment.zarr"), images)
    # the configuration comes before the environment
    with pytest.raises(datasets.DatasetError, match=r"elsewhere \(from data_root\)"):
        datasets.prepare("mnist", tmp_path / "none.zarr", tmp_path / "elsewhere")
    monkeypatch.delenv(sources.ENVIRONMENT)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(folder)
    datasets.prepare("mnist", tmp_path / "default.zarr")
    assert_equal(datasets.load(tmp_path / "default.zarr"), images)


def test_missing_files_and_no_network_are_one_error(mnist_folder, no_network, tmp_path):
    folder, _ = mnist_folder
    (folder / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(datasets.DatasetError) as error:
        datasets.prepare("mnist", tmp_path / "mnist.zarr", folder)
    text = str(error.value)
    for part in (
        "mnist: 1 file is missing and could not be downloaded",
        "missing: MNIST/raw/t10k-labels-idx1-ubyte\n",
        f"looked for in: {folder}",
        "from data_root",
        "Copy the files there",
        "$SENSIGAP_DATA",
    ):
        assert part in text
    assert not (tmp_path / "mnist.zarr").exists()
    assert [path.name for path in folder.iterdir()] == ["MNIST"]  # no half download left


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "digits"])
def test_every_file_that_is_missing_is_named(name, no_network, tmp_path):
    import torchvision

    with pytest.raises(datasets.DatasetError) as error:
        datasets.prepare(name, tmp_path / "store.zarr", tmp_path / "nowhere")
    source = getattr(torchvision.datasets, sources.TORCHVISION[name])
    files = (
        [file.removesuffix(".gz") for file, _ in source.resources]
        if hasattr(source, "resources")
        else [file for file, _ in source.train_list + source.test_list] + [source.meta["filename"]]
    )
    assert [file for file in files if f"/{file}" not in str(error.value)] == []
    assert f"{len(files)} files are missing" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_told(mnist_folder, no_network, tmp_path):
    folder, _ = mnist_folder
    file = folder / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(datasets.DatasetError, match="train-images-idx3-ubyte is cut short"):
        datasets.prepare("mnist", tmp_path / "mnist.zarr", folder)


def published_mnist():
    """A folder with the published files: beside the repository, or in $SENSIGAP_DATA."""
    candidates = [REPOSITORY.parent / "shared" / "datasets", os.environ.get(sources.ENVIRONMENT)]
    for folder in candidates:
        if folder and (Path(folder) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
            return Path(folder)
    return None


PUBLISHED_MNIST = published_mnist()


@pytest.mark.skipif(
    PUBLISHED_MNIST is None,
    reason="needs the published files in ../shared/datasets or $SENSIGAP_DATA",
)
@pytest.mark.parametrize(
    ("name", "folder", "seventh"),
    [("mnist", "MNIST", "7 - seven"), ("fashion_mnist", "FashionMNIST", "Sneaker")],
)
def test_the_published_files_have_the_published_checksum(
    name, folder, seventh, no_network, tmp_path
):
    raw = PUBLISHED_MNIST / folder / "raw"
    if not raw.is_dir():
        pytest.skip(f"needs the published files in {raw}")
    datasets.prepare(name, tmp_path / "store.zarr", PUBLISHED_MNIST)
    found = datasets.load(tmp_path / "store.zarr")
    groups = ((found.train_images, found.train_labels), (found.test_images, found.test_labels))
    assert sha256(groups) == KNOWN[name].published
    for part, pixels, labels in (
        ("train", found.train_images, found.train_labels),
        ("t10k", found.test_images, found.test_labels),
    ):
        # an independent reading: the bytes after the head of 16 (8 for labels) bytes
        image_bytes = np.fromfile(raw / f"{part}-images-idx3-ubyte", np.uint8, offset=16)
        label_bytes = np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8, offset=8)
        np.testing.assert_array_equal(pixels.ravel(), image_bytes)
        np.testing.assert_array_equal(labels, label_bytes)
    assert found.class_names[7] == seventh
    x = datasets.standardise(found.test_images)
    np.testing.assert_allclose(np.linalg.norm(x.astype(float), axis=1), 28, rtol=1e-6)
