"""Folders of data sets as people leave them: the right images, or an error that names the file."""

import gzip
import os
import pickle
import shutil
import struct

import numpy as np
import pytest

from dataset_helpers import (
    assert_equal,
    cifar_archive,
    cut_network,
    md5,
    mnist_files,
    random_images,
    shrink,
    take_cifar,
)
from sensigap.datasets import DatasetError, published, sources
from sensigap.datasets.known import KNOWN

IDX = ("mnist", "fashion_mnist")
CIFAR = ("cifar10", "cifar100")
TRAIN, LABELS, TEST, TEST_LABELS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
FILES = (TRAIN, LABELS, TEST, TEST_LABELS)
#: stands for the right images
FINE = object()


class Folder:
    """A data folder with all files of one small data set, to be damaged."""

    def __init__(self, name, path, monkeypatch):
        import torchvision

        self.name, self.path, self.monkeypatch = name, path, monkeypatch
        self.source = getattr(torchvision.datasets, sources.TORCHVISION[name])
        shrink(monkeypatch, name)
        self.images = random_images(name)
        if name in IDX:
            self.raw = path / self.source.__name__ / "raw"
            files = mnist_files(self.images)
            self.archives = {f"{file}.gz": gzip.compress(data) for file, data in files.items()}
            monkeypatch.setattr(
                self.source,
                "resources",
                [(file, md5(data)) for file, data in self.archives.items()],
            )
        else:
            self.raw = path / self.source.base_folder
            archive, sums = cifar_archive(self.source, name, self.images)
            take_cifar(monkeypatch, self.source, archive, sums)
            self.archives = {self.source.filename: archive}
            (path / self.source.filename).parent.mkdir(parents=True)
            files = {}
        self.raw.mkdir(parents=True)
        for file, data in files.items():
            (self.raw / file).write_bytes(data)
        if name in CIFAR:
            (path / self.source.filename).write_bytes(archive)
            for file in sums:
                published._extract(
                    path / self.source.filename,
                    f"{self.source.base_folder}/{file}",
                    self.raw / file,
                )
            (path / self.source.filename).unlink()

    def read(self):
        scratch = self.path.parent / "scratch"
        return sources.read(self.name, self.path, scratch)[0]

    def put_archives(self, change=lambda data: data, place=None):
        for file, data in self.archives.items():
            ((place or (self.raw if self.name in IDX else self.path)) / file).write_bytes(
                change(data)
            )

    def lock(self):
        """Nothing can be written below the folder, not even by root, who runs tests here."""
        below = str(self.path)
        access = os.access
        self.monkeypatch.setattr(
            published.os,
            "access",
            lambda path, mode: (
                not (mode == os.W_OK and str(path).startswith(below)) and access(path, mode)
            ),
        )

    def empty(self):
        for path in self.raw.iterdir():
            path.unlink()


def change(file, how):
    """A damage: what a file holds is changed."""

    def damage(folder):
        path = folder.raw / file
        path.write_bytes(how(path.read_bytes()))

    return damage


def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def replace_by(file, make):
    """A damage: something else lies in a file's place."""

    def damage(folder):
        path = folder.raw / file
        kept = path.rename(path.with_name("kept"))
        make(path, kept)

    return damage


def a_folder(path, kept):
    path.mkdir()


def a_dangling_link(path, kept):
    path.symlink_to(path.parent / "gone")


def a_link(path, kept):
    path.symlink_to(kept)


def a_link_to_itself(path, kept):
    path.symlink_to(path)


def a_pipe(path, kept):
    os.mkfifo(path)


def an_archive(path, kept):
    path.write_bytes(gzip.compress(kept.read_bytes()))


def swap(first, second):
    def damage(folder):
        (folder.raw / first).rename(folder.raw / "third")
        (folder.raw / second).rename(folder.raw / first)
        (folder.raw / "third").rename(folder.raw / second)

    return damage


def other_set(folder):
    """Files of the other set of the same shape."""
    other = IDX[1 - IDX.index(folder.name)]
    shrink(folder.monkeypatch, other)
    for file, data in mnist_files(random_images(other)).items():
        (folder.raw / file).write_bytes(data)


