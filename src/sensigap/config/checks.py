"""Faults between the keys of a configuration, looked for in whatever part of it is valid."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sensigap import custom
from sensigap.config.faults import Fault, Path, near_miss, written
from sensigap.config.models import SETTINGS
from sensigap.config.valid import FAULTY, Valid, as_list, as_mapping
from sensigap.datasets import own
from sensigap.datasets.known import KNOWN
from sensigap.factors import FACTORS, FULL_BATCH_IDLE, Factor


def faults_between(valid: Valid) -> list[Fault]:
    """All faults between keys, one for each place.

    Args:
        valid: the part of the configuration in which no other fault was found.
    """
    faults: dict[Path, Fault] = {}
    for check in _CHECKS:
        for fault in check(valid):
            # a value under `defaults` is at fault once, however many blocks use it
            faults.setdefault(fault.path, fault)
    return list(faults.values())


#: names that something else has in the results folder; upper case counts as lower case, as it does
#: on some file systems
_TAKEN = ("datasets", "networks", "readme.md")
#: names that Windows keeps for devices, whatever their ending
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)
#: names of data sets: '-' ends them in names of folders
_DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{,31}", re.A)
# ASSUME: a hundred times the paper's 10,000 networks are more than anyone trains; the plan of so
# many takes a minute
_MOST_NETWORKS = 1_000_000
# ASSUME: the mean cross-entropy of float32 logits is not told from 0 below this
_LEAST_LOSS = 1e-9
# ASSUME: below this noise a float32 training step is as without
_LEAST_NOISE = 1e-3


def _study_name(valid: Valid) -> Iterator[Fault]:
    name = valid.mapping.get("study")
    if not isinstance(name, str):
        return
    if name.lower() in _TAKEN:
        yield Fault(
            ("study",), f"found {written(name)}", f"any other name: results/{name} is taken"
        )
    elif _DEVICES.fullmatch(name) or name.endswith("."):
        yield Fault(
            ("study",),
            f"found {written(name)}",
            "a name that every file system takes: Windows keeps names such as con and nul, and no "
            "folder's name ends with a dot there",
        )


def _data_root(valid: Valid) -> Iterator[Fault]:
    folder = valid.mapping.get("data_root")
    if isinstance(folder, str) and (not folder.isprintable() or not folder.strip()):
        yield Fault(("data_root",), f"found {written(folder)}", "the path of a folder")


def _number_of_networks(valid: Valid) -> Iterator[Fault]:
    total = 0
    for path, block in valid.blocks():
        axes = as_mapping(block.get("axes")).values()
        count = math.prod(len(values) for values in axes if isinstance(values, list))
        if block.get("search") == "rows":
            count = len(as_list(block.get("rows")))
        elif block.get("search") == "random":
            count = block["draws"] if isinstance(block.get("draws"), int) else 0
        count *= len(as_list(block.get("datasets")) or valid.listed) or 1
        total += 2 * count if path[0] == "factors" else count
        if total > _MOST_NETWORKS:
            yield Fault(
                path,
                f"found {total:,} networks up to here",
                f"at most {_MOST_NETWORKS:,} in a study",
                "take values or axes out, or draw some of the combinations (search: random)",
            )
            return


def _sources(valid: Valid) -> Iterator[Fault]:
    for name, settings in valid.section("datasets").items():
        path, named = ("datasets", name), bool(_DATASET_NAME.fullmatch(name))
        if not named:
            yield Fault(
                path,
                f"found the name {written(name)}",
                "at most 32 letters, digits and '_', the first a letter",
            )
        if settings is FAULTY:
            continue
        given = [key for key in own.KEYS if settings.get(key) is not None]
        paths = [key for key in given if key in ("folder", "arrays")]
        if len(paths) == 2:
            yield Fault((*path, "arrays"), "found folder and arrays", "one of them")
        elif not paths and name not in KNOWN and not named:
            continue  # told already
        elif not paths and name not in KNOWN:
            yield Fault(
                path,
                "unknown data set",
                f"{', '.join(KNOWN)}, or any name with a folder or arrays of one's own",
                near_miss(name, KNOWN),
            )
        elif not paths and (
            idle := [key for key in given if settings[key] not in (False, 0, FAULTY)]
        ):
            yield Fault(
                (*path, idle[0]),
                f"found {written(settings[idle[0]])}",
                "only with folder or arrays, images of one's own",
                f"a published set is taken as it is; add folder: for other files of {name}",
            )
        elif name in valid.refused:
            error = valid.refused[name]
            found = error.found if isinstance(error, own.SourceError) else str(error)
            remedy = error.remedy if isinstance(error, own.SourceError) else ""
            yield Fault(
                (*path, *paths),
                found,
                "images and their classes in an .npz file"
                if "arrays" in paths
                else "pictures in a folder a class, alone or within train and test",
                remedy,
            )


def _dataset_settings(valid: Valid) -> Iterator[Fault]:
    for name in valid.listed:
        facts, path = valid.facts[name], ("datasets", name)
        size, shift = valid.dataset(name, "train_size"), valid.dataset(name, "max_shift")
        if size is not None and size > facts.train_size:
            yield Fault(
                (*path, "train_size"),
                f"found {size}",
                f"at most {facts.train_size}, the training set of {name}",
                "write null for the whole set",
            )
        side = min(facts.height, facts.width)
        if shift is not None and shift >= side:
            yield Fault(
                (*path, "max_shift"),
                f"found {shift}",
                f"below {side}, the side of an image of {name} in pixels",
            )


def _dataset_lists(valid: Valid) -> Iterator[Fault]:
    listed, settings = valid.listed, valid.mapping.get("datasets")
    doubtful = not isinstance(settings, dict) or {*settings} != {*listed}
    for path, block in valid.blocks():
        named = as_list(block.get("datasets"))
        yield from _duplicates((*path, "datasets"), named)
        for k, name in enumerate(named):
            if name is not FAULTY and name not in listed and not doubtful:
                yield Fault(
                    (*path, "datasets", k),
                    f"found {written(name)}, which the study does not list",
                    f"a key of datasets: {', '.join(listed) or 'none there'}",
                    near_miss(name, listed) or f"add {name}: {{}} under datasets",
                )


def _duplicates(path: Path, values: list[Any]) -> Iterator[Fault]:
    for k, value in enumerate(values):
        if value is not FAULTY and value in values[:k]:
            first = values.index(value)
            yield Fault(
                (*path, k), f"found {written(value)} again", f"each value once (first at [{first}])"
            )


def _axes_of(path: Path, block: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The axes of a block, and those of a factor on single data sets."""
    yield (*path, "axes"), as_mapping(block.get("axes"))
    for name, axes in as_mapping(block.get("by_dataset")).items():
        yield (*path, "by_dataset", name), as_mapping(axes)


