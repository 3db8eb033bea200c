"""What a study has written, opened by name: surveys, tables, networks and images.

>>> import sensigap
>>> results = sensigap.open("results/demo")  # doctest: +SKIP
>>> network = results.network(results.table().index[0])  # doctest: +SKIP
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensigap import survey as stores
from sensigap.cohorts import WEIGHTS
from sensigap.report.tables import table, units
from sensigap.schema import GROUPS

#: of a published folder: checksums as `sha256sum --check` reads them
SUMS = "SHA256SUMS"

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from torch import nn

    from sensigap.datasets.images import Images


class ResultsError(LookupError):
    """A folder holds no results, or not what is asked for."""


class Results:
    """A study's folder under `results/`; files are verified as they are read.

    >>> results = Results("results/demo")  # doctest: +SKIP
    >>> results.table().groupby("optimizer")["gap"].median()  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path) -> None:
        """Looks for the surveys; reads nothing.

        Raises:
            ResultsError: the folder has none.
        """
        self.folder = Path(folder)
        found = sorted((self.folder / "survey").glob("*.zarr"))
        #: data set -> its survey store
        self._stores = {store.stem: store for store in found if not store.stem.startswith(".")}
        if not self._stores:
            raise ResultsError(
                f"{self.folder} holds no results: expected a study's folder with surveys, "
                f"{self.folder / 'survey'}/<data set>.zarr. Name a folder under results/, or run "
                "the workflow first"
            )

    def __repr__(self) -> str:
        return f"<results of {', '.join(self._stores)} in {self.folder}>"

    @property
    def datasets(self) -> list[str]:
        """The data sets, by name."""
        return list(self._stores)

    def survey(self, dataset: str | None = None, group: str | None = None) -> "xr.Dataset":
        """Everything measured of a data set's networks; values load when they are used.

        Args:
            dataset: which; may be left out where there is one.
            group: 'training' (learning curves), 'ellipses', 'slices' or 'custom' (functions of
                one's own); None for the survey itself.

        Returns:
            Variables along `network` and `sample` (test points), with units in their attributes.

        Raises:
            ResultsError: there is no such data set or group.
            DamagedFileError: the store is not as it was written.
        """
        store = self._stores[self._known(dataset)]
        if group is None:
            return stores.read(store, "survey")
        if group not in GROUPS or not stores.has_group(store, group):
            groups = [name for name in GROUPS if stores.has_group(store, name)]
            raise ResultsError(f"{store} has no group {group!r}; it has {', '.join(groups)}")
        return stores.read(store, GROUPS[group], group=group)

    def _known(self, dataset: str | None) -> str:
        if dataset is None and len(self._stores) == 1:
            return next(iter(self._stores))
        if dataset not in self._stores:
            raise ResultsError(
                f"{self.folder} has no data set {dataset!r}; it has {', '.join(self._stores)}: "
                "name one of them"
            )
        return dataset

    def table(self, dataset: str | None = None) -> "pd.DataFrame":
        """A row a network: its hyper-parameters, how it trained and what was measured of it.

        Args:
            dataset: one; None for all.

        Returns:
            Indexed by network id; `dataset` is the first column. `units` has the columns' units.
        """
        names = self.datasets if dataset is None else [self._known(dataset)]
        return table(self._measured(names))

    def units(self) -> "pd.DataFrame":
        """What the columns of `table` are: `description` and `unit`, indexed by column."""
        return units(self._measured(self.datasets))

    def _measured(self, names: Sequence[str]) -> "dict[str, xr.Dataset]":
        """Surveys by data set, with what functions of one's own said of each network."""
        from sensigap.analysis.survey_table import with_custom

        return {name: with_custom(self._stores[name]) for name in names}

    def claims(self) -> "pd.DataFrame":
        """The tests of the claims, a row each (`sensigap.analysis.claims.claims`)."""
        return self._csv("claims")

    def leaderboard(self) -> "pd.DataFrame":
        """The measures beside one another (`sensigap.analysis.leaderboard`)."""
        return self._csv("leaderboard")

    def _csv(self, name: str) -> "pd.DataFrame":
        import pandas as pd

        from sensigap import records

        path = self.folder / f"{name}.csv"
        if not path.exists():
            raise ResultsError(f"{path} is missing: run the workflow to its end")
        records.verify(path.with_name(f"{name}.record.json"), [path])
        return pd.read_csv(path)

    @functools.cached_property
    def _cohorts(self) -> dict[str, str]:
        """Network -> its cohort."""
        found: dict[str, str] = {}
        for dataset in self.datasets:
            survey = self.survey(dataset)
            names, cohorts = survey["network"].to_numpy(), survey["cohort"].to_numpy()
            found |= dict(zip(names.tolist(), cohorts.tolist(), strict=True))
        return found

    @property
    def cohorts(self) -> list[str]:
        """The cohorts that the networks are of, by name."""
        return sorted(set(self._cohorts.values()))

    def weights(self, cohort: str) -> Path:
        """The file with a cohort's weights: in the study's folder if published, else beside it."""
        inside = self.folder / "networks" / cohort / WEIGHTS
        return inside if inside.exists() else self.folder.parent / inside.relative_to(self.folder)

    def network(self, identity: str) -> "nn.Sequential":
        """A trained network, of `nn.Linear` layers and units.

        It takes standardised images, as `inputs` gives them, and returns logits (sample, class).

        Args:
            identity: its id, as in the index of `table`; the beginning will do where no other
                network has it.

        Raises:
            ResultsError: no network, or several, have that id, or the study was published without
                weights.
            DamagedFileError: the weights are missing or damaged.
        """
        from sensigap import weights

        matching = [name for name in self._cohorts if name.startswith(identity)]
        if len(matching) != 1 or not identity:
            raise ResultsError(
                f"{len(matching)} networks of {self.folder} have an id that begins with "
                f"{identity!r}; expected one: take it from table().index"
            )
        (name,) = matching
        file = self.weights(self._cohorts[name])
        if self._published and not file.exists():
            raise self._weights_missing(name, self._cohorts[name])
        for specs, stack in weights.load(file):
            for place, spec in enumerate(specs):
                if spec.id == name:
                    return stack.sequential(place).eval()
        raise ResultsError(f"{file} does not hold network {name}: run the workflow again")

    @property
    def _published(self) -> bool:
        """Whether this is a copy for an archive, which no run makes anything of again."""
        return (self.folder / SUMS).exists()

    def _weights_missing(self, network: str, cohort: str) -> ResultsError:
        inside = self.folder / "networks" / cohort / WEIGHTS
        if inside.relative_to(self.folder).as_posix() in (self.folder / SUMS).read_text("utf-8"):
            return ResultsError(
                f"{inside} is missing, the weights of network {network}: expected them as they "
                "were published; copy the folder again"
            )
        return ResultsError(
            f"{self.folder} was published without weights: expected those of network {network} in "
            f"{inside}. Publish the study with them, by `sensigap publish <study> <new folder> "
            "--weights`, or open its own folder under results/"
        )

    def images(self, dataset: str | None = None) -> "Images":
        """The data set's images and labels, pixels as published.

        Raises:
            ResultsError: there is no such data set, or its images are not beside the study's
                folder: they are not published with it.
            DamagedFileError: the store is not as it was written.
        """
        from sensigap.datasets import store

        dataset = self._known(dataset)
        name = self.survey(dataset).attrs["images"]
        path = self.folder.parent / "datasets" / f"{name}.zarr"
        if not self._published or path.exists():
            return store.load(path)
        raise ResultsError(
            f"{path} is missing, the images of {dataset}: data sets are not published with a "
            f"study. Copy it there from results/datasets where the study was run, or run "
            f"{self.folder / 'configuration.yaml'} to make it, and open the study under results/"
        )

    def inputs(self, dataset: str | None = None) -> Any:
        """The test images as networks take them: a float32 tensor (sample, d), standardised.

        Raises:
            ResultsError, DamagedFileError: as `images`.
        """
        import torch

        from sensigap.datasets.images import standardise

        return torch.from_numpy(standardise(self.images(dataset).test_images))