def one_file_of_the_other_set(folder):
    other = IDX[1 - IDX.index(folder.name)]
    (folder.raw / TRAIN).write_bytes(mnist_files(random_images(other))[TRAIN])


def noise(folder):
    draws = np.random.default_rng(7)
    for file in (TRAIN, TEST):
        path = folder.raw / file
        data = path.read_bytes()
        path.write_bytes(data[:16] + draws.bytes(len(data) - 16))


def shuffled_labels(folder):
    path = folder.raw / LABELS
    data = path.read_bytes()
    path.write_bytes(data[:8] + data[:7:-1])


def archives_only(folder, **how):
    folder.empty()
    folder.put_archives(**how)


def locked_archives(folder):
    archives_only(folder)
    folder.lock()


def one_archive(folder):
    (folder.raw / TEST).unlink()
    (folder.raw / f"{TEST}.gz").write_bytes(folder.archives[f"{TEST}.gz"])


def one_archive_locked(folder):
    one_archive(folder)
    folder.lock()


def archives_beside_damaged_files(folder):
    """The files that are there count, whatever lies beside them."""
    change(TRAIN, flip)(folder)
    folder.put_archives()


def archive_is_a_folder(folder):
    folder.empty()
    for file in folder.archives:
        (folder.raw if folder.name in IDX else folder.path).joinpath(file).mkdir()


def a_file_for_the_raw_folder(folder):
    shutil.rmtree(folder.raw)
    folder.raw.write_text("not a folder")


def a_file_for_the_data_folder(folder):
    shutil.rmtree(folder.path)
    folder.path.write_text("not a folder")


def a_dangling_data_folder(folder):
    shutil.rmtree(folder.path)
    folder.path.symlink_to(folder.path.parent / "unplugged")


def a_linked_data_folder(folder):
    kept = folder.path.rename(folder.path.parent / "elsewhere")
    folder.path.symlink_to(kept)


def wrong_pickle(folder):
    """Not as published, and never opened: a pickle may do anything."""
    file = folder.source.test_list[0][0]
    (folder.raw / file).write_bytes(pickle.dumps({"data": 3}))


def legacy(folder):
    """What torchvision wrote years ago and would read first."""
    (folder.raw.parent / "processed").mkdir()
    for file in ("training.pt", "test.pt"):
        (folder.raw.parent / "processed" / file).write_bytes(b"junk")


def upper_case(folder):
    (folder.raw / TRAIN).rename(folder.raw / TRAIN.upper())


def dot_for_dash(folder):
    """As some mirrors name them."""
    (folder.raw / TRAIN).rename(folder.raw / "train-images.idx3-ubyte")


def all_gone(folder):
    shutil.rmtree(folder.path)


def unreadable(folder):
    access = os.access
    folder.monkeypatch.setattr(
        published.os,
        "access",
        lambda path, mode: (
            not (mode == os.R_OK and str(path).endswith(TRAIN)) and access(path, mode)
        ),
    )


def removed_while_reading(folder):
    """A file system that fails."""
    state = published._state
    folder.monkeypatch.setattr(
        published, "_state", lambda path: "a file" if str(path).endswith(LABELS) else state(path)
    )
    (folder.raw / LABELS).unlink()