def _axis_values(valid: Valid) -> Iterator[Fault]:
    for path, block in valid.blocks():
        axes = block.get("axes")
        if axes == {}:
            yield Fault(
                (*path, "axes"), "found no axis", "at least one hyper-parameter with its values"
            )
        for place, some in _axes_of(path, block):
            for name, values in some.items():
                yield from _duplicates((*place, name), as_list(values))
        yield from _duplicates((*path, "rows"), as_list(block.get("rows")))
    slices = valid.section("measures", "slices")
    yield from _duplicates(("measures", "slices", "networks"), as_list(slices.get("networks")))


def _draws(valid: Valid) -> Iterator[Fault]:
    for path, block in valid.blocks():
        axes, draws = as_mapping(block.get("axes")), block.get("draws")
        lists = list(axes.values())
        if "seed" not in axes or path[0] == "factors":
            continue  # every draw has a seed of its own; of a factor, none is drawn twice
        if not isinstance(draws, int) or not lists or not all(isinstance(v, list) for v in lists):
            continue
        combinations = math.prod(len(values) for values in lists)
        if draws > combinations:
            yield Fault(
                (*path, "draws"),
                f"found {draws}",
                f"at most {combinations}, all combinations of the axes: more would repeat",
                "add values, or leave seed out: every draw then has its own",
            )


