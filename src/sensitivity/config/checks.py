"""Faults between the keys of a configuration, looked for in whatever part of it is valid.

The checks read the plain mapping in which every faulty value has been replaced by `FAULTY`, so that
they also speak when other keys are wrong, and are silent about those.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sensitivity.config.faults import Fault, Path, near_miss, written
from sensitivity.config.hyperparameters import Defaults
from sensitivity.config.models import Dataset, Ellipses, Slices, resolve
from sensitivity.datasets.known import KNOWN

#: stands in for a value in which a fault has been found already
FAULTY = object()


def without_faults(mapping: Mapping[str, Any], faults: Iterable[Fault]) -> dict[str, Any]:
    """A copy of the mapping with `FAULTY` for every value at fault, unknown keys included."""

    def copied(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: copied(item) for key, item in value.items()}
        return [copied(item) for item in value] if isinstance(value, list) else value

    valid: Any = copied(mapping)
    for fault in faults:
        *parents, last = fault.path
        place = valid
        for step in parents:
            place = place[step]
            if place is FAULTY:
                break
        if place is not FAULTY:
            place[last] = FAULTY
    return valid


@dataclasses.dataclass(frozen=True)
class Group:
    """Networks that the configuration asks for in one place: a block, a row, a factor, a slice.

    Attributes:
        path: of the place.
        datasets: names of the data sets covered, as far as they are valid.
        values: hyper-parameter -> (path, value) of each of its valid values, defaults included.
        given: the hyper-parameters that the place names itself.
        factor: name of the factor, '' for the others.
    """

    path: Path
    datasets: tuple[str, ...]
    values: Mapping[str, list[tuple[Path, Any]]]
    given: frozenset[str]
    factor: str = ""


def faults_between(valid: Mapping[str, Any]) -> list[Fault]:
    """All faults between keys.

    Args:
        valid: from `without_faults`.
    """
    groups = list(_groups(valid))
    faults: dict[tuple[Path, str], Fault] = {}
    for check in _CHECKS:
        for fault in check(valid, groups):
            # a value under `defaults` is at fault once, however many blocks use it
            faults.setdefault((fault.path, check.__name__), fault)
    return list(faults.values())


# --- reading the valid part -----------------------------------------------------------------------


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _section(valid: Mapping[str, Any], *path: str) -> dict[str, Any]:
    section: Any = valid
    for step in path:
        section = _mapping(section).get(step)
    return _mapping(section)


def _listed(valid: Mapping[str, Any]) -> tuple[str, ...]:
    """Known data sets that the study lists."""
    return tuple(name for name in _section(valid, "datasets") if name in KNOWN)


def _covered(block: Mapping[str, Any], valid: Mapping[str, Any]) -> tuple[str, ...]:
    """Data sets that a block covers and that the study lists."""
    listed = _listed(valid)
    named = block.get("datasets")
    if named is FAULTY:
        return ()
    return listed if named is None else tuple(name for name in named if name in listed)


def _groups(valid: Mapping[str, Any]) -> Iterator[Group]:
    defaults: dict[str, list[tuple[Path, Any]]] = {
        name: [(("defaults", name), value)] if value is not FAULTY else []
        for name, value in {**Defaults().model_dump(), **_section(valid, "defaults")}.items()
    }
    if valid.get("defaults") is FAULTY:
        defaults = {name: [] for name in defaults}

    def group(
        path: Path, block: Mapping[str, Any], axes: Any, factor: str = "", fixed: Any = None
    ) -> Group:
        given = {
            name: [((*path, *where), value) for where, value in entries if value is not FAULTY]
            for name, entries in axes.items()
        }
        merged = {**defaults, **given, **{name: [(path, v)] for name, v in (fixed or {}).items()}}
        return Group(path, _covered(block, valid), merged, frozenset(given), factor)

    for i, block in enumerate(_list(valid.get("survey"))):
        path: Path = ("survey", i)
        if not isinstance(block, dict):
            continue
        if block.get("search") == "rows":
            for j, row in enumerate(_list(block.get("rows"))):
                yield group((*path, "rows", j), block, _row(row))
        else:
            yield group(path, block, _axes(block))
    for name, factor in _section(valid, "factors").items():
        if isinstance(factor, dict):
            yield group(("factors", name), factor, _axes(factor), name, _FACTOR_SIDE[name])
    for j, row in enumerate(_list(_section(valid, "measures", "slices").get("networks"))):
        yield group(("measures", "slices", "networks", j), {}, _row(row))


def _axes(block: Mapping[str, Any]) -> dict[str, list[tuple[Path, Any]]]:
    return {
        name: [(("axes", name, k), value) for k, value in enumerate(_list(values))]
        for name, values in _mapping(block.get("axes")).items()
    }


def _row(row: Any) -> dict[str, list[tuple[Path, Any]]]:
    return {name: [((name,), value)] for name, value in _mapping(row).items()}


#: the hyper-parameters that a factor sets on the side that the checks must look at
_FACTOR_SIDE: dict[str, dict[str, Any]] = {
    "labels": {},
    "augmentation": {"augmentation": True},
    "unit": {},
    "batch": {"optimizer": "momentum"},
}


def _dataset(valid: Mapping[str, Any], name: str, key: str) -> Any:
    """A setting of a data set, default filled in; None where it is faulty."""
    settings = _mapping(_section(valid, "datasets").get(name))
    if _section(valid, "datasets").get(name) is FAULTY or settings.get(key) is FAULTY:
        return None
    sound = {k: v for k, v in settings.items() if v is not FAULTY}
    return getattr(resolve(Dataset.model_construct(**sound), KNOWN[name]), key)


# --- the checks -----------------------------------------------------------------------------------


def _study_name(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    if valid.get("study") == "datasets":
        yield Fault(("study",), 'found "datasets"', "any other name: results/datasets/ is taken")


def _dataset_settings(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    for name in _listed(valid):
        facts, path = KNOWN[name], ("datasets", name)
        size, shift = _dataset(valid, name, "train_size"), _dataset(valid, name, "max_shift")
        if size is not None and size > facts.train_size:
            yield Fault(
                (*path, "train_size"),
                f"found {size}",
                f"at most {facts.train_size}, the published training set of {name}",
                "write null for the whole set",
            )
        side = min(facts.height, facts.width)
        if shift is not None and shift >= side:
            yield Fault(
                (*path, "max_shift"),
                f"found {shift}",
                f"below {side}, the side of an image of {name} in pixels",
            )


def _dataset_lists(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    listed, settings = _listed(valid), valid.get("datasets")
    doubtful = not isinstance(settings, dict) or FAULTY in settings.values()
    for path, block in _blocks(valid):
        named = _list(block.get("datasets"))
        yield from _duplicates((*path, "datasets"), named)
        for k, name in enumerate(named):
            if name is not FAULTY and name not in listed and not doubtful:
                yield Fault(
                    (*path, "datasets", k),
                    f"found {written(name)}, which the study does not list",
                    f"a key of datasets: {', '.join(listed) or 'none there'}",
                    near_miss(name, listed) or f"add {name}: {{}} under datasets",
                )


def _blocks(valid: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for i, block in enumerate(_list(valid.get("survey"))):
        if isinstance(block, dict):
            yield ("survey", i), block
    for name, factor in _section(valid, "factors").items():
        if isinstance(factor, dict):
            yield ("factors", name), factor


def _duplicates(path: Path, values: list[Any]) -> Iterator[Fault]:
    for k, value in enumerate(values):
        if value is not FAULTY and value in values[:k]:
            first = values.index(value)
            yield Fault(
                (*path, k), f"found {written(value)} again", f"each value once (first at [{first}])"
            )


def _axis_values(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    for path, block in _blocks(valid):
        axes = block.get("axes")
        if axes == {}:
            yield Fault(
                (*path, "axes"), "found no axis", "at least one hyper-parameter with its values"
            )
        for name, values in _mapping(axes).items():
            yield from _duplicates((*path, "axes", name), _list(values))
        yield from _duplicates((*path, "rows"), _list(block.get("rows")))
    slices = _section(valid, "measures", "slices")
    yield from _duplicates(("measures", "slices", "networks"), _list(slices.get("networks")))


def _draws(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    for path, block in _blocks(valid):
        axes, draws = _mapping(block.get("axes")), block.get("draws")
        lists = list(axes.values())
        if "seed" not in axes:
            continue  # every draw then has a seed of its own, and no two are the same network
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


def _batches(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    for group in groups:
        optimizers = [value for _, value in group.values["optimizer"]]
        if optimizers and all(value == "lbfgs" for value in optimizers):
            continue
        sizes = {name: _dataset(valid, name, "train_size") for name in group.datasets}
        for path, batch in group.values["batch_size"]:
            for name, size in sizes.items():
                if size is None or batch < size or (batch == size and group.factor != "batch"):
                    continue
                below = group.factor == "batch"
                yield Fault(
                    path,
                    f"found {batch}",
                    f"{'below' if below else 'at most'} {size}, the training set of {name}"
                    + (", for the pair's minibatch side" if below else ""),
                )
                break


def _stops(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    used = False
    for group in groups:
        stops, targets = group.values["stop"], group.values["target_loss"]
        ends = [path for path, value in stops if value == "loss"]
        used = used or bool(ends) or not stops
        for path, target in targets:
            if ends and target <= 0 and "target_loss" in group.given:
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
    target = _section(valid, "defaults").get("target_loss", 0)
    if groups and not used and target is not FAULTY and target > 0:
        yield Fault(
            ("defaults", "target_loss"),
            f"found {target}",
            "target_loss only where some network has stop: loss",
        )


def _augmentation(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    for group in groups:
        if not any(value is True for _, value in group.values["augmentation"]):
            continue
        for name in group.datasets:
            shift, flip = _dataset(valid, name, "max_shift"), _dataset(valid, name, "flip")
            if shift == 0 and flip is False:
                yield Fault(
                    ("datasets", name, "max_shift"),
                    "found 0 with flip false, but augmented networks are asked for",
                    "max_shift above 0 or flip true, so that augmentation does something",
                )


def _factors(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    for name, factor in _section(valid, "factors").items():
        axes, path = _mapping(_mapping(factor).get("axes")), ("factors", name, "axes")
        own = "optimizer" if name == "batch" else name
        if own in axes:
            yield Fault(
                (*path, own),
                "the factor's own hyper-parameter cannot be an axis",
                "any other hyper-parameter",
                "leave it out: the factor sets it on both sides of a pair",
            )
        for key in ("learning_rate", "batch_size", "steps"):
            values = _list(axes.get(key))
            if name == "batch" and len(values) > 1:
                yield Fault(
                    (*path, key),
                    f"found {len(values)} values",
                    "one value: the full-batch side does not use it and would be in several pairs",
                )


def _ellipses_and_slices(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    measures = _mapping(valid.get("measures", {}))
    ellipses = {**Ellipses().model_dump(), **_mapping(measures.get("ellipses", {}))}
    slices = {**Slices().model_dump(), **_mapping(measures.get("slices", {}))}
    asks_ellipses = isinstance(ellipses["share"], float | int) and ellipses["share"] > 0
    for name in _listed(valid):
        size, classes = _dataset(valid, name, "train_size"), KNOWN[name].classes
        if size is None:
            continue
        if asks_ellipses and size < 2 * classes + 1:
            yield Fault(
                ("datasets", name, "train_size"),
                f"found {size}",
                f"at least {2 * classes + 1} for ellipses (2 x {classes} classes + 1: then some "
                "class has three images)",
                "or set measures.ellipses.share to 0",
            )
        elif _list(slices["networks"]) and size < 3:
            yield Fault(
                ("datasets", name, "train_size"),
                f"found {size}",
                "at least 3 for slices, which go through three training images",
                "or set measures.slices.networks to []",
            )


def _transition_points(valid: Mapping[str, Any], groups: list[Group]) -> Iterator[Fault]:
    points = _section(valid, "measures", "transitions").get("points")
    for name in _listed(valid):
        size = KNOWN[name].test_size
        if isinstance(points, int) and points > size:
            yield Fault(
                ("measures", "transitions", "points"),
                f"found {points}",
                f"at most {size}, the test set of {name}",
            )


_CHECKS: tuple[Callable[[Mapping[str, Any], list[Group]], Iterator[Fault]], ...] = (
    _study_name,
    _dataset_settings,
    _dataset_lists,
    _axis_values,
    _draws,
    _batches,
    _stops,
    _augmentation,
    _factors,
    _ellipses_and_slices,
    _transition_points,
)
