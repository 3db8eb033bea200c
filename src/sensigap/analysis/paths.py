"""C1: trained networks on ellipses through the training data, near it and away from it."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from sensigap.analysis.bootstrap import DoesNotApply, cluster_variance, resample_counts
from sensigap.analysis.errors import Estimate, Halvings, halving_variance, mean_of_halves
from sensigap.analysis.survey_table import LeftOut, fitted_true, networks_table
from sensigap.analysis.verdicts import (
    Finding,
    Question,
    Row,
    Settings,
    answer,
    draws,
    one,
    union,
)
from sensigap.kinds import ELLIPSE_KINDS, STATES
from sensigap.needs import ELLIPSE_NETWORKS

ANCHORS = np.pi * np.array([1, 3, 5]) / 3
MIDPOINTS = np.pi * np.array([0, 2, 4]) / 3
#: half-width of the windows around anchors and midpoints
WINDOW = np.pi / 12
DATA_KINDS = tuple(kind for kind in ELLIPSE_KINDS if kind != "random")
MEASURES = {"jacobian_norm": "Jacobian norm", "transitions": "transition density"}
#: how measures and kinds of ellipses stand in the rows' keys
_SHORT = {
    "jacobian_norm": "norm",
    "transitions": "transitions",
    "different classes": "different",
    "one class": "one",
}
_REASONS = {"jacobian_norm": "with J = 0", "transitions": "without transitions"}
_TEST = "mean over networks; error over architectures and ellipse triples"


def near(angle: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Whether each angle (radian) lies within `WINDOW` of one of the targets, around the circle."""
    apart = np.abs((angle[:, None] - targets[None] + np.pi) % (2 * np.pi) - np.pi)
    return (apart <= WINDOW + 1e-9).any(axis=1)


@dataclasses.dataclass(frozen=True)
class Term:
    """ln of a mean on ellipses, with the sign with which it enters a log-ratio."""

    sign: int
    measure: str
    kind: str
    #: 'anchors', 'between' or 'whole'
    window: str
    state: str