def _batches(valid: Valid) -> Iterator[Fault]:
    for group in valid.groups:
        optimizers = [value for _, value in group.values["optimizer"]]
        if optimizers and all(value == "lbfgs" for value in optimizers):
            continue
        sizes = {name: valid.dataset(name, "train_size") for name in group.datasets}
        # the side beside a full-batch one, for which the full batch would be no other
        other = group.factor.minibatch if group.factor else None
        for path, batch in group.values["batch_size"]:
            for name, size in sizes.items():
                if size is None or batch < size or (batch == size and not other):
                    continue
                yield Fault(
                    path,
                    f"found {batch}",
                    f"{'below' if other else 'at most'} {size}, the training set of {name}"
                    + (f', for the side "{other.words}" of a pair' if other else ""),
                )
                break


def _stops(valid: Valid) -> Iterator[Fault]:
    used = False
    for group in valid.groups:
        stops, targets = group.values["stop"], group.values["target_loss"]
        ends = [path for path, value in stops if value == "loss"]
        used = used or bool(ends) or not stops
        for path, target in targets:
            if ends and 0 < target < _LEAST_LOSS:
                yield Fault(path, f"found {target}", f"at least {_LEAST_LOSS} nat with stop: loss")
            elif ends and target <= 0 and "target_loss" in group.given:
                yield Fault(path, f"found {target}", "a number above 0 (nat) with stop: loss")
            elif ends and target <= 0:
                yield Fault(
                    ends[0],
                    'found "loss" without a target_loss',
                    "steps, fitted, or loss with a target_loss above 0 (nat)",
                    "add target_loss here or under defaults",
                )
            elif stops and not ends and "target_loss" in group.given:
                yield Fault(path, f"found {target}", "target_loss only with stop: loss")
    if not used:
        yield from _idle_default(
            valid, "target_loss", 0, "target_loss only where some network has stop: loss"
        )


def _idle_default(valid: Valid, name: str, usual: float, allowed: str) -> Iterator[Fault]:
    """A value under `defaults` that no network of the study uses."""
    value = valid.section("defaults").get(name, usual)
    if valid.groups and value is not FAULTY and value != usual:
        yield Fault(("defaults", name), f"found {value}", allowed)


def _augmentation(valid: Valid) -> Iterator[Fault]:
    for group in valid.groups:
        if not any(value is True for _, value in group.values["augmentation"]):
            continue
        for name in group.datasets:
            shift, flip = valid.dataset(name, "max_shift"), valid.dataset(name, "flip")
            if shift == 0 and flip is False:
                yield Fault(
                    ("datasets", name, "max_shift"),
                    "found 0 with flip false, but augmented networks are asked for",
                    "max_shift above 0 or flip true, so that augmentation does something",
                )


def _augmentation_share(valid: Valid) -> Iterator[Fault]:
    used = False
    for group in valid.groups:
        augmented = any(value is True for _, value in group.values["augmentation"])
        used = used or augmented or not group.values["augmentation"]
        for path, share in group.values["augmentation_share"]:
            given = "augmentation_share" in group.given
            if given and share < 1 and group.values["augmentation"] and not augmented:
                yield Fault(path, f"found {share}", "below 1 only with augmentation: true")
    if not used:
        yield from _idle_default(
            valid, "augmentation_share", 1, "below 1 only where some network has augmentation: true"
        )