BATCH, META = "data_batch_3", "batches.meta"
#: name -> (data set, damage, words of the message or FINE)
CASES = {
    "whole": ("mnist", lambda folder: None, FINE),
    **{
        f"{file} cut by a byte": (
            "mnist",
            change(file, lambda data: data[:-1]),
            [f"MNIST/raw/{file} is cut short", "Delete it there", "from data_root"],
        )
        for file in FILES
    },
    **{
        f"{file} longer by a byte": (
            "fashion_mnist",
            change(file, lambda data: data + b"\0"),
            [f"FashionMNIST/raw/{file} is too long"],
        )
        for file in FILES
    },
    **{
        f"{file} empty": ("mnist", change(file, lambda data: b""), [f"raw/{file} is empty"])
        for file in FILES
    },
    **{
        f"{file} with one bit flipped": (
            "mnist",
            change(file, flip),
            [f"MNIST/raw/{file}", "expected images and labels of sha256:", "Delete them"],
        )
        for file in FILES
    },
    **{
        f"{file} a folder": ("mnist", replace_by(file, a_folder), [f"raw/{file} is a folder"])
        for file in FILES
    },
    **{
        f"{file} still compressed": (
            "mnist",
            change(file, gzip.compress),
            [f"raw/{file} is still compressed (gzip)"],
        )
        for file in FILES
    },
    "only the head": ("mnist", change(TRAIN, lambda data: data[:16]), [TRAIN, "found 0"]),
    "half a head": ("mnist", change(TRAIN, lambda data: data[:9]), [TRAIN, "found 9"]),
    "an error page of a server": (
        "mnist",
        change(TRAIN, lambda data: b"<!DOCTYPE html><html>404</html>"),
        [f"{TRAIN} is no such file", "start with 00000803, found 3c21444f"],
    ),
    "a pointer of git lfs": (
        "mnist",
        change(LABELS, lambda data: b"version https://git-lfs.github.com/spec/v1\n"),
        [f"{LABELS} is no such file"],
    ),
    "the bytes of the head swapped": (
        "mnist",
        change(TRAIN, lambda data: struct.pack("<4i", 2051, 40, 28, 28) + data[16:]),
        [f"{TRAIN} is no such file", "found 03080000"],
    ),
    "sizes beyond all memory": (
        "mnist",
        change(TRAIN, lambda data: struct.pack(">4I", 2051, 2**32 - 1, 2**32 - 1, 28) + data[16:]),
        [f"{TRAIN} is another file", "found 4294967295x4294967295x28"],
    ),
    "signed floats": (
        "mnist",
        change(TRAIN, lambda data: b"\0\0\x0d\x03" + data[4:]),
        [f"{TRAIN} is no such file", "found 00000d03"],
    ),
    "images transposed in the head": (
        "mnist",
        change(TRAIN, lambda data: struct.pack(">4i", 2051, 28, 40, 28) + data[16:]),
        [f"{TRAIN} is another file: expected 40x28x28 values, found 28x40x28"],
    ),
    "images and labels swapped": (
        "mnist",
        swap(TRAIN, LABELS),
        [f"{TRAIN} is no such file", f"{LABELS} is no such file", "Delete them"],
    ),
    "train and test images swapped": (
        "mnist",
        swap(TRAIN, TEST),
        [f"{TRAIN} is another file: expected 40x28x28 values, found 20x28x28", TEST],
    ),
    "train and test labels swapped": (
        "mnist",
        swap(LABELS, TEST_LABELS),
        [f"{LABELS} is another file: expected 40 values, found 20"],
    ),
    "noise for images": ("mnist", noise, [f"MNIST/raw/{TRAIN}", "expected images and labels of"]),
    "labels in another order": ("mnist", shuffled_labels, [LABELS, "images and labels of"]),
    "Fashion-MNIST as MNIST": ("mnist", other_set, [TRAIN, "which is fashion_mnist"]),
    "MNIST as Fashion-MNIST": ("fashion_mnist", other_set, [TRAIN, "which is mnist"]),
    "one file of the other set": ("mnist", one_file_of_the_other_set, [TRAIN, "images and labels"]),
    "a dangling link": (
        "mnist",
        replace_by(TRAIN, a_dangling_link),
        [f"{TRAIN} is a link to", "gone, where nothing is"],
    ),
    "a link to itself": (
        "mnist",
        replace_by(TRAIN, a_link_to_itself),
        [f"{TRAIN} is out of"],
    ),
    "a link to the file": ("mnist", replace_by(TRAIN, a_link), FINE),
    "a pipe": ("mnist", replace_by(TRAIN, a_pipe), [f"{TRAIN} is a device or a pipe"]),
    "an archive under the file's name": (
        "mnist",
        replace_by(TRAIN, an_archive),
        [f"{TRAIN} is still compressed"],
    ),
    "a file that may not be read": ("mnist", unreadable, [f"{TRAIN} is a file that this user may"]),
    "a file that goes while it is read": (
        "mnist",
        removed_while_reading,
        [f"{LABELS} cannot be read: No such file"],
    ),
    "a name in upper case": ("mnist", upper_case, ["1 file is missing", TRAIN]),
    "a name of another mirror": ("mnist", dot_for_dash, ["1 file is missing", TRAIN]),
    "nothing there": ("mnist", all_gone, ["4 files are missing", TRAIN, "data_root"]),
    "a file for the raw folder": (
        "mnist",
        a_file_for_the_raw_folder,
        [f"{TRAIN} is below a file, where a folder is due"],
    ),
    "a file for the data folder": (
        "mnist",
        a_file_for_the_data_folder,
        ["is a file: expected the folder of the data sets", "Correct data_root"],
    ),
    "a data folder that is not mounted": (
        "mnist",
        a_dangling_data_folder,
        ["is a link to", "unplugged, where nothing is"],
    ),
    "a linked data folder": ("mnist", a_linked_data_folder, FINE),
    "files of an old torchvision beside": ("mnist", legacy, FINE),
    # archives
    "archives alone": ("mnist", archives_only, FINE),
    "archives in a folder that cannot be written": ("mnist", locked_archives, FINE),
    "one file as archive": ("mnist", one_archive, FINE),
    "one file as archive in a folder that cannot be written": ("mnist", one_archive_locked, FINE),
    "right archives beside a damaged file": (
        "mnist",
        archives_beside_damaged_files,
        [TRAIN, "images and labels of"],
    ),
    "archives cut short": (
        "mnist",
        lambda folder: archives_only(folder, change=lambda data: data[:-9]),
        [f"archive: MNIST/raw/{TRAIN}.gz is damaged: expected MD5", "could not be downloaded"],
    ),
    "empty archives": (
        "fashion_mnist",
        lambda folder: archives_only(folder, change=lambda data: b""),
        [f"archive: FashionMNIST/raw/{TRAIN}.gz is damaged"],
    ),
    "folders for archives": ("mnist", archive_is_a_folder, [f"{TRAIN}.gz is a folder"]),
    "archives in the folder above": (
        "mnist",
        lambda folder: archives_only(folder, place=folder.path),
        ["4 files are missing", "in these subfolders"],
    ),
    # CIFAR
    "CIFAR10 whole": ("cifar10", lambda folder: None, FINE),
    "CIFAR100 whole": ("cifar100", lambda folder: None, FINE),
    "a batch with one bit flipped": (
        "cifar10",
        change(BATCH, flip),
        [f"cifar-10-batches-py/{BATCH}: expected MD5", "Delete it there"],
    ),
    "a batch cut short": ("cifar10", change(BATCH, lambda data: data[:-1]), [f"{BATCH}: expected"]),
    "an empty batch": ("cifar10", change(BATCH, lambda data: b""), [f"{BATCH}: expected MD5"]),
    "batches swapped": (
        "cifar10",
        swap(BATCH, "data_batch_4"),
        [f"{BATCH}: expected MD5", "data_batch_4: expected MD5", "Delete them there"],
    ),
    "damaged names of classes": ("cifar10", change(META, flip), [f"{META}: expected MD5"]),
    "a folder for a batch": ("cifar10", replace_by(BATCH, a_folder), [f"{BATCH} is a folder"]),
    "a pickle of somebody": ("cifar100", wrong_pickle, ["cifar-100-python/test: expected MD5"]),
    "CIFAR10 as archive": ("cifar10", archives_only, FINE),
    "CIFAR100 as archive that cannot be written beside": ("cifar100", locked_archives, FINE),
    "CIFAR10 as archive cut short": (
        "cifar10",
        lambda folder: archives_only(folder, change=lambda data: data[:-100]),
        ["archive: cifar-10-python.tar.gz is damaged", "7 files are missing"],
    ),
    "CIFAR's archive a folder": (
        "cifar100",
        archive_is_a_folder,
        ["cifar-100-python.tar.gz is a folder", "3 files are missing"],
    ),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.delenv(sources.ENVIRONMENT, raising=False)
    cut_network(monkeypatch)


@pytest.mark.parametrize(("name", "damage", "expected"), CASES.values(), ids=CASES.keys())
def test_a_folder_gives_the_right_images_or_names_the_file(
    name, damage, expected, monkeypatch, tmp_path
):
    folder = Folder(name, tmp_path / "data", monkeypatch)
    damage(folder)
    if expected is FINE:
        assert_equal(folder.read(), folder.images)
    else:
        with pytest.raises(DatasetError) as error:
            folder.read()
        told = str(error.value)
        assert told.startswith(f"{name}: ")
        assert [words for words in expected if words not in told] == []
    # whatever was unpacked or downloaded by halves is gone
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "scratch").exists() or not list((tmp_path / "scratch").iterdir())


