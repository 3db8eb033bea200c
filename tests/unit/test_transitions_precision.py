"""Transitions of a cohort at as many points as a precision asks for, against a loop of points."""

import logging
import math
import os
import statistics

import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.datasets import load_digits

from measure_helpers import fitted, spec
from sensigap import checkpoints, datasets, networks, seeds, survey, weights
from sensigap.files import WriteError
from sensigap.measures import paths
from sensigap.measures import transitions as count
from sensigap.measures.cohort import kept, store
from sensigap.measures.cohort import transitions as module
from test_measures_cohort import write_training

ASKED = {"points": 130, "precision": 0.02, "least": 25, "seed": 0}
#: fewest and most points, so that some networks stop early, some late, some never
CASES = [
    ASKED,
    ASKED | {"precision": 0.01},
    ASKED | {"precision": 0.012, "least": 40},
    ASKED | {"precision": 0.5, "least": 110},
    ASKED | {"precision": 0.5, "least": 10_000},
    ASKED | {"precision": 0.5, "points": 7},
    ASKED | {"points": 1},
    ASKED | {"seed": 3, "points": 10_000},
]


@pytest.fixture(scope="module")
def images():
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels.astype(np.uint8).reshape(-1, 1, 8, 8)
    return datasets.Images(
        pixels[:120], labels[:120], pixels[120:320], labels[120:320], "digits", tuple("0123456789")
    )


@pytest.fixture(scope="module")
def members():
    """Of all units, wide and narrow, fitted and not, one without any transitions."""
    found = [
        (one, networks.initial([one], 64, 10))
        for one in (
            spec(depth=1, width=6),
            spec(depth=1, width=40, unit="hardtanh"),
            spec(depth=2, width=10, unit="relu6", seed=1),
            spec(depth=2, width=24, unit="hardsigmoid", gain=4.0),
            spec(depth=3, width=8, seed=2),
        )
    ]
    for _, stack in found:
        stack.biases[0].add_(0.1)
    dead = spec(depth=2, width=5)
    nothing = networks.initial([dead], 64, 10)
    nothing.weights[0].zero_()
    return [*found, (spec(), fitted()), (dead, nothing)]


def in_order(members, images, settings):
    """Samples in the order in which they are taken, and each network's counts there, by loops."""
    drawn = seeds.generator(settings["seed"], "transition points").permutation(200)
    samples = drawn[: settings["points"]].tolist()
    counts = {one.id: [] for one, _ in members}
    for sample in samples:
        picture = datasets.standardise(images.test_images[sample : sample + 1]).astype(float)
        polygon = torch.from_numpy(paths.translations(picture.reshape(1, 1, 8, 8)))
        for one, stack in members:
            counts[one.id].append(int(count(stack, polygon)))
    return samples, counts


def slow_number(counts, points, precision, least):
    """How many points a network gets."""
    most = min(points, len(counts))
    for k in range(25, most, 25):
        mean = statistics.fmean(counts[:k])
        if k >= least and mean > 0:
            error = statistics.stdev(counts[:k]) / math.sqrt(k)
            if error <= precision * mean:
                return k
    return most


@pytest.fixture(scope="module")
def loops(members, images):
    return {
        seed: in_order(members, images, {"seed": seed, "points": 200})
        for seed in {settings["seed"] for settings in CASES}
    }


@pytest.mark.parametrize("settings", CASES, ids=[f"case {k}" for k in range(len(CASES))])
def test_numbers_of_points_and_their_values_are_those_of_a_loop(members, images, loops, settings):
    found = module.measure(members, images, **settings)
    samples, counts = loops[settings["seed"]]
    samples = samples[: settings["points"]]
    assert found["sample"].values.tolist() == sorted(samples)
    np.testing.assert_array_equal(found["label"], images.test_labels[sorted(samples)])
    asked = {key: settings[key] for key in ("points", "precision", "least")}
    for k, (one, _) in enumerate(members):
        number = slow_number(counts[one.id], **asked)
        row = found.isel(network=k)
        assert int(row["transitions_points"]) == number, k
        expected = dict(zip(samples[:number], counts[one.id], strict=False))
        for sample, value in zip(found["sample"].values, row["transitions"].values, strict=True):
            assert value == expected.get(sample) or (np.isnan(value) and sample not in expected)
        mean = statistics.fmean(counts[one.id][:number])
        if mean == 0 or number == 1:
            assert np.isnan(row["transitions_error"])
        else:
            error = statistics.stdev(counts[one.id][:number]) / math.sqrt(number) / mean
            assert float(row["transitions_error"]) == pytest.approx(error, rel=1e-12)


