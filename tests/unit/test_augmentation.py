"""Translated and flipped training images against a slow reference."""

import dataclasses

import numpy as np
import pytest
import torch

from sensigap.datasets import standardise
from sensigap.training import augmentation
from sensigap.training.augmentation import ImageTable, Variant
from training_helpers import make_spec

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 3, 7, 5), dtype=np.uint8)


def slow(image, flip, dy, dx):
    """One image shifted by (dy, dx), pixel by pixel, zeros coming in, standardised."""
    if flip:
        image = image[:, :, ::-1]
    shifted = np.zeros_like(image)
    height, width = image.shape[1:]
    for y in range(height):
        for x in range(width):
            if 0 <= y - dy < height and 0 <= x - dx < width:
                shifted[:, y, x] = image[:, y - dy, x - dx]
    return standardise(shifted[None])[0]


def test_plain_images_are_the_standardised_ones():
    table = ImageTable(IMAGES, [Variant(2, flip=True)])
    np.testing.assert_allclose(table.plain, standardise(IMAGES), atol=2e-6)


@pytest.mark.parametrize("table_bytes", [0, 2**30], ids=["on the fly", "table"])
def test_every_version_is_a_translation_and_all_occur(table_bytes):
    shift = 2
    table = ImageTable(IMAGES, [Variant(shift, flip=True)], table_bytes=table_bytes)
    spec = make_spec(max_shift=shift, flip=True)
    expected = {
        (f, y, x): slow(IMAGES[3], f, y, x)
        for f in (0, 1)
        for y in range(-shift, shift + 1)
        for x in range(-shift, shift + 1)
    }
    # image 3 in each of 400 steps: 50 equally likely versions all turn up (but for 1.5 in 100 cases
    # of another seed)
    positions = table.positions(spec, np.full((400, 1), 3), 0)
    out = torch.empty(400, table.inputs)
    table.fetch(torch.from_numpy(positions[:, 0]), out)
    seen = set()
    for row in out.numpy():
        distances = {key: np.abs(row - value).max() for key, value in expected.items()}
        best = min(distances, key=distances.get)
        assert distances[best] < 5e-6
        seen.add(best)
    assert seen == set(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_table_and_on_the_fly_give_the_same_bits(dtype):
    variants = [Variant(1), Variant(2, flip=True), Variant(2, shift_mode="wrap")]
    kept = ImageTable(IMAGES, variants, dtype=dtype)
    made = ImageTable(IMAGES, variants, dtype=dtype, table_bytes=0)
    for variant in (
        {},
        {"max_shift": 1},
        {"max_shift": 2, "flip": True, "augmentation_share": 0.4},
        {"max_shift": 2, "shift_mode": "wrap"},
    ):
        spec = make_spec(**variant)
        images = RNG.integers(0, len(IMAGES), (70, 8))
        positions = torch.from_numpy(kept.positions(spec, images, 5).ravel())
        a, b = torch.empty(2, len(positions), kept.inputs, dtype=dtype)
        kept.fetch(positions, a)
        made.fetch(positions, b)
        assert torch.equal(a, b)


def test_wrapped_versions_are_rolled_images():
    table = ImageTable(IMAGES, [Variant(2, flip=True, shift_mode="wrap"), Variant(1)])
    spec = make_spec(max_shift=2, flip=True, shift_mode="wrap")
    expected = [
        standardise(np.roll(image, (y, x), (1, 2))[None])[0]
        for image in (IMAGES[3], IMAGES[3][:, :, ::-1])
        for y in range(-2, 3)
        for x in range(-2, 3)
    ]
    positions = table.positions(spec, np.full((400, 1), 3), 0)
    out = torch.empty(400, table.inputs)
    table.fetch(torch.from_numpy(positions[:, 0]), out)
    distances = np.abs(out.numpy()[:, None] - np.array(expected)).max(2)
    assert distances.min(1).max() < 5e-6
    assert set(distances.argmin(1)) == set(range(50))


def test_a_share_of_the_drawn_images_is_augmented():
    table = ImageTable(IMAGES, [Variant(2, flip=True)])
    spec = make_spec(max_shift=2, flip=True, augmentation_share=0.3, seed=4)
    images = RNG.integers(0, len(IMAGES), (300, 40))
    found = table.positions(spec, images, 0)
    changed = found != images
    # the augmented versions' places are never the plain one's, the untranslated version's neither
    standard_error = np.sqrt(0.3 * 0.7 / changed.size)
    assert abs(changed.mean() - 0.3) < 4 * standard_error
    # as often in each place of a batch and each step, whatever the image
    assert np.abs(changed.mean(0) - 0.3).max() < 4.5 * np.sqrt(0.21 / 300)
    assert np.abs(changed.mean(1) - 0.3).max() < 4.5 * np.sqrt(0.21 / 40)
    # those that are augmented have the versions that full augmentation gives them
    whole = table.positions(dataclasses.replace(spec, augmentation_share=1.0), images, 0)
    assert np.array_equal(found, np.where(changed, whole, images))
    for start, end in ((0, 1), (63, 65), (100, 200)):
        assert np.array_equal(table.positions(spec, images[start:end], start), found[start:end])


def test_large_batches_have_the_same_draws_though_they_are_not_kept(monkeypatch):
    table = ImageTable(IMAGES, [Variant(2)])
    spec = make_spec(max_shift=2, augmentation_share=0.5)
    images = RNG.integers(0, len(IMAGES), (70, 8))
    kept = table.positions(spec, images, 30)
    monkeypatch.setattr(augmentation, "_KEPT", 0)
    assert np.array_equal(table.positions(spec, images, 30), kept)


def test_draws_of_a_step_do_not_depend_on_where_one_starts():
    table = ImageTable(IMAGES, [Variant(2, flip=True)])
    spec = make_spec(max_shift=2, flip=True)
    images = RNG.integers(0, len(IMAGES), (200, 8))
    whole = table.positions(spec, images, 0)
    for start, end in ((0, 1), (63, 65), (100, 200)):
        assert np.array_equal(table.positions(spec, images[start:end], start), whole[start:end])
    assert np.array_equal(table.positions(make_spec(), images, 0), images)


def test_an_image_shifted_out_of_the_frame_is_zero_and_a_constant_one_an_error():
    images = np.zeros((2, 1, 4, 4), np.uint8)
    images[:, 0, 0, 0] = 9  # one bright corner: a shift up or to the left leaves nothing
    table = ImageTable(images, [Variant(1, flip=False)], table_bytes=0)
    out = torch.empty(18, 16)
    table.fetch(torch.arange(2, 20), out)
    assert out.isfinite().all()
    empty = (out == 0).all(1).sum()
    assert empty == 2 * 5  # five of the nine translations lose the corner
    images[1] = 7
    with pytest.raises(ValueError, match=r"training image 1 .* is constant"):
        ImageTable(images)
