"""Images in memory: standardisation, subsets, the embedded digits, and the store."""

import hashlib
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr

from sensigap import datasets
from sensigap.datasets.images import Images
from sensigap.datasets.known import KNOWN
from sensigap.integrity import DamagedFileError


@pytest.fixture(scope="module")
def digits_store(tmp_path_factory):
    store = tmp_path_factory.mktemp("stores") / "digits.zarr"
    datasets.prepare("digits", store)
    return store


@pytest.fixture(scope="module")
def digits(digits_store):
    return datasets.load(digits_store)


# --- standardisation ------------------------------------------------------------------------------


def test_standardised_images_equal_the_definition():
    images = np.random.default_rng(0).integers(0, 256, (5_000, 3, 4, 2), dtype=np.uint8)
    found = datasets.standardise(images)
    assert found.dtype == np.float32
    assert found.shape == (5_000, 24)
    for k in (0, 1, 4_095, 4_096, 4_999):  # either side of a chunk's end
        pixels = [float(value) for value in images[k].ravel()]
        mean = sum(pixels) / 24
        variance = sum((value - mean) ** 2 for value in pixels) / 24
        expected = [(value - mean) / variance**0.5 for value in pixels]
        np.testing.assert_allclose(found[k], expected, rtol=2e-7, atol=1e-7)


def test_two_level_images_have_a_closed_form():
    # a share p of ones: mean p, variance p (1 - p), so values -sqrt(p / (1-p)) and sqrt((1-p) / p)
    image = np.zeros((1, 1, 4, 4), np.uint8)
    image[0, 0, 0] = 255
    expected = np.where(image.reshape(1, -1) > 0, 3**0.5, -(3**-0.5))
    np.testing.assert_allclose(datasets.standardise(image), expected, rtol=1e-7)


def test_standardised_images_lie_on_the_sphere_and_forget_scale(digits):
    x = datasets.standardise(digits.test_images)
    radius = np.linalg.norm(x.astype(np.float64), axis=1)
    np.testing.assert_allclose(radius, digits.inputs**0.5, rtol=1e-6)
    again = datasets.standardise(3 * digits.test_images + 7)
    np.testing.assert_allclose(again, x, atol=1e-6)


def test_a_constant_image_is_an_error_that_names_its_index():
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 2, 2), dtype=np.uint8)
    images[4] = 9
    with pytest.raises(ValueError, match=r"image 4 of 6 is constant \(every pixel 9\)"):
        datasets.standardise(images)


# --- subsets --------------------------------------------------------------------------------------


def test_a_subset_is_stable_ascending_and_part_of_a_larger_one(digits):
    small, large = (datasets.training_subset(digits, size, 7) for size in (50, 200))
    assert small.dtype == np.int64
    assert len(small) == 50
    assert np.all(np.diff(small) > 0)
    assert set(small) < set(large)
    assert not np.array_equal(small, datasets.training_subset(digits, 50, 8))
    # published results depend on this draw: it must not change
    assert datasets.training_subset(digits, 5, 0).tolist() == [93, 225, 260, 314, 341]


def test_the_whole_set_is_itself_whatever_the_seed(digits):
    for seed in (0, 1):
        assert np.array_equal(datasets.training_subset(digits, 500, seed), np.arange(500))


@pytest.mark.parametrize("size", [0, 501])
def test_a_subset_of_impossible_size(digits, size):
    with pytest.raises(ValueError, match=f"train_size is {size}: expected 1 to 500.*digits"):
        datasets.training_subset(digits, size, 0)


# --- the embedded digits --------------------------------------------------------------------------


def test_digits_are_the_embedded_ones_each_once(digits):
    from sklearn.datasets import load_digits

    published = load_digits()
    images = np.concatenate([digits.train_images, digits.test_images])
    labels = np.concatenate([digits.train_labels, digits.test_labels])

    def rows(pixels, classes):
        return sorted(zip(map(bytes, pixels.astype(np.uint8)), classes.tolist(), strict=True))

    assert rows(images, labels) == rows(published.images, published.target)
    assert images.max() == 16
    assert set(digits.train_labels) == set(range(10))


def test_the_split_of_the_digits_never_changes(digits):
    # every network on the digits depends on it
    assert digits.train_labels[:10].tolist() == [5, 9, 9, 6, 3, 5, 8, 4, 1, 4]
    digest = hashlib.sha256(digits.train_images.tobytes()).hexdigest()
    assert digest == "2a66a6b8ce41c7f4eab12382a6b52817cfc49c50186853945192c27d29d0061f"


# --- the store ------------------------------------------------------------------------------------


def test_a_store_holds_what_is_known_of_the_data_set(digits):
    facts = KNOWN["digits"]
    shape = (facts.channels, facts.height, facts.width)
    assert digits.train_images.shape == (facts.train_size, *shape)
    assert digits.test_images.shape == (facts.test_size, *shape)
    assert digits.train_images.dtype == digits.test_images.dtype == np.uint8
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64
    assert (digits.name, digits.classes, digits.inputs) == ("digits", facts.classes, facts.inputs)
    assert digits.class_names == tuple("0123456789")