def test_the_cases_stop_early_late_and_never(members, images):
    numbers = [
        module.measure(members, images, **settings)["transitions_points"].values.tolist()
        for settings in CASES[:3]
    ]
    assert len(set(numbers[0])) >= 4
    assert {25, 130} <= {number for of in numbers for number in of}
    # the network without transitions
    assert [of[-1] for of in numbers] == [130, 130, 130]


@pytest.mark.parametrize("change", ["alone", "reversed", "path by path", "little memory"])
def test_a_network_is_measured_alike_in_any_company_order_and_parts(
    members, images, monkeypatch, change
):
    settings = ASKED | {"least": 60}
    together = module.measure(members, images, **settings)
    if change == "path by path":
        monkeypatch.setattr(module, "PART_OPERATIONS", 1.0)
    if change == "little memory":
        monkeypatch.setattr(module, "POLYGON_BYTES", 1)
    groups = [[one] for one in members] if change == "alone" else [members]
    for group in groups:
        chosen = group[::-1] if change == "reversed" else group
        found = module.measure(chosen, images, **settings)
        xr.testing.assert_identical(found, together.sel(network=found["network"].values))


def test_the_first_points_are_those_of_any_other_number_to_the_bit(members, images):
    fixed = module.measure(members, images, **ASKED | {"least": 10_000})
    assert (fixed["transitions_points"] == 130).all()
    for changes in ({}, {"precision": 0.5}, {"points": 200}, {"points": 40, "least": 30}):
        found = module.measure(members, images, **ASKED | changes)
        both = xr.align(found["transitions"], fixed["transitions"], join="inner")
        known = np.isfinite(both[0].values) & np.isfinite(both[1].values)
        assert known.any(1).all()
        assert both[0].values[known].tobytes() == both[1].values[known].tobytes()
        # of any two networks one has all points of the other
        measured = np.isfinite(found["transitions"].values)
        for one in measured:
            for other in measured:
                assert (one & other).sum() == min(one.sum(), other.sum())


@pytest.mark.parametrize("settings", CASES)
def test_progress_does_not_go_back_and_ends_at_one(members, images, settings):
    told = []
    module.measure(members, images, **settings, advance=told.append)
    assert min(told) >= 0
    assert sum(told) == pytest.approx(1)
    # nothing to do is done too
    del told[:]
    known = {}
    module.measure(members, images, **settings, keep=known.__setitem__)
    module.measure(members, images, **settings, advance=told.append, known=known)
    assert sum(told) == pytest.approx(1)


def test_no_networks_give_an_empty_dataset(images):
    found = module.measure([], images, **ASKED)
    survey.validate(found, "transitions", "none")
    assert dict(found.sizes) == {"network": 0, "sample": 130}


# --- from file to file ----------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def files(tmp_path, monkeypatch, images, members):
    """Weights, training store, data set and store-to-be of a cohort of three networks."""
    monkeypatch.setattr(datasets, "load", lambda store: images)
    monkeypatch.setattr(module, "PART_OPERATIONS", 1.0)
    names = ("w.safetensors", "t.zarr", "images.zarr", "transitions.zarr")
    arguments = [tmp_path / name for name in names]
    write_cohort(arguments, [members[k] for k in (0, 2, 4)])
    return arguments


def write_cohort(arguments, members):
    weights.save(arguments[0], [([one], stack) for one, stack in members])
    specs = [one for one, _ in members]
    write_training(arguments[1].with_name("t.zarr"), specs, ["fitted"] * len(specs))


@pytest.fixture
def counted(monkeypatch):
    """The paths that are counted, one a network and point; `stop_after` kills the job."""

    class Counted:
        total = 0
        stop_after = math.inf

        def __call__(self, stack, polygons):
            if self.total + len(polygons) > self.stop_after:
                raise Killed
            self.total += len(polygons)
            return count(stack, polygons)

    wrapper = Counted()
    monkeypatch.setattr(module, "transitions", wrapper)
    return wrapper


def write(arguments, **changes):
    store.write("transitions", *arguments, settings=ASKED | changes)
    return survey.load(arguments[-1], "transitions").drop_attrs()


def from_nothing(arguments, counted, **changes):
    """As `write`, with what was kept taken away before and given back; and the paths it took."""
    side = kept.beside(arguments[-1])
    content = side.read_bytes() if side.exists() else None
    side.unlink(missing_ok=True)
    before = counted.total
    found = write(arguments, **changes)
    took, counted.total = counted.total - before, before
    if content is None:
        side.unlink()
    else:
        side.write_bytes(content)
    return found, took


