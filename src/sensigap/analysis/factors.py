"""C3, C4 and what else compares pairs of networks that differ in one factor (STATISTICS, 6)."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from sensigap.analysis.groups import Axis, interaction, mixed
from sensigap.analysis.pair_effects import PairEffect
from sensigap.analysis.relation_rows import SPEARMAN, interaction_question, relation_row
from sensigap.analysis.relations import Relation
from sensigap.analysis.shared_points import SharedPoints, unbroken
from sensigap.analysis.survey_table import (
    LeftOut,
    architecture_names,
    networks_table,
)
from sensigap.analysis.verdicts import Finding, Question, Row, answer, one, union
from sensigap.factors import FACTORS, Factor
from sensigap.needs import ARCHITECTURE, PAIR_ARCHITECTURE

#: what of each network a pair compares
_COLUMNS = {
    "gap": "gap",
    "sensitivity": "sensitivity",
    "sensitivity_log10": "sensitivity_log10",
    "transitions": "mean_transitions",
    "test_accuracy": "test_accuracy",
    "network": "network",
    "steps_done": "steps_done",
    "train_loss": "train_loss",
}
#: hyper-parameters that make the sides of pairs on augmentation
AUGMENTATION = ("augmentation", "augmentation_share")
#: by which the rows of pairs may be mixed, and are shown
AXES = ("gain", "depth")
_TEST = "Student's t of architecture means, with test points in the error"
_REASONS = {
    "gap": "without a gap",
    "norm": "with J = 0 at every test point of a side",
    "transitions": "without measured transitions",
}


def pairs(survey: xr.Dataset, factor: str) -> tuple[pd.DataFrame, LeftOut]:
    """The pairs of a factor of which both sides are fitted, and reached the loss they stop at.

    Args:
        survey: a survey.
        factor: a key of `sensigap.factors.FACTORS`.

    Returns:
        One row a pair, indexed by the pair's name, with `worse_*` and `better_*` of network, gap,
        sensitivity, sensitivity_log10 (NaN where J = 0 at every test point), transitions (mean over
        the network's own test points), test_accuracy, steps_done and train_loss, and
        the hyper-parameters depth, width, unit, gain and seed of the presumed better side; and what
        was left out.

    Raises:
        KeyError: there is no such factor.
        ValueError: a pair holds other sides than its two.
    """
    table = networks_table(survey).reset_index()
    table = table[table[f"pair_{factor}"] != ""]
    worse, better = (side.name for side in FACTORS[factor].sides)
    side = f"side_{factor}"
    counts = table.groupby(f"pair_{factor}")[side].agg(sorted)
    for pair, sides in counts.items():
        if sides != sorted((worse, better)):
            raise ValueError(
                f"pair {pair!r} of factor {factor!r} holds the sides {', '.join(sides)}, expected "
                f"{worse} and {better}: the survey was put together wrongly, remove it and rerun"
            )
    left_out = LeftOut(len(counts), "pairs")
    table = table.set_index(f"pair_{factor}").sort_index()
    by_side = {name: table[table[side] == name] for name in (worse, better)}
    fitted = {name: rows["status"] == "fitted" for name, rows in by_side.items()}
    left_out.add("with neither side fitted", int((~fitted[worse] & ~fitted[better]).sum()))
    left_out.add(f"with '{worse}' not fitted", int((~fitted[worse] & fitted[better]).sum()))
    left_out.add(f"with '{better}' not fitted", int((fitted[worse] & ~fitted[better]).sum()))
    both = fitted[worse] & fitted[better]
    short = both & (_short(by_side[worse]) | _short(by_side[better]))
    left_out.add("with a side that ended above its target loss", int(short.sum()))
    both &= ~short
    result = by_side[better].loc[both, [*ARCHITECTURE, "gain", "seed"]].copy()
    for prefix, name in (("worse", worse), ("better", better)):
        for column, source in _COLUMNS.items():
            result[f"{prefix}_{column}"] = by_side[name].loc[both, source]
    result.index.name = "pair"
    return result, left_out


def _short(sides: pd.DataFrame) -> pd.Series:
    """Whether a side was to stop at a training loss and ended its steps above it (pair,)."""
    return (sides["stop"] == "loss") & (sides["train_loss"] > sides["target_loss"])


def factor_rows(points: SharedPoints) -> list[Row]:
    """Gap, Jacobian norm and transitions of one side of each pair against the other.

    Primary rows are there whether the study has pairs or not, others only where it has.

    Args:
        points: of a survey.
    """
    of = {name: _FactorRows(factor, points) for name, factor in FACTORS.items()}
    shares = [rows for rows in of.values() if rows.factor.own == AUGMENTATION]
    rows = []
    for name in sorted(of, key=lambda name: of[name].factor.claim):
        if not of[name].factor.primary and not of[name].left_out.total:
            continue  # beside a claim's row, and not in the study
        rows += of[name].rows(_shares_remark(shares) if of[name] in shares else "")
    noise = [of[name] for name, factor in FACTORS.items() if factor.own == ("input_noise",)]
    rows.append(_doses_row(noise, points))
    return rows


def _shares_remark(shares: "list[_FactorRows]") -> str:
    """Test accuracy and ln ratio of the norm of all shares of augmentation, on common pairs."""
    tables = {
        rows.factor.title: rows.table.set_index("worse_network")
        for rows in shares
        if not rows.table.empty
    }
    if len(tables) < 2:
        return ""
    common = functools.reduce(pd.Index.intersection, (table.index for table in tables.values()))
    if common.empty:
        return "no pair is fitted at all shares"
    told = []
    for title, table in tables.items():
        chosen = table.loc[common]
        ratio = np.log(10) * (
            chosen["worse_sensitivity_log10"] - chosen["better_sensitivity_log10"]
        )
        told.append(
            f"{title}: test accuracy {chosen['better_test_accuracy'].mean():.3f}, ln ratio of the "
            f"norm {ratio.mean():.3g}"
        )
    without = next(iter(tables.values())).loc[common, "worse_test_accuracy"].mean()
    return (
        f"means over the {len(common)} pairs fitted at all shares: {', '.join(told)}; none: test "
        f"accuracy {without:.3f}"
    )


def _doses_row(doses: "list[_FactorRows]", points: SharedPoints) -> Row:
    """Whether noise that lowers the norm more lowers the gap more, pair by pair."""
    question = Question(
        key="C6.doses",
        claim="C6",
        dataset=points.dataset,
        quantity="difference of the gap and ln ratio of the norm, over pairs of all doses of noise",
        test=SPEARMAN,
        effect="Spearman's rho",
        claimed=1,
    )
    tables = []
    effects: dict[str, list[PairEffect]] = {"gap": [], "norm": []}
    left_out = LeftOut(0, "pairs")
    for dose in doses:
        defined, reasons = dose.defined(("gap", "norm"))
        left_out.total += reasons.total
        for reason, count in reasons.reasons.items():
            left_out.add(reason, count)
        tables.append(dose.table[defined])
        for what, parts in effects.items():
            parts.append(dose.effects[what].some(defined))
    table = pd.concat(tables)
    table["architecture"] = architecture_names(table, PAIR_ARCHITECTURE)
    gap, norm = (
        (
            np.concatenate([part.differences for part in effects[what]]),
            np.concatenate([part.halves for part in effects[what]]),
        )
        for what in ("gap", "norm")
    )
    relation = Relation(
        table=table,
        x=norm,
        y=(unbroken(gap[0]), unbroken(gap[1])),
        points=points.count,
        words=("ln ratio of the norm", "difference of the gap"),
    )
    return relation_row(question, lambda: relation, table, left_out, points.settings)


def moves_gap_by_construction(factor: Factor) -> bool:
    """Whether the factor is the training labels: random ones cannot be generalized at all."""
    return factor.own == ("labels",)


class _FactorRows:
    """The rows of one factor."""

    def __init__(self, factor: Factor, points: SharedPoints) -> None:
        self.dataset, self.settings = points.dataset, points.settings
        self.factor = factor
        self.table, self.left_out = pairs(points.survey, factor.name)
        self.worse, self.better = (side.name for side in factor.sides)
        self.family = f"{factor.claim}.{factor.name}"
        self.effects = self._effects(points)

    def _effects(self, points: SharedPoints) -> dict[str, PairEffect]:
        """What is compared -> its differences, NaN where a pair has none."""
        table = self.table
        worse, better = (table[f"{side}_network"].tolist() for side in ("worse", "better"))
        codes = table.groupby(list(PAIR_ARCHITECTURE)).ngroup().to_numpy()
        nothing = np.empty((0, 2 * self.settings.halvings))
        found = {name: PairEffect(np.empty(0), nothing, codes, points.count) for name in _REASONS}
        if table.empty:
            return found
        ln10 = np.log(10)
        with np.errstate(invalid="ignore"):
            gap = (table["worse_gap"] - table["better_gap"]).to_numpy(float)
            shift = points.accuracy_shift(worse) - points.accuracy_shift(better)
            norm = (table["worse_sensitivity_log10"] - table["better_sensitivity_log10"]).to_numpy(
                float
            )
            norm_halves = points.sensitivity_log10(worse)[1] - points.sensitivity_log10(better)[1]
            found["gap"] = PairEffect(gap, gap[:, None] - shift, codes, points.images)
            found["norm"] = PairEffect(norm * ln10, norm_halves * ln10, codes, points.count)
            measured = table["worse_transitions"].notna() & table["better_transitions"].notna()
            if measured.any():
                worse_mean, worse_halves = points.transitions(worse, beside=better)
                better_mean, better_halves = points.transitions(better, beside=worse)
                crossings = np.where(measured, np.log1p(worse_mean) - np.log1p(better_mean), np.nan)
                halves = np.log1p(worse_halves) - np.log1p(better_halves)
                # a pair is compared on the points that both sides have, one on the fewest of all
                compared = points.transition_points(worse, beside=better)[np.isfinite(crossings)]
                fewest = int(compared.min(initial=len(points.path_points)))
                found["transitions"] = PairEffect(crossings, halves, codes, fewest)
            else:
                found["transitions"] = PairEffect(
                    np.full(len(table), np.nan), np.full_like(shift, np.nan), codes, 0
                )
        return found

    def rows(self, remark: str) -> list[Row]:
        """The primary row, what it is made of, effects by axis, and interactions.

        Args:
            remark: of the row on gap and norm, or ''.
        """
        factor = self.factor
        if moves_gap_by_construction(factor):
            rows = [
                self._alone("norm", primary=True),
                self._alone("gap", judged=False),
                self._alone("transitions"),
            ]
        else:
            rows = [self._both(remark), *(self._alone(what) for what in _REASONS)]
        for name in AXES:
            if len(self.table[name].unique()) > 1:
                rows += self._levels(name)
                rows.append(self._interaction(name))
        return rows

    def _question(self, what: str, key: str, **changes: object) -> Question:
        words = {
            "gap": ("gap", f"mean difference, {self.worse} - {self.better}"),
            "norm": ("Jacobian norm", f"mean ln ratio, {self.worse} / {self.better}"),
            "transitions": (
                "transitions",
                f"mean ln ratio of transitions + 1, {self.worse} / {self.better}",
            ),
            "both": (
                "gap and Jacobian norm",
                f"mean ln ratio of the Jacobian norm, {self.worse} / {self.better}",
            ),
        }
        quantity, effect = words[what]
        fields: dict[str, object] = {
            "key": key,
            "claim": self.factor.claim,
            "dataset": self.dataset,
            "quantity": f"{self.factor.name}: {quantity}",
            "test": _TEST + ("; both above 0 (intersection-union)" if what == "both" else ""),
            "effect": effect,
            "claimed": 1,
        }
        return Question(**(fields | changes))  # type: ignore[arg-type]

    def defined(self, whats: tuple[str, ...]) -> tuple[np.ndarray, LeftOut]:
        """The pairs with all of them (pair,) bool, and what was left out of the pairs."""
        defined = np.ones(len(self.table), bool)
        reasons = self.left_out.copy()
        for what in whats:
            finite = np.isfinite(self.effects[what].differences)
            reasons.add(_REASONS[what], int((defined & ~finite).sum()))
            defined &= finite
        return defined, reasons

    def _remarks(self, what: str) -> tuple[str, ...]:
        """What is to be known of the factor, and what else its sides differ in."""
        told = [self.factor.note]
        if what == "transitions":
            told.append(self.factor.transitions_note)
        if what == "gap" and moves_gap_by_construction(self.factor):
            told.append("true by construction: random labels cannot be generalized")
        if what in ("both", "norm") and not self.table.empty:
            told.append(
                f"{self.worse} / {self.better}, medians over the pairs: steps "
                f"{self.table['worse_steps_done'].median():,.0f} / "
                f"{self.table['better_steps_done'].median():,.0f}, training loss "
                f"{self.table['worse_train_loss'].median():.2g} / "
                f"{self.table['better_train_loss'].median():.2g}, test accuracy "
                f"{self.table['worse_test_accuracy'].median():.3f} / "
                f"{self.table['better_test_accuracy'].median():.3f}"
            )
        return tuple(text for text in told if text)

    def _alone(self, what: str, *, primary: bool = False, judged: bool = True) -> Row:
        """The row of one quantity."""
        question = self._question(
            what,
            self.family if primary else f"{self.family}.{what}",
            primary=primary and self.factor.primary,
            claimed=1 if judged else None,
        )
        if what == "transitions" and not self.factor.transitions_claimed:
            question = dataclasses.replace(question, claimed=None)
        defined, reasons = self.defined((what,))
        effect = self.effects[what].some(defined)
        axes = [self._axis(name, defined) for name in AXES] if primary else []

        def test(member: np.ndarray, name: str) -> tuple[float, int, str]:
            found = effect.some(member).estimate()
            return found.p(), int(np.sign(found.value)), f"{found.value:.2g}"

        def compute() -> Finding:
            found = one(question, effect.estimate(), self.settings)
            flip = effect.sign_flip_p(question.draws(self.settings, what="signs"))
            positive, negative = (int((s * effect.differences > 0).sum()) for s in (1, -1))
            found = found.noted(
                f"{positive} above 0, {negative} below",
                f"sign flips of architecture means: p {flip:.2g}",
                *self._remarks(what),
            )
            return mixed(found, axes, test, self.settings)

        return self._answer(question, defined, reasons, compute)

    def _both(self, remark: str) -> Row:
        """Gap and norm together: the primary row."""
        question = self._question("both", self.family, primary=self.factor.primary)
        defined, reasons = self.defined(("gap", "norm"))

        def test(member: np.ndarray, name: str) -> tuple[float, int, str]:
            found = self._union(question, member)
            return found.p, found.side, f"ln J {found.estimate:.2g}"

        def compute() -> Finding:
            found = self._union(question, np.ones(int(defined.sum()), bool))
            found = found.noted(*self._remarks("both"), remark)
            axes = [self._axis(name, defined) for name in AXES]
            return mixed(found, axes, test, self.settings)

        return self._answer(question, defined, reasons, compute)

    def _union(self, question: Question, member: np.ndarray) -> Finding:
        """Both effects of some of the pairs that have both."""
        defined, _ = self.defined(("gap", "norm"))
        parts = {
            words: self.effects[what].some(defined).some(member).estimate()
            for words, what in (("gap", "gap"), ("ln ratio of the norm", "norm"))
        }
        return union(question, parts, self.settings, shown="ln ratio of the norm", gate="gap")

    def _axis(self, name: str, defined: np.ndarray) -> Axis:
        return Axis(
            name, self.table[name].to_numpy()[defined], self.effects["gap"].architecture[defined]
        )

    def _levels(self, name: str) -> list[Row]:
        """Gap and norm within each level of an axis."""
        defined, reasons = self.defined(("gap", "norm"))
        rows = []
        for level, member in self._axis(name, defined).levels.items():
            question = self._question("both", f"{self.family}.{name}.{level}")
            question = dataclasses.replace(
                question, quantity=f"{question.quantity}, {name} {level}"
            )
            chosen = defined.copy()
            chosen[defined] = member
            told = reasons.copy()
            told.add(f"with another {name}", int((defined & ~chosen).sum()))

            def compute(question: Question = question, member: np.ndarray = member) -> Finding:
                return self._union(question, member)

            means = self._means(chosen)
            rows.append(self._answer(question, chosen, told, compute, instead=means))
        return rows

    def _means(self, chosen: np.ndarray) -> str:
        """Both effects in words, without an error."""
        if not chosen.any():
            return ""
        gap, norm = (self.effects[what].some(chosen).means.mean() for what in ("gap", "norm"))
        return f"without error: gap {gap:.3g}, ln ratio of the norm {norm:.3g}"

    def _interaction(self, name: str) -> Row:
        """Whether the norm's effect differs by an axis."""
        question = interaction_question(self._question("norm", f"{self.family}.norm"), name)
        defined, reasons = self.defined(("norm",))
        effect = self.effects["norm"].some(defined)

        def compute() -> Finding:
            by = self._axis(name, defined)
            effects = {
                group: float(effect.some(member).means.mean())
                for group, member in by.groups.items()
            }
            return interaction(
                by,
                effects,
                lambda member, counts: effect.some(member).resampled(counts),
                question.draws(self.settings),
                resamples=self.settings.bootstrap,
                scale="identity",
            )

        return self._answer(question, defined, reasons, compute)

    def _answer(
        self,
        question: Question,
        chosen: np.ndarray,
        reasons: LeftOut,
        compute: Callable[[], Finding],
        instead: str = "",
    ) -> Row:
        return answer(
            question,
            int(chosen.sum()),
            str(reasons),
            self.settings,
            compute,
            architectures=len(np.unique(self.effects["gap"].architecture[chosen])),
            instead=lambda: instead,
        )