def test_a_store_opens_without_a_warning_as_the_workflow_leaves_it(digits_store):
    (digits_store / ".snakemake_timestamp").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attributes = xr.open_zarr(digits_store).attrs
        train = xr.open_zarr(digits_store, group="train")
        train.load()
    assert train["image"].dims == ("sample", "channel", "row", "column")
    assert train["image"].dtype == np.uint8
    assert all(
        {"long_name", "units"} <= set(variable.attrs) for variable in train.variables.values()
    )
    assert "load_digits" in attributes["source"]
    assert {"versions", "code"} <= set(attributes)
    assert len(train.attrs["sha256"]) == 64


def test_preparing_again_gives_the_same_bytes(digits_store, tmp_path):
    datasets.prepare("digits", tmp_path / "again.zarr")
    for group in ("train", "test"):
        first, again = (
            xr.open_zarr(path, group=group).attrs["sha256"]
            for path in (digits_store, tmp_path / "again.zarr")
        )
        assert first == again
    assert [path.name for path in tmp_path.iterdir()] == ["again.zarr"]  # no temporary left


def test_a_damaged_store_is_told_and_moved_aside(tmp_path):
    store = tmp_path / "digits.zarr"
    datasets.prepare("digits", store)
    chunk = next(path for path in (store / "test" / "image").rglob("*") if path.name[0].isdigit())
    chunk.unlink()  # zarr reads a chunk that is not there as zeros, without a word
    with pytest.raises(DamagedFileError, match=r"digits\.zarr is damaged: test/image"):
        datasets.load(store)
    assert not store.exists()
    assert (tmp_path / "digits.zarr.damaged").exists()


def test_a_garbled_chunk_is_told(tmp_path):
    store = tmp_path / "digits.zarr"
    datasets.prepare("digits", store)
    chunk = next(path for path in (store / "train" / "image").rglob("*") if path.name[0].isdigit())
    chunk.write_bytes(b"not a chunk")
    with pytest.raises(DamagedFileError, match=r"digits\.zarr is damaged: train/image"):
        datasets.load(store)


def test_no_store(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.zarr: no consolidated Zarr store"):
        datasets.load(tmp_path / "nothing.zarr")


def test_an_unknown_data_set(tmp_path):
    with pytest.raises(datasets.DatasetError, match=r"'cifar_10': expected .*did you mean cifar10"):
        datasets.prepare("cifar_10", tmp_path / "store.zarr")


def test_images_that_are_not_as_published_are_refused(monkeypatch, tmp_path):
    pixels = np.arange(3 * 4, dtype=np.uint8).reshape(3, 1, 2, 2)
    pixels[1] = 0
    odd = Images(pixels, np.array([0, 1, 12]), pixels, np.array([0, 1]), "digits", ("a", "b"))
    monkeypatch.setattr("sensigap.datasets.store.read", lambda *_: (odd, "nowhere"))
    with pytest.raises(datasets.DatasetError) as error:
        datasets.prepare("digits", tmp_path / "odd.zarr")
    for part in (
        "expected 10 classes, found 2",
        "train: expected images (image, channel, row, column) uint8 (500, 1, 8, 8), found uint8 "
        "(3, 1, 2, 2)",
        "train: expected labels from 0 to 9, found 0 to 12",
        "train: image 1 is constant",
        "test: expected 1297 labels, found 2",
    ):
        assert part in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_is_cheap():
    code = "import sys, sensigap.datasets; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "torchvision", "sklearn", "pandas", "xarray", "zarr", "pydantic"}
    assert heavy & set(done.stdout.split()) == set()


# --- the dose of input noise ----------------------------------------------------------------------


def test_the_dose_of_noise_is_a_quantile_of_distances_between_classes():
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(60, 7)), rng.integers(0, 3, 60)
    nearest = [
        min(
            math.dist(image, other)
            for other, second in zip(images, labels, strict=True)
            if second != label
        )
        for image, label in zip(images, labels, strict=True)
    ]
    for quantile in (0.0, 0.01, 0.5):
        expected = np.quantile(nearest, quantile) / math.sqrt(7)
        assert datasets.noise_dose(images, labels, quantile) == pytest.approx(expected, rel=1e-9)


def test_the_dose_does_not_depend_on_how_many_distances_are_held(monkeypatch):
    rng = np.random.default_rng(1)
    images, labels = rng.normal(size=(50, 5)), rng.integers(0, 2, 50)
    expected = datasets.noise_dose(images, labels)
    monkeypatch.setattr("sensigap.datasets.images._DISTANCES", 60)
    assert datasets.noise_dose(images, labels) == pytest.approx(expected, rel=1e-12)


def test_the_digits_dose_is_the_one_that_is_known(digits):
    found = datasets.noise_dose(datasets.standardise(digits.train_images), digits.train_labels)
    assert f"{found:.2f}" == f"{KNOWN['digits'].input_noise:.2f}"


def test_one_class_has_no_dose():
    with pytest.raises(ValueError, match="3 images of one class: expected two classes"):
        datasets.noise_dose(np.eye(3), np.zeros(3, int))