@pytest.mark.parametrize("how", ["killed", "asked to end"])
def test_a_job_goes_on_after_a_kill_and_counts_nothing_twice(files, counted, monkeypatch, how):
    expected, total = from_nothing(files, counted)
    assert total == int(expected["transitions_points"].sum()) > 100
    if how == "killed":
        # written at every part, and not at the end
        monkeypatch.setattr(kept, "KEEP_S", 0.0)
        monkeypatch.setattr(kept.Kept, "__exit__", lambda *_: None)
    for stop_after in (1, 40, 41, total - 1):
        counted.stop_after = stop_after
        with pytest.raises(Killed):
            write(files)
        assert counted.total == stop_after
    counted.stop_after = math.inf
    xr.testing.assert_identical(write(files), expected)
    assert counted.total == total
    # a store that is lost is written again without counting
    xr.testing.assert_identical(write(files), expected)
    assert counted.total == total
    assert not list(files[0].parent.glob("*.tmp")) + list(files[0].parent.glob(".*.tmp"))


def test_what_a_killed_write_left_is_taken_away(files, counted):
    write(files)
    side = kept.beside(files[-1])
    left = side.with_name(f".{side.name}~elsewhere~x~1.tmp")
    left.mkdir()
    os.utime(left, (1e9, 1e9))
    total = counted.total
    write(files)
    assert counted.total == total
    assert not left.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": 0.012},
        {"precision": 0.1},
        {"least": 90},
        {"points": 60},
        {"points": 200, "precision": 0.005},
    ],
)
def test_what_is_counted_stays_if_more_or_less_is_asked_for(files, counted, changes):
    first = write(files)
    assert counted.total == int(first["transitions_points"].sum())
    expected, alone = from_nothing(files, counted, **changes)
    before = counted.total
    xr.testing.assert_identical(write(files, **changes), expected)
    numbers = expected["transitions_points"] - first["transitions_points"]
    assert counted.total - before == int(numbers.clip(0).sum()) < alone
    # and nothing is forgotten that this job did not need
    before = counted.total
    xr.testing.assert_identical(write(files), first)
    assert counted.total == before


def of_something_else(key, value):
    def change(side, arguments, members):
        header, tensors = checkpoints.read(side)
        header["of"][key] = value
        checkpoints.write(side, header, {name: tensor + 2 for name, tensor in tensors.items()})

    return change


def damaged(change):
    def apply(side, arguments, members):
        content = side.read_bytes()
        side.write_bytes(change(content))

    return apply


def a_directory(side, arguments, members):
    side.unlink()
    side.mkdir()


def a_dead_link(side, arguments, members):
    side.unlink()
    side.symlink_to("nowhere")


def other_weights(side, arguments, members):
    """Networks of the same ids, trained otherwise."""
    changed = [(one, stack.select([0])) for one, stack in members]
    for _, stack in changed:
        stack.weights[0].mul_(0.5)
    write_cohort(arguments, changed)


@pytest.mark.parametrize(
    "change",
    [
        other_weights,
        of_something_else("weights", "others"),
        of_something_else("images", "others"),
        of_something_else("settings", {"seed": 1}),
        of_something_else("code", "other"),
        of_something_else("device", "cuda"),
        of_something_else("more", 1),
        damaged(lambda content: b""),
        damaged(lambda content: content[: len(content) // 2]),
        damaged(lambda content: content[:-9] + bytes([content[-9] ^ 2]) + content[-8:]),
        damaged(lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:]),
        a_directory,
        a_dead_link,
    ],
)
def test_counts_of_something_else_or_damaged_ones_are_not_used(files, members, counted, change):
    write(files)
    side = kept.beside(files[-1])
    change(side, files, [members[k] for k in (0, 2, 4)])
    before = counted.total
    found = write(files)
    took = counted.total - before
    side.unlink()
    expected = write(files)
    xr.testing.assert_identical(found, expected)
    assert took == int(expected["transitions_points"].sum())


def test_another_seed_counts_other_points(files, counted):
    first = write(files)
    before = counted.total
    found = write(files, seed=1)
    assert counted.total - before == int(found["transitions_points"].sum())
    assert set(found["sample"].values) != set(first["sample"].values)


def test_what_cannot_be_kept_or_read_is_told_and_stops_nothing(files, counted, monkeypatch, caplog):
    expected, total = from_nothing(files, counted)

    def full(path, *_):
        raise WriteError(28, "no room")

    def busy(path):
        raise OSError(24, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(kept, "KEEP_S", 0.0)
        patch.setattr(checkpoints, "write", full)
        xr.testing.assert_identical(write(files), expected)
    assert "cannot be kept: " in caplog.text
    assert not kept.beside(files[-1]).exists()
    write(files)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(checkpoints, "read", busy)
        xr.testing.assert_identical(write(files), expected)
    assert "cannot be read (" in caplog.text
    assert counted.total == 3 * total


def test_counts_are_not_written_more_often_than_asked(files, monkeypatch):
    written = []
    whole = checkpoints.write
    monkeypatch.setattr(
        checkpoints, "write", lambda *given: written.append(given[0]) or whole(*given)
    )
    write(files)
    assert written == [kept.beside(files[-1])]
