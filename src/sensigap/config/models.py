"""The models of a study's configuration: every key, its type, bounds, unit, default and meaning.

Types are strict: no "3" for 3 and no true for 1, but whole numbers pass for floats. Faults between
fields are found in `sensigap.config.checks`, since pydantic skips its own cross-field validators
as soon as one field fails.
"""

import functools
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from sensigap.config.base import Section, key
from sensigap.config.hyperparameters import Axes, Defaults, Row
from sensigap.datasets import own
from sensigap.datasets.known import KNOWN, DatasetFacts
from sensigap.datasets.pictures import Preparation
from sensigap.declarations import MEASURES, Measure
from sensigap.factors import FACTORS
from sensigap.spec import SEED_MAX

# --- data sets ------------------------------------------------------------------------------------


class Dataset(Section):
    """Where a data set's images lie, and how they are used.

    null stands for the data set's own default; the first keys, but for folder and arrays, are for
    images of one's own alone.
    """

    folder: str | None = key(
        "folder of pictures of one's own: train and test with a folder a class in each, or a "
        "folder a class, of which a seeded share tests; ~ and $VARIABLES stand for what they are",
        default=None,
        min_length=1,
    )
    arrays: str | None = key(
        "an .npz file of one's own instead: train_images, train_labels, test_images and "
        "test_labels (or x_train, y_train, x_test, y_test), or images and labels, of which a "
        "seeded share tests; images uint8 (image, row, column[, channel])",
        default=None,
        min_length=1,
    )
    test_share: float | None = key(
        "share of each class that tests, where the files have no split; null: 0.25",
        default=None,
        ge=0.01,
        le=0.99,
    )
    split_seed: int = key(
        "decides which images test, where the files have no split", default=0, ge=0, le=SEED_MAX
    )
    resize: int | None = key(
        "what the shorter side of each picture is scaled to, before it is cropped; null: as it is",
        unit="pixels",
        default=None,
        ge=1,
        le=4_096,
    )
    centre_crop: int | None = key(
        "side of the square that is cut out of the middle of each picture; null: nothing is cut",
        unit="pixels",
        default=None,
        ge=1,
        le=4_096,
    )
    grey: bool = key("whether colours are given up", default=False)
    train_size: int | None = key(
        "training images, a seeded subset; null: the whole training set",
        unit="images",
        default=None,
        ge=1,
        le=100_000_000,
    )
    subset_seed: int = key(
        "decides which training images the subset holds; no meaning for the whole set",
        default=0,
        ge=0,
        le=SEED_MAX,
    )
    max_shift: int | None = key(
        "largest random translation of augmented images, each way, below the image's height and "
        "width; null: an eighth of them, 1 for digits and 4 for the other known ones",
        unit="pixels",
        default=None,
        ge=0,
        le=4_095,
    )
    flip: bool | None = key(
        "whether augmented images are also mirrored left to right at random; null: true for "
        "fashion_mnist, cifar10 and cifar100, false elsewhere",
        default=None,
    )
    shift_mode: Literal["zeros", "wrap"] = key(
        "what enters a translated image: zeros, in raw values, or wrap: what left it on the other "
        "side",
        default="zeros",
    )
    # DEVIATION: STUDY takes the largest share of which 80% of the pilot's networks fit where none
    # is given. The pilot says which that is; the design does not hang on a run's outcome.
    primary_share: float = key(
        "augmentation_share of the factor augmentation, whose row is the claim's; to be fixed "
        "before any test label is read: `make pilot` says the largest that fits (a choice)",
        default=0.1,
        ge=0.001,
        le=1,
    )
    jacobian_points: int | None = key(
        "test points at which Jacobians are measured, in the place of measures.jacobian.points; "
        "null: as there",
        unit="test images",
        default=None,
        ge=2,
        le=100_000_000,
    )
    input_noise: float | None = key(
        "input_noise of the factor noise; null: by the distance between classes, 0.47 for digits, "
        "0.6 for mnist and cifar10, 0.3 for fashion_mnist, 0.52 for cifar100, and of one's own "
        "images the 1% quantile of that distance over sqrt(d)",
        default=None,
        ge=0.001,
        le=100,
    )
    fit_accuracy: float | None = key(
        "accuracy on the whole, unaugmented training set from which a network counts as fitted; "
        "null: 1.0, with 100 classes or more 0.999",
        default=None,
        ge=0.01,
        le=1,
    )


class ResolvedDataset(BaseModel):
    """A data set's settings with every null replaced by the data set's default."""

    model_config = ConfigDict(frozen=True)

    train_size: int
    subset_seed: int
    max_shift: int
    flip: bool
    shift_mode: str
    primary_share: float
    input_noise: float
    fit_accuracy: float


# --- which networks -------------------------------------------------------------------------------

DatasetNames = Annotated[
    list[str] | None,
    Field(
        min_length=1,
        description="data sets covered, each a key of `datasets`; null: all of them",
        json_schema_extra={"uniqueItems": True},
    ),
]