def _input_noise(valid: Valid) -> Iterator[Fault]:
    for group in valid.groups:
        for path, noise in group.values["input_noise"]:
            if 0 < noise < _LEAST_NOISE:
                yield Fault(path, f"found {noise}", f"0, or at least {_LEAST_NOISE}")


def _full_batch_draws(valid: Valid) -> Iterator[Fault]:
    """L-BFGS's line search needs the same images at every evaluation."""
    for group in valid.groups:
        full = [path for path, value in group.values["optimizer"] if value == "lbfgs"]
        if not full:
            continue
        for name, fixed in (("augmentation", False), ("augmentation_share", 1), ("input_noise", 0)):
            if name == "augmentation_share" and name not in group.given:
                continue  # of defaults: it is not used without augmentation
            drawn = [(path, value) for path, value in group.values[name] if value != fixed]
            if drawn and group.factor and "optimizer" in group.factor.own:
                path, value = drawn[0]
                yield Fault(
                    path,
                    f"found {written(value)}",
                    f"{written(fixed)} in the factor {group.factor.name}: lbfgs, one of its sides, "
                    "needs a fixed full batch",
                )
            elif drawn:
                yield Fault(
                    full[0],
                    f'found "lbfgs" for networks with {name}',
                    f"sgd, momentum, adam or rmsprop with {name}: lbfgs needs a fixed full batch",
                    "give lbfgs a block of its own",
                )


def _full_batch_precision(valid: Valid) -> Iterator[Fault]:
    """L-BFGS compares losses that differ by less than a rounded product does."""
    for group in valid.groups:
        full = [path for path, value in group.values["optimizer"] if value == "lbfgs"]
        for path, value in group.values["precision"]:
            if value in ("tf32", "bf16") and full:
                yield Fault(
                    path,
                    f'found "{value}" for networks with lbfgs',
                    "float32 or float64: its line search cannot tell a step from a rounding error",
                    "give lbfgs a block of its own",
                )
                break


def _factors(valid: Valid) -> Iterator[Fault]:
    for place, factor in valid.blocks():
        if place[0] != "factors" or place[1] not in FACTORS:
            continue  # an unknown key is told already
        yield from _by_dataset(valid, place, factor)
        for path, axes in _axes_of(place, factor):
            yield from _factor_axes(valid, FACTORS[str(place[1])], path, axes)


def _by_dataset(valid: Valid, place: Path, factor: Mapping[str, Any]) -> Iterator[Fault]:
    covered = as_list(factor.get("datasets")) or valid.listed
    if factor.get("datasets") is FAULTY or {*valid.section("datasets")} != {*valid.listed}:
        return
    for name in as_mapping(factor.get("by_dataset")):
        if name not in covered:
            yield Fault(
                (*place, "by_dataset", name),
                f"found {written(name)}",
                f"data sets that the factor covers: {', '.join(map(str, covered))}",
                near_miss(name, map(str, covered)),
            )


def _factor_axes(
    valid: Valid, record: Factor, path: Path, axes: Mapping[str, Any]
) -> Iterator[Fault]:
    for hyperparameter in record.own:
        if hyperparameter in axes:
            yield Fault(
                (*path, hyperparameter),
                "the factor's own hyper-parameter cannot be an axis",
                "any other hyper-parameter",
                "leave it out: the factor sets it on both sides of a pair",
            )
    idle = {key: f'the side "{side.words}"' for side in record.sides for key in side.unused}
    if "optimizer" not in record.own and "lbfgs" in as_list(
        axes.get("optimizer") or [valid.section("defaults").get("optimizer")]
    ):
        idle = dict.fromkeys(FULL_BATCH_IDLE, "lbfgs")
    for key, who in idle.items():
        values = as_list(axes.get(key))
        if len(values) > 1:
            yield Fault(
                (*path, key),
                f"found {len(values)} values",
                f"one value: {who} does not use it and would be in several pairs",
                "" if who != "lbfgs" else "or leave lbfgs out of the optimizers",
            )


