"""The design table: the axes become one row a network, with its part in each comparison.

A network that several comparisons ask for stands once. Nothing here knows how networks are trained.
"""

import csv
import dataclasses
import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from sensigap import seeds
from sensigap.config import Block, Factor, Grid, Random, Study
from sensigap.declarations import MEASURES
from sensigap.factors import FACTORS
from sensigap.spec import HYPERPARAMETERS, NetworkSpec

#: ASSUME: calls of torch.optim.LBFGS.step at most (STUDY's choice), at its own default rate
LBFGS_LEARNING_RATE = 1.0
LBFGS_STEPS = 100


#: measure -> who chooses its networks, of those that do not take all
CHOOSING = {name: measure.chosen for name, measure in MEASURES.items() if measure.chosen}


@dataclasses.dataclass
class Member:
    """A network of the study and the comparisons that it belongs to."""

    spec: NetworkSpec
    in_survey: bool = False
    #: measures for which it is chosen, of those that do not take all networks
    chosen: set[str] = dataclasses.field(default_factory=set)
    #: factor -> (pair, side); a pair is named for its network of the presumed better side
    pairs: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

    def membership(self) -> dict[str, Any]:
        """The membership coordinates of the survey (without the cohort)."""
        columns: dict[str, Any] = {"in_survey": self.in_survey} | {
            f"in_{name}": name in self.chosen for name in CHOOSING
        }
        for factor in FACTORS:
            pair, side = self.pairs.get(factor, ("", ""))
            columns[f"pair_{factor}"] = pair
            columns[f"side_{factor}"] = side
        return columns


def design(study: Study) -> dict[str, Member]:
    """The networks of a study by id, in the order in which the configuration names them."""
    members: dict[str, Member] = {}

    def member(spec: NetworkSpec) -> Member:
        return members.setdefault(spec.id, Member(spec))

    for block in study.survey:
        for spec in _block(study, block):
            member(spec).in_survey = True
    survey = list(members)
    for factor, record in FACTORS.items():
        pairs: Factor | None = getattr(study.factors, factor)
        for worse, better in _pairs(study, factor, pairs) if pairs else ():
            for spec, side in zip((worse, better), record.sides, strict=True):
                member(spec).pairs[factor] = (better.id, side.name)
    for measure, dataset in itertools.product(CHOOSING, study.datasets):
        settings = measure_settings(study, measure, dataset)
        for row in _rows(study, measure):
            spec = network(study, dataset, row)
            member(spec).chosen.add(measure)
        for identity in survey:
            if members[identity].spec.dataset == dataset and CHOOSING[measure](identity, settings):
                members[identity].chosen.add(measure)
    return members


def measure_settings(study: Study, measure: str, dataset: str) -> dict[str, Any]:
    """The settings of a measure as it takes them: rows of networks are their ids, sorted."""
    settings = study.settings(measure, dataset)
    for name in _row_settings(measure):
        rows = getattr(getattr(study.measures, measure), name)
        settings[name] = sorted(network(study, dataset, row).id for row in rows)
    return settings


def _row_settings(measure: str) -> list[str]:
    return [setting.name for setting in MEASURES[measure].settings if setting.kind == "rows"]


def _rows(study: Study, measure: str) -> Iterator[Mapping[str, Any]]:
    """The networks that a measure's settings list."""
    for name in _row_settings(measure):
        yield from getattr(getattr(study.measures, measure), name)