class Grid(Section):
    """Every combination of the axes."""

    search: Literal["grid"] = key("grid: every combination of the axes")
    datasets: DatasetNames = None
    axes: Axes = key("values to combine, by hyper-parameter")


class Random(Section):
    """Random draws; draw i depends on (seed, i) alone. Where seed is no axis, each has its own."""

    search: Literal["random"] = key("random: independent draws of one value from each axis")
    datasets: DatasetNames = None
    draws: int = key(
        "networks drawn for each data set; with seed among the axes at most the number of "
        "combinations; raising it only adds",
        unit="networks",
        ge=1,
        le=1_000_000,
    )
    seed: int = key("seed of the draws", default=0, ge=0, le=SEED_MAX)
    axes: Axes = key("values to draw from, by hyper-parameter")


class Rows(Section):
    """Explicit networks."""

    search: Literal["rows"] = key("rows: the networks that are listed")
    datasets: DatasetNames = None
    rows: list[Row] = key(
        "networks, each by the hyper-parameters in which it departs from `defaults`", min_length=1
    )


Block = Annotated[Grid | Random | Rows, Field(discriminator="search")]


class Factor(Section):
    """Pairs of networks that share every hyper-parameter and the seeds and differ in the factor."""

    datasets: DatasetNames = None
    draws: int | None = key(
        "pairs of each architecture (depth and width), drawn from the combinations of the other "
        "axes, the same in every factor with these axes; raising it only adds; null: every "
        "combination",
        unit="pairs",
        default=None,
        ge=1,
        le=10_000_000,
    )
    axes: Axes = key(
        "every combination is one pair; must not hold the factor's own hyper-parameter"
    )
    by_dataset: dict[str, Axes] = key(
        "axes of single data sets, by name: each replaces the axis of `axes` that it names",
        default={},
    )

    def axes_on(self, dataset: str) -> dict[str, Any]:
        """The axes on a data set, by hyper-parameter."""
        return {**self.axes, **self.by_dataset.get(dataset, {})}


if TYPE_CHECKING:
    Factors = Section
else:
    Factors = create_model(
        "Factors",
        __base__=Section,
        __doc__="The factors whose effect is compared in pairs; null or left out: not compared.",
        **{
            name: (Factor | None, key(record.key, default=None)) for name, record in FACTORS.items()
        },
    )


# --- measures, analysis, execution ----------------------------------------------------------------


def _settings(measure: Measure) -> type[Section]:
    """The section of a measure, from its declaration."""
    fields: dict[str, Any] = {}
    for setting in measure.settings:
        kind = {"rows": list[Row], "functions": dict[str, str]}.get(setting.kind, setting.kind)
        fields[setting.name] = (
            kind | None if setting.by_dataset else kind,
            key(setting.text, unit=setting.unit, default=setting.default, **setting.bounds),
        )
    name = measure.name.capitalize()
    return create_model(name, __base__=Section, __doc__=measure.section, **fields)


#: measure -> its section
SETTINGS = {name: _settings(measure) for name, measure in MEASURES.items()}
_SECTIONS: dict[str, Any] = {
    name: (section, key(MEASURES[name].title, default=section()))
    for name, section in SETTINGS.items()
}
if TYPE_CHECKING:
    Measures = Section
else:
    Measures = create_model(
        "Measures",
        __base__=Section,
        __doc__="What is measured of each fitted network, measure by measure.",
        **_SECTIONS,
    )


class Analysis(Section):
    """Statistics of the claims."""

    bootstrap: int = key(
        "bootstrap resamples behind every interval",
        unit="resamples",
        default=2_000,
        ge=2_000,
        le=1_000_000,
    )
    seed: int = key("seed of the resamples", default=0, ge=0, le=SEED_MAX)
    minimum_networks: int = key(
        "fewest networks or pairs for a test; below it the verdict is 'too few networks'",
        unit="networks",
        default=20,
        ge=4,
        le=1_000_000,
    )
    minimum_architectures: int = key(
        "fewest architectures, the clusters of the errors, for a test; below it the verdict is "
        "'too few networks' (a choice)",
        unit="architectures",
        default=10,
        ge=3,
        le=1_000_000,
    )
    alpha: float = key(
        "level of significance, after Holm's adjustment over a data set's primary rows",
        default=0.05,
        ge=1e-6,
        le=0.5,
    )
    equivalence: float = key(
        "largest absolute rank correlation that counts as no relation (C0, transitions in C2; a "
        "choice)",
        default=0.2,
        ge=0.01,
        le=0.99,
    )
    point_networks: int = key(
        "networks a data set whose single points are analysed (C5), a seeded choice",
        unit="networks",
        default=30,
        ge=2,
        le=1_000,
    )
    halvings: int = key(
        "random halvings of the test points, which all networks share, for their part of the "
        "errors",
        unit="halvings",
        default=200,
        ge=50,
        le=100_000,
    )
    crossfit_splits: int = key(
        "random splits of the test points into one half for sensitivity and one for accuracy (C2, "
        "cross-fitted)",
        unit="splits",
        default=20,
        ge=2,
        le=1_000,
    )