def test_there_are_many_such_folders():
    assert len(CASES) >= 50


def test_archives_are_unpacked_into_the_folder_where_it_can_be_written(monkeypatch, tmp_path):
    folder = Folder("mnist", tmp_path / "data", monkeypatch)
    archives_only(folder)
    folder.read()
    assert {path.name for path in folder.raw.iterdir()} == {*FILES, *folder.archives}


def test_nothing_is_written_where_it_cannot(monkeypatch, tmp_path):
    folder = Folder("mnist", tmp_path / "data", monkeypatch)
    locked_archives(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    assert_equal(folder.read(), folder.images)
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before


def test_an_archive_that_lacks_a_file_is_told(monkeypatch, tmp_path):
    folder = Folder("cifar10", tmp_path / "data", monkeypatch)
    archives_only(folder)
    train = [*folder.source.train_list, ["data_batch_6", "0" * 32]]
    monkeypatch.setattr(folder.source, "train_list", train)
    with pytest.raises(DatasetError, match=r"cifar-10-python\.tar\.gz cannot be unpacked"):
        folder.read()


def test_noise_of_the_published_shape_is_no_mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    draws = np.random.default_rng(0)
    for group, size in (("train", 60_000), ("t10k", 10_000)):
        head = struct.pack(">4i", 2051, size, 28, 28)
        (raw / f"{group}-images-idx3-ubyte").write_bytes(head + draws.bytes(size * 784))
        labels = draws.integers(0, 10, size, dtype=np.uint8).tobytes()
        (raw / f"{group}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, size) + labels)
    with pytest.raises(DatasetError, match="expected images and labels of sha256:1e35582d"):
        sources.read("mnist", tmp_path, tmp_path)


def test_the_archives_checksums_are_torchvisions():
    import torchvision

    for name in CIFAR:
        source = getattr(torchvision.datasets, sources.TORCHVISION[name])
        assert KNOWN[name].published == f"md5:{source.tgz_md5}"


# --- where the folder is --------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["$SETS/data", "${SETS}/data", "~/data"])
def test_variables_and_the_home_folder_are_expanded(text, monkeypatch, tmp_path):
    folder = Folder("mnist", tmp_path / "data", monkeypatch)
    monkeypatch.setenv("SETS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_equal(sources.read("mnist", text, tmp_path)[0], folder.images)
    monkeypatch.setenv(sources.ENVIRONMENT, text)
    assert_equal(sources.read("mnist", None, tmp_path)[0], folder.images)


@pytest.mark.parametrize("text", ["$SETS/data", "${SETS}", "/data/$SETS"])
def test_a_variable_that_is_not_set_is_told(text, monkeypatch, tmp_path):
    monkeypatch.delenv("SETS", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError) as error:
        sources.read("mnist", text, tmp_path)
    assert f"data_root is {text}: expected that the variable SETS is set" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_of_nobody_is_told(tmp_path):
    with pytest.raises(DatasetError, match="data_root is ~nobody-here/data: expected a home"):
        sources.read("mnist", "~nobody-here/data", tmp_path)


def test_no_folder_is_left_behind(monkeypatch, tmp_path):
    with pytest.raises(DatasetError, match="4 files are missing"):
        sources.read("mnist", tmp_path / "a" / "b" / "c", tmp_path)
    assert list(tmp_path.iterdir()) == []