def network(study: Study, dataset: str, values: Mapping[str, Any]) -> NetworkSpec:
    """The spec of one network: `values` over the study's defaults, on a data set.

    Fields that its optimizer or stop rule does not use get one fixed value, so that networks with
    equal weights have equal ids.
    """
    chosen: dict[str, Any] = {**study.defaults.model_dump(), **values}
    settings = study.dataset(dataset)
    augmented = chosen.pop("augmentation")
    if chosen["optimizer"] == "lbfgs":
        # always the full batch, torch's default learning rate, STUDY's number of steps
        chosen |= {
            "learning_rate": LBFGS_LEARNING_RATE,
            "batch_size": settings.train_size,
            "steps": LBFGS_STEPS,
        }
    if chosen["stop"] != "loss":
        chosen["target_loss"] = 0.0
    if not augmented:
        chosen["augmentation_share"] = 1.0
    for key, value in chosen.items():
        # a configuration may write 1 for 1.0
        chosen[key] = HYPERPARAMETERS[key][0](value)
    return NetworkSpec(
        dataset=dataset,
        content=study.facts(dataset).content,
        train_size=settings.train_size,
        subset_seed=settings.subset_seed,
        max_shift=settings.max_shift if augmented else 0,
        flip=settings.flip and augmented,
        shift_mode=settings.shift_mode if augmented and settings.max_shift else "zeros",
        fit_accuracy=float(settings.fit_accuracy),
        **chosen,
    )


def _block(study: Study, block: Block) -> Iterator[NetworkSpec]:
    """The networks of one block of the survey, data set by data set."""
    combinations = list(_combinations(block))
    for dataset in block.datasets or study.datasets:
        for values in combinations:
            yield network(study, dataset, values)


def _combinations(block: Block) -> Iterator[Mapping[str, Any]]:
    if isinstance(block, Grid):
        yield from _grid(block.axes)
    elif isinstance(block, Random):
        for i in range(block.draws):
            yield _draw(block.axes, block.seed, i)
    else:
        yield from block.rows


def _grid(axes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _draw(axes: Mapping[str, Any], seed: int, i: int) -> dict[str, Any]:
    """Draw i of a random search; it depends on (seed, i) and the axes alone (STUDY, 'Comparisons').

    Every value of an axis has a random weight in draw i, and the heaviest one is drawn: an n-th
    value added to an axis changes about one draw in n, and leaves the others as they are.

    ASSUME: where `seed` is not an axis, every draw gets a network seed of its own.
    """
    values: dict[str, Any] = {"seed": int(seeds.share(seed, "random search: seed", str(i)) * 2**31)}
    for name, choices in axes.items():
        purpose = f"random search: {name}"
        weights = [seeds.share(seed, purpose, f"{i}/{_plain(value)}") for value in choices]
        values[name] = choices[weights.index(max(weights))]
    return values


def _plain(value: Any) -> str:
    """A value as text, the same for 1 and 1.0."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _pairs(study: Study, factor: str, block: Factor) -> Iterator[tuple[NetworkSpec, NetworkSpec]]:
    """Pairs (presumed worse, presumed better) that differ in one factor."""
    record = FACTORS[factor]
    for dataset in block.datasets or study.datasets:
        worse, better = (side.made(study.dataset(dataset)) for side in record.sides)
        for axes in _bases(block.axes_on(dataset), block.draws):
            values = {**record.usual, **axes}
            yield (
                network(study, dataset, {**values, **worse}),
                network(study, dataset, {**values, **better}),
            )


def _bases(axes: Mapping[str, Any], draws: int | None) -> list[dict[str, Any]]:
    """What the pairs of a factor share: all combinations, or `draws` of each architecture.

    The combinations of an architecture have an order that depends on their values alone.
    """
    combinations = list(_grid(axes))
    if draws is None:
        return combinations
    drawn: dict[tuple[Any, ...], list[tuple[float, int]]] = {}
    for i, values in enumerate(combinations):
        name = "/".join(f"{key} {_plain(values[key])}" for key in sorted(values))
        place = seeds.share(0, "pairs of an architecture", name), i
        drawn.setdefault((values.get("depth"), values.get("width")), []).append(place)
    kept = sorted(i for places in drawn.values() for _, i in sorted(places)[:draws])
    return [combinations[i] for i in kept]


def table(members: Mapping[str, Member]) -> str:
    """The design as CSV, one row a network: hyper-parameters and part in each comparison."""
    fields = [field.name for field in dataclasses.fields(NetworkSpec)]
    columns = ["network", *fields, *Member.membership(next(iter(members.values())))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for identity, entry in members.items():
        values = {name: getattr(entry.spec, name) for name in fields}
        writer.writerow({"network": identity, **values, **entry.membership()})
    return text.getvalue()