class Execution(Section):
    """How the work is cut into jobs; changes no result and no network's identity."""

    cohort_tflop: float = key(
        "computation of one training job and of measuring its networks, about",
        unit="Tflop",
        default=2.0,
        ge=1e-6,
        le=1_000_000_000,
    )
    checkpoint_seconds: float = key(
        "time between two checkpoints of a training job",
        unit="s",
        default=60.0,
        ge=0.1,
        le=86_400,
    )
    pilot: Literal["warn", "stop", "off"] = key(
        "what is done where the networks trained first foretell that too few will fit: warn and go "
        "on, or stop; off: no network is trained before the others",
        default="warn",
    )
    jobs_per_gpu: int = key(
        "jobs that may share a GPU; with 2 on four GPUs: snakemake --resources gpu=8",
        unit="jobs",
        default=1,
        ge=1,
        le=64,
    )


class Study(Section):
    """A study: which networks, on which data, and what is measured on them."""

    study: str = key(
        "name of the study and of its folder under results/: letters, digits, '.', '_' and '-', "
        "none that is taken there or that Windows keeps for a device",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=64,
    )
    data_root: str | None = key(
        "folder that holds the data sets in torchvision's layout or receives the downloads; ~ and "
        "$VARIABLES stand for what they are; null: $SENSIGAP_DATA, else data/",
        default=None,
        min_length=1,
    )
    datasets: dict[str, Dataset] = key(
        "data sets, by name: the known ones below, and any name with images of one's own; "
        "`digits: {}` takes every default",
        min_length=1,
    )
    defaults: Defaults = key("hyper-parameters that no axis or row names", default=Defaults())
    survey: list[Block] = key(
        "blocks of networks for the survey (C0, C2, C5, C1); a network in several counts once",
        min_length=1,
    )
    factors: Factors = key("pairs of networks that differ in one factor", default=Factors())
    measures: Measures = key("what is measured", default=Measures())
    analysis: Analysis = key("statistics of the claims", default=Analysis())
    execution: Execution = key("how the work is cut into jobs", default=Execution())

    def source(self, name: str) -> own.Source | None:
        """Where a data set's own images lie; None for a published one.

        Raises:
            KeyError: the study does not use that data set.
        """
        return self._sources[name]

    def facts(self, name: str) -> DatasetFacts:
        """What is known of one of the study's data sets; images of one's own are read.

        Raises:
            KeyError: the study does not use that data set.
            DatasetError: its images cannot be taken.
        """
        return self._facts[name]

    # looked up once: a study of 10,000 networks asks for each, and folders are looked at
    @functools.cached_property
    def _sources(self) -> dict[str, own.Source | None]:
        return {
            name: source(name, settings, self.data_root) for name, settings in self.datasets.items()
        }

    @functools.cached_property
    def _facts(self) -> dict[str, DatasetFacts]:
        return {
            name: own.facts(where) if where else KNOWN[name]
            for name, where in self._sources.items()
        }

    def dataset(self, name: str) -> ResolvedDataset:
        """The settings of one of the study's data sets, defaults filled in.

        The whole training set has subset seed 0, whatever was written, since the seed then decides
        nothing.

        Raises:
            KeyError: the study does not use that data set.
        """
        return resolve(self.datasets[name], self.facts(name))

    def settings(self, measure: str, dataset: str) -> dict[str, Any]:
        """The settings of a measure for a data set, with what null stands for filled in.

        Networks that are listed stay rows: the design knows their ids.
        """
        given: dict[str, Any] = getattr(self.measures, measure).model_dump()
        for setting in MEASURES[measure].settings:
            own = getattr(self.datasets[dataset], f"{measure}_{setting.name}", None)
            if own is not None:
                given[setting.name] = own
            if setting.by_dataset and given[setting.name] is None:
                given[setting.name] = getattr(self.facts(dataset), setting.by_dataset)
        return given


def source(name: str, settings: Dataset, data_root: str | None) -> own.Source | None:
    """Where the images of a data set lie, if they are one's own."""
    if settings.folder is None and settings.arrays is None:
        return own.stand_in(name, data_root)
    return own.Source(
        name,
        settings.folder,
        settings.arrays,
        Preparation(settings.resize, settings.centre_crop, settings.grey),
        settings.test_share,
        settings.split_seed,
    )


def resolve(settings: Dataset, facts: DatasetFacts) -> ResolvedDataset:
    """A data set's settings with every null replaced by the data set's default."""

    def chosen(name: str) -> Any:
        value = getattr(settings, name)
        return getattr(facts, name) if value is None else value

    train_size = chosen("train_size")
    return ResolvedDataset(
        train_size=train_size,
        subset_seed=0 if train_size == facts.train_size else settings.subset_seed,
        max_shift=chosen("max_shift"),
        flip=chosen("flip"),
        shift_mode=settings.shift_mode,
        primary_share=float(settings.primary_share),
        input_noise=float(chosen("input_noise")),
        fit_accuracy=chosen("fit_accuracy"),
    )
