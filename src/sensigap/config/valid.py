"""The valid part of a configuration, which the checks between keys read.

It is the plain mapping in which `FAULTY` stands for every faulty value, so that the checks also
speak when other keys are wrong, and are silent about those.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sensigap.config.faults import Fault, Path
from sensigap.config.hyperparameters import Defaults
from sensigap.config.models import Dataset, resolve, source
from sensigap.datasets import own
from sensigap.datasets.known import KNOWN, DatasetFacts
from sensigap.datasets.places import DatasetError
from sensigap.factors import FACTORS, Factor, OfDataset

#: stands in for a value in which a fault has been found already
FAULTY = object()

#: hyper-parameter -> (path, value) of each of its values
Located = dict[str, list[tuple[Path, Any]]]


@dataclasses.dataclass(frozen=True)
class Group:
    """Networks that the configuration asks for in one place: a block, a row, a factor, a slice.

    Attributes:
        datasets: names of the data sets covered, as far as they are valid.
        values: the valid values of every hyper-parameter, defaults and a factor's sides included.
        given: the hyper-parameters that the place names itself.
        factor: the factor, None for the others.
    """

    datasets: tuple[str, ...]
    values: Located
    given: frozenset[str]
    factor: Factor | None = None


class Valid:
    """A configuration with `FAULTY` for every value at fault, unknown keys included.

    Args:
        mapping: the configuration, plain dicts and lists; it is copied.
        faults: the faults that have been found in it.
    """

    def __init__(self, mapping: Mapping[str, Any], faults: Iterable[Fault]) -> None:
        self.mapping: dict[str, Any] = _copied(mapping)
        for fault in faults:
            *parents, last = fault.path
            place: Any = self.mapping
            for step in parents:
                place = place[step]
                if place is FAULTY:
                    break
            if place is not FAULTY:
                place[last] = FAULTY

    def section(self, *path: str) -> dict[str, Any]:
        """The mapping at a path; empty where there is none or it is faulty."""
        section: Any = self.mapping
        for step in path:
            section = as_mapping(section).get(step)
        return as_mapping(section)

    @property
    def facts(self) -> dict[str, DatasetFacts]:
        """What is known of the data sets that the study lists, of those whose images are sound."""
        return self._looked_up[0]

    @property
    def refused(self) -> dict[str, DatasetError]:
        """Data set -> why its own images cannot be taken."""
        return self._looked_up[1]

    @functools.cached_property
    def _looked_up(self) -> tuple[dict[str, DatasetFacts], dict[str, DatasetError]]:
        found, refused = {}, {}
        for name in self.section("datasets"):
            settings = self._settings(name)
            where = settings and source(name, settings, self._data_root)
            if where:
                try:
                    found[name] = own.facts(where)
                except DatasetError as error:
                    refused[name] = error
            elif name in KNOWN:
                found[name] = KNOWN[name]
        return found, refused

    @property
    def _data_root(self) -> str | None:
        root = self.mapping.get("data_root")
        return root if isinstance(root, str) else None

    @property
    def listed(self) -> tuple[str, ...]:
        """Data sets that the study lists and that are known, or can be read."""
        return tuple(self.facts)

    def _settings(self, name: str) -> Dataset | None:
        """The sound settings of a data set; None where what decides its images is not sound."""
        settings = self.section("datasets")[name]
        if settings is FAULTY:
            return None
        sound = {key: value for key, value in settings.items() if value is not FAULTY}
        if ({*settings} - {*sound}) & {*own.KEYS}:
            return None
        return Dataset.model_construct(**sound)

    def dataset(self, name: str, key: str) -> Any:
        """A setting of a listed data set, default filled in; None where it is faulty."""
        settings = self._settings(name)
        if settings is None or self.section("datasets")[name].get(key) is FAULTY:
            return None
        return getattr(resolve(settings, self.facts[name]), key)

    def blocks(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The survey's blocks and the factors, with their paths."""
        for i, block in enumerate(as_list(self.mapping.get("survey"))):
            if isinstance(block, dict):
                yield ("survey", i), block
        for name, factor in self.section("factors").items():
            if isinstance(factor, dict):
                yield ("factors", name), factor

    @functools.cached_property
    def groups(self) -> list[Group]:
        """All networks that are asked for, grouped by place."""
        groups = []
        for path, block in self.blocks():
            if block.get("search") == "rows":
                for j, row in enumerate(as_list(block.get("rows"))):
                    groups.append(self._group(block, _row((*path, "rows", j), row)))
            elif path[0] == "factors":
                groups += self._pairs(path, block)
            else:
                groups.append(self._group(block, _located((*path, "axes"), block.get("axes"))))
        for j, row in enumerate(as_list(self.section("measures", "slices").get("networks"))):
            groups.append(self._group({}, _row(("measures", "slices", "networks", j), row)))
        return groups

    def _pairs(self, path: Path, block: Mapping[str, Any]) -> Iterator[Group]:
        """The pairs of a factor: those of its axes, and those of data sets with their own."""
        factor, axes = FACTORS[str(path[1])], _located((*path, "axes"), block.get("axes"))
        single = as_mapping(block.get("by_dataset"))
        usual = self._group(block, axes, factor, path)
        others = tuple(name for name in usual.datasets if name not in single)
        if others or not single:
            yield dataclasses.replace(usual, datasets=others)
        for name, values in single.items():
            if name in usual.datasets:
                replaced = _located((*path, "by_dataset", name), values)
                yield self._group({"datasets": [name]}, {**axes, **replaced}, factor, path)

    def _group(
        self,
        block: Mapping[str, Any],
        given: Located,
        factor: Factor | None = None,
        path: Path = (),
    ) -> Group:
        named = block.get("datasets")
        listed = () if named is FAULTY else self.listed
        covered = tuple(name for name in listed if named is None or name in named)
        values = {**self._defaults, **given}
        if factor:
            for name, value in factor.usual.items():
                values[name] = given.get(name, [(path, value)])
            for name in factor.own:
                made = (side.hyperparameters[name] for side in factor.sides)
                values[name] = [(path, v) for value in made for v in self._on(covered, value)]
        return Group(covered, values, frozenset(given), factor)

    def _on(self, datasets: Iterable[str], value: Any) -> list[Any]:
        """A side's value, or its sound values on these data sets where they decide it."""
        if not isinstance(value, OfDataset):
            return [value]
        settings = (self.dataset(name, value.setting) for name in datasets)
        return [value.value(setting) for setting in settings if setting is not None]

    @functools.cached_property
    def _defaults(self) -> Located:
        found = {**Defaults().model_dump(), **self.section("defaults")}
        if self.mapping.get("defaults") is FAULTY:
            found = dict.fromkeys(found, FAULTY)
        return {name: _sound([(("defaults", name), value)]) for name, value in found.items()}


def as_mapping(value: Any) -> dict[str, Any]:
    """The value, or an empty dict if it is none."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value, or an empty list if it is none."""
    return value if isinstance(value, list) else []


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _sound(values: Iterable[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    return [(path, value) for path, value in values if value is not FAULTY]


def _located(path: Path, axes: Any) -> Located:
    """The values of axes that lie at a path."""
    return {
        name: _sound(((*path, name, k), value) for k, value in enumerate(as_list(values)))
        for name, values in as_mapping(axes).items()
    }


def _row(path: Path, row: Any) -> Located:
    return {name: _sound([((*path, name), value)]) for name, value in as_mapping(row).items()}