class Ellipses:
    """Log-ratios of networks on ellipses, over all triples and over halves of them."""

    def __init__(self, ellipses: xr.Dataset, dataset: str, settings: Settings) -> None:
        """Halves each kind's ellipses by draws of its own.

        Args:
            ellipses: group 'ellipses' of a survey, of the networks that are analysed.
            dataset: its data set.
            settings: of the analysis.
        """
        self.ellipses = ellipses.transpose(..., "network", "state", "kind", "ellipse", "angle")
        self.triples = ellipses.sizes["ellipse"]
        angle = ellipses["angle"].to_numpy().astype(float)
        middles = angle + np.diff(np.r_[angle, angle[0] + 2 * np.pi]) / 2
        self._windows = {
            measure: {
                "anchors": near(at, ANCHORS),
                "between": near(at, MIDPOINTS),
                "whole": np.ones(len(angle), bool),
            }
            for measure, at in (("jacobian_norm", angle), ("transitions", middles))
        }
        self._halvings = {
            kind: Halvings(
                draws(settings, dataset, f"halvings of ellipses, {kind}"),
                settings.halvings,
                self.triples,
            )
            for kind in ELLIPSE_KINDS
        }

    def log_means(self, term: Term, *, per_radian: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Ln of a term's mean, (network,) and over halves of the triples (network, 2 halvings).

        The Jacobian norm is averaged over ellipses and angles without those where it is 0; the
        transition density is
        transitions over arc length (standardised inputs), of the arcs whose middle lies in the
        window; NaN where it is 0.

        Args:
            term: which.
            per_radian: transitions over angle in place of arc length.
        """
        window = self._windows[term.measure][term.window]
        chosen = self.ellipses.sel(kind=term.kind)
        at = chosen[term.measure].sel(state=term.state).to_numpy()[..., window]
        values = at.sum(axis=-1)
        sizes = np.full(values.shape, float(window.sum()))
        if term.measure == "jacobian_norm":
            sizes = (at > 0).sum(axis=-1).astype(float)
        elif not per_radian:
            sizes = chosen["arc_length"].to_numpy()[..., window].sum(axis=-1)
        halving = self._halvings[term.kind]
        return (
            _ln_of_ratio(values.sum(axis=1), sizes.sum(axis=1)),
            _ln_of_ratio(halving.sums(values.astype(float)), halving.sums(sizes)),
        )

    def effect(
        self, terms: tuple[Term, ...], *, per_radian: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sum of terms with their signs, as `log_means`."""
        both = [(term.sign, self.log_means(term, per_radian=per_radian)) for term in terms]
        return (
            np.sum([sign * whole for sign, (whole, _) in both], axis=0),
            np.sum([sign * halves for sign, (_, halves) in both], axis=0),
        )


def _ln_of_ratio(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Ln of values / sizes where both are positive, else NaN."""
    found = np.full(values.shape, np.nan)
    positive = (values > 0) & (sizes > 0)
    found[positive] = np.log(values[positive] / sizes[positive])
    return found


def ratio(measure: str, kind: str, comparison: str, state: str, sign: int = 1) -> tuple[Term, ...]:
    """Terms of a log-ratio of one state.

    Args:
        measure: a key of `MEASURES`.
        kind: one of `DATA_KINDS`.
        comparison: 'near' (anchors / between), 'data' (this kind / random, whole), 'random'
            (random, whole / between).
        state: 'initial' or 'trained'.
        sign: -1 for the reciprocal.
    """
    above, below = {
        "near": ((kind, "anchors"), (kind, "between")),
        "data": ((kind, "whole"), ("random", "whole")),
        "random": (("random", "whole"), (kind, "between")),
    }[comparison]
    return Term(sign, measure, *above, state), Term(-sign, measure, *below, state)


def path_rows(
    survey: xr.Dataset, ellipses: xr.Dataset | None, dataset: str, settings: Settings
) -> list[Row]:
    """C1 (STATISTICS, section 6), with the same networks before training as controls.

    Args:
        survey: a survey.
        ellipses: its group 'ellipses', None where it has none.
        dataset: its name.
        settings: of the tests.
    """
    return _PathRows(survey, ellipses, dataset, settings).rows()


class _PathRows:
    """The rows of one data set."""

    def __init__(
        self, survey: xr.Dataset, ellipses: xr.Dataset | None, dataset: str, settings: Settings
    ) -> None:
        self.dataset, self.settings = dataset, settings
        names, self.left_out = ellipse_networks(survey, ellipses)
        table = networks_table(survey).loc[names]
        self.architecture = pd.factorize(table["architecture"], sort=True)[0]
        self.chosen: xr.Dataset | None = None
        self.paths: Ellipses | None = None
        if ellipses is not None and names:
            self.chosen = ellipses.sel(network=names).load()
            if self.chosen.sizes["ellipse"] > 1:
                self.paths = Ellipses(self.chosen, dataset, settings)

    def rows(self) -> list[Row]:
        """Primary rows, then what they are made of, then the rest."""
        rows = [self._order(kind) for kind in DATA_KINDS]
        rows.append(self._change("C1.transitions", DATA_KINDS[0], "near", primary=True))
        for measure in MEASURES:
            for kind in DATA_KINDS:
                for comparison in ("near", "data"):
                    family = f"C1.{_SHORT[measure]}.{_SHORT[kind]}.{comparison}"
                    rows += [
                        self._state(family, measure, kind, comparison, state)
                        for state in ("trained", "initial")
                    ]
                    if measure == "transitions" and (kind, comparison) != (DATA_KINDS[0], "near"):
                        rows.append(self._change(f"{family}.change", kind, comparison))
        return rows

    def _order(self, kind: str) -> Row:
        """Data < between < random."""
        question = Question(
            key=f"C1.order.{_SHORT[kind]}",
            claim="C1",
            dataset=self.dataset,
            quantity=f"Jacobian norm near the data < between < random, ellipses of {kind}",
            test=f"{_TEST}; both above 0 (intersection-union)",
            effect="mean ln ratio, of the two the one with the larger p",
            claimed=1,
            primary=True,
        )
        parts = {
            state: {
                "ln between / data": ratio("jacobian_norm", kind, "near", state, -1),
                "ln random / between": ratio("jacobian_norm", kind, "random", state),
            }
            for state in STATES
        }
        kept, reasons = self._kept(
            "jacobian_norm", [terms for of_state in parts.values() for terms in of_state.values()]
        )

        def compute() -> Finding:
            found = union(
                question,
                {
                    words: self._estimate(question, terms, kept, words)
                    for words, terms in parts["trained"].items()
                },
                self.settings,
            )
            before = ", ".join(
                f"{words} {self._values(terms)[kept].mean():.3g}"
                for words, terms in parts["initial"].items()
            )
            return found.noted(f"untrained: {before}")

        zeros = self._zeros(kept, "trained", "jacobian_norm", kind, "order")
        return self._answer(question, kept, f"{reasons}{zeros}", compute)

    def _state(self, family: str, measure: str, kind: str, comparison: str, state: str) -> Row:
        """A log-ratio of one state; that of untrained networks is a control."""
        control = state == "initial"
        question = Question(
            key=family + (".untrained" if control else ""),
            claim="C1",
            dataset=self.dataset,
            quantity=f"{MEASURES[measure]}, {_text(kind, comparison)}"
            + (", untrained" if control else ""),
            test=_TEST,
            effect="mean ln ratio",
            claimed=None if control else -1,
            control=control,
        )
        terms = {of: ratio(measure, kind, comparison, of) for of in STATES}
        # the control is of the same networks: those that have both values
        kept, reasons = self._kept(measure, list(terms.values()))

        def compute() -> Finding:
            found = one(question, self._estimate(question, terms[state], kept), self.settings)
            return found.noted(
                self._per_radian(terms[state], kept),
                "control: the same networks before training" if control else "",
            )

        zeros = self._zeros(kept, state, measure, kind, comparison)
        return self._answer(question, kept, f"{reasons}{zeros}", compute)

    def _change(self, key: str, kind: str, comparison: str, *, primary: bool = False) -> Row:
        """A log-ratio of transition densities, trained minus untrained of the same network."""
        question = Question(
            key=key,
            claim="C1",
            dataset=self.dataset,
            quantity=f"transition density, {_text(kind, comparison)}, trained minus untrained",
            test=_TEST,
            effect="mean difference of ln ratios",
            claimed=-1,
            primary=primary,
        )
        terms = (
            *ratio("transitions", kind, comparison, "trained"),
            *ratio("transitions", kind, comparison, "initial", -1),
        )
        kept, reasons = self._kept("transitions", [terms])

        def compute() -> Finding:
            found = one(question, self._estimate(question, terms, kept), self.settings)
            return found.noted(self._per_radian(terms, kept))

        return self._answer(question, kept, str(reasons), compute)

    def _values(self, terms: tuple[Term, ...]) -> np.ndarray:
        """An effect of each network (network,)."""
        if self.paths is None:
            return np.full(len(self.architecture), np.nan)
        return self.paths.effect(terms)[0]

    def _kept(self, measure: str, effects: list[tuple[Term, ...]]) -> tuple[np.ndarray, LeftOut]:
        """The networks that have all effects (network,) bool, and what was left out."""
        kept = np.ones(len(self.architecture), bool)
        if self.paths is not None:
            for terms in effects:
                kept &= np.isfinite(self._values(terms))
        reasons = self.left_out.copy()
        reasons.add(f"{_REASONS[measure]} on a side, trained or not", int((~kept).sum()))
        return kept, reasons

    def _estimate(
        self, question: Question, terms: tuple[Term, ...], kept: np.ndarray, what: str = ""
    ) -> Estimate:
        """Mean over networks, its error from architectures and from halves of the triples.

        ASSUME: both parts are added, as for test points (STATISTICS, section 6). Every network has
        triples of its own, so that its architectures' part holds their noise already: the errors
        are up to a third too wide.
        """
        if self.paths is None:
            raise DoesNotApply("fewer than two ellipses of a kind")
        values, halves = (part[kept] for part in self.paths.effect(terms))
        codes = np.unique(self.architecture[kept], return_inverse=True)[1]
        levels = int(codes.max()) + 1
        rng = question.draws(self.settings, what=what)
        counts = resample_counts(rng, levels, self.settings.bootstrap).astype(float)
        resampled = (np.bincount(codes, values) @ counts) / (np.bincount(codes) @ counts)
        return Estimate(
            float(values.mean()),
            cluster_variance(resampled, levels),
            levels,
            halving_variance(mean_of_halves(halves)),
            self.paths.triples,
        )

    def _per_radian(self, terms: tuple[Term, ...], kept: np.ndarray) -> str:
        """The same of transitions over angle, in words."""
        if self.paths is None or terms[0].measure != "transitions":
            return ""
        values = self.paths.effect(terms, per_radian=True)[0][kept]
        return f"per radian: {values.mean():.3g}"

    def _zeros(self, kept: np.ndarray, state: str, measure: str, kind: str, comparison: str) -> str:
        """What a row of Jacobian norms says of zeros, of all norms that enter its log-ratios."""
        if self.chosen is None or measure != "jacobian_norm":
            return ""
        norm = self.chosen.isel(network=np.flatnonzero(kept))["jacobian_norm"].sel(state=state)
        left_out = "left out of the means"
        if comparison == "data":
            return f"; {zero_norms(norm.sel(kind=[kind, 'random']).to_numpy())}, {left_out}"
        angle = self.chosen["angle"].to_numpy().astype(float)
        windows = np.flatnonzero(near(angle, np.r_[ANCHORS, MIDPOINTS]))
        used = norm.sel(kind=kind).isel(angle=windows).to_numpy().ravel()
        if comparison == "order":
            used = np.r_[used, norm.sel(kind="random").to_numpy().ravel()]
        return f"; {zero_norms(used)}, {left_out}"

    def _answer(
        self,
        question: Question,
        kept: np.ndarray,
        left_out: str,
        compute: Callable[[], Finding],
    ) -> Row:
        return answer(
            question,
            int(kept.sum()),
            left_out,
            self.settings,
            compute,
            architectures=len(np.unique(self.architecture[kept])),
            minimum=max(self.settings.minimum_networks, ELLIPSE_NETWORKS),
        )


def _text(kind: str, comparison: str) -> str:
    if comparison == "near":
        return f"at the anchors / between them, ellipses of {kind}"
    return f"ellipses of {kind} / random ones"


def ellipse_networks(survey: xr.Dataset, ellipses: xr.Dataset | None) -> tuple[list[str], LeftOut]:
    """The fitted networks with true labels and measured ellipses: C1 and its figure are of them.

    Returns:
        Their ids, in the order of `ellipses`, and what was left out of the networks chosen for
        ellipses.
    """
    table = networks_table(survey)
    table = table[table["in_ellipses"].astype(bool)]
    left_out = LeftOut(len(table), "networks chosen for ellipses")
    table = fitted_true(table, left_out)
    measured = [] if ellipses is None else ellipses["network"].to_numpy().tolist()
    names = [name for name in measured if name in table.index]
    left_out.add("fitted but not measured", len(table) - len(names))
    return names, left_out


def zero_norms(norm: np.ndarray) -> str:
    """How many of the norms are exactly 0, in words."""
    return f"{int((norm == 0).sum()):,} of {norm.size:,} angles with J = 0"