def _ellipses_and_slices(valid: Valid) -> Iterator[Fault]:
    measures = as_mapping(valid.mapping.get("measures", {}))
    ellipses = {**SETTINGS["ellipses"]().model_dump(), **as_mapping(measures.get("ellipses", {}))}
    slices = {**SETTINGS["slices"]().model_dump(), **as_mapping(measures.get("slices", {}))}
    asks_ellipses = isinstance(ellipses["share"], float | int) and ellipses["share"] > 0
    for name in valid.listed:
        size, classes = valid.dataset(name, "train_size"), valid.facts[name].classes
        least = 2 * classes + 1
        if size is None or size >= least:
            continue
        if asks_ellipses:
            yield Fault(
                ("datasets", name, "train_size"),
                f"found {size}",
                f"at least {least} for ellipses (2 x {classes} classes + 1: then some "
                "class has three images)",
                "or set measures.ellipses.share to 0",
            )
        elif as_list(slices["networks"]):
            yield Fault(
                ("datasets", name, "train_size"),
                f"found {size}",
                f"at least {least} for slices, as for ellipses: they go through three training "
                "images of different classes",
                "or set measures.slices.networks to []",
            )


def _custom_measures(valid: Valid) -> Iterator[Fault]:
    functions = as_mapping(valid.section("measures", "custom").get("functions"))
    for label, reference in functions.items():
        if not isinstance(reference, str):
            continue
        try:
            custom.source(reference)
        except custom.CustomMeasureError as error:
            yield Fault(
                ("measures", "custom", "functions", label),
                f"found {reference}: {error}",
                "file.py:function, the file from the working directory, or module:function",
                "write the function, or correct its name",
            )


def _test_points(valid: Valid) -> Iterator[Fault]:
    """Points of a measure are test points, and those of transitions among those of Jacobians."""
    asked = {name: valid.section("measures", name) for name in ("jacobian", "transitions")}
    #: where points of Jacobians are given -> how many, and the most that transitions take of them
    given: dict[Path, tuple[int, int]] = {}
    for name in valid.listed:
        facts = valid.facts[name]
        own = as_mapping(valid.section("datasets", name)).get("jacobian_points")
        of_all: Path = ("measures", "jacobian", "points")
        place = of_all if own is None else ("datasets", name, "jacobian_points")
        most = asked["jacobian"].get("points") if own is None else own
        paths = asked["transitions"].get("points")
        for where, points in ((place, most), (("measures", "transitions", "points"), paths)):
            if isinstance(points, int) and points > facts.test_size:
                yield Fault(
                    where, f"found {points}", f"at most {facts.test_size}, the test set of {name}"
                )
        least = paths if isinstance(paths, int) else facts.transition_points
        if isinstance(most, int):
            given[place] = most, max(least, given.get(place, (0, 0))[1])
    for place, (most, least) in given.items():
        if most < least:
            yield Fault(
                place,
                f"found {most}",
                f"at least {least}, the points of transitions, which are among them",
                "or lower measures.transitions.points",
            )
    seeds = [asked[measure].get("seed", 0) for measure in asked]
    if given and FAULTY not in seeds and seeds[0] != seeds[1]:
        yield Fault(
            ("measures", "jacobian", "seed"),
            f"found {seeds[0]}, and {seeds[1]} for transitions",
            "one seed for both, where jacobian.points are not all",
        )


_CHECKS: tuple[Callable[[Valid], Iterator[Fault]], ...] = (
    _study_name,
    _data_root,
    _number_of_networks,
    _sources,
    _dataset_settings,
    _dataset_lists,
    _axis_values,
    _draws,
    _batches,
    _stops,
    _augmentation,
    _augmentation_share,
    _input_noise,
    _full_batch_draws,
    _full_batch_precision,
    _factors,
    _ellipses_and_slices,
    _test_points,
    _custom_measures,
)
