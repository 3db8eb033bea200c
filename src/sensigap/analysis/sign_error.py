"""Dziugaite et al.'s sign error of a measure in the environment in which it is worst.

Dziugaite et al. (2020), "In search of robust measures of generalization", NeurIPS (STATISTICS,
section 7). An environment is one hyper-parameter and an unordered pair of its levels; its pairs of
networks differ in that alone (seeds apart). The sign error is the mean over pairs of
(1 - sgn(difference of the measure) sgn(difference of the gap)) / 2: a tie of the measure is 1/2.
Only pairs count whose gaps differ by more than chance in the test points.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sensigap.analysis.bootstrap import DoesNotApply
from sensigap.analysis.kendall import axis_pairs

#: ASSUME: pairs that an environment needs (Dziugaite et al. weigh by pairs, and need no least)
MINIMUM_PAIRS = 10
#: environments that a score needs
MINIMUM_ENVIRONMENTS = 5
#: standard errors by which gaps differ
DIFFER = 2.0
#: random measures that say what a coin gets: their 5% point is known to within 0.01
COINS = 1000


@dataclasses.dataclass(frozen=True)
class SignError:
    """A measure's sign error: `low` and `high` are of the worst environment by itself.

    Attributes:
        worst: in the worst environment.
        low: Wilson's interval of it.
        high: its other end.
        environment: which that is: 'gain 1 and 4'.
        mean: over the environments.
        coin: what a coin gets in its own worst environment: the mean.
        coin_low: the 5% point of that: a measure at most here is better than a coin.
        environments: how many there are.
        pairs: how many they have together.
    """

    worst: float
    low: float
    high: float
    environment: str
    mean: float
    coin: float
    coin_low: float
    environments: int
    pairs: int


class Environments:
    """The environments of the networks of a survey, and their pairs."""

    def __init__(
        self,
        table: pd.DataFrame,
        names: Sequence[str],
        wrong: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Finds the pairs whose gaps differ.

        Args:
            table: the networks, with their `gap`.
            names: hyper-parameters that vary, columns of it.
            wrong: whether each image of the test set is classified wrongly (network, image).
            rng: draws the coins.
        """
        gap = table["gap"].to_numpy(float)
        error = difference_error(wrong)
        self.names: list[str] = []
        firsts, seconds, environments = [], [], []
        for name, pairs in axis_pairs(table, names, least=1).items():
            codes, levels = pd.factorize(table[name], sort=True)
            kept = np.abs(gap[pairs[0]] - gap[pairs[1]]) > DIFFER * error[pairs]
            i, j = (side[kept] for side in pairs)
            low, high = np.minimum(codes[i], codes[j]), np.maximum(codes[i], codes[j])
            for a, b in np.unique(np.column_stack([low, high]), axis=0):
                here = (low == a) & (high == b)
                firsts.append(i[here])
                seconds.append(j[here])
                environments.append(np.full(int(here.sum()), len(self.names)))
                ends = " and ".join(
                    f"{level:g}" if isinstance(level, float) else str(level)
                    for level in (levels[a], levels[b])
                )
                self.names.append(f"{name.replace('_', ' ')} {ends}")
        nothing = [np.zeros(0, np.int64)]
        #: networks of each pair, and its environment (pair,)
        self.i = np.concatenate(firsts or nothing)
        self.j = np.concatenate(seconds or nothing)
        self.environment = np.concatenate(environments or nothing)
        self._gap_sign = np.sign(gap[self.i] - gap[self.j])
        self._coins = rng.random((len(table), COINS))

    @functools.cached_property
    def _coin_errors(self) -> np.ndarray:
        """Sign errors of the coins (pair, coin).

        ASSUME: a coin is a measure that says of each network a number drawn at random, so that its
        signs on pairs that share a network go together as any measure's do.
        """
        return self._errors(self._coins.T).T

    def _errors(self, measures: np.ndarray) -> np.ndarray:
        """Sign error of each pair, 0, 1/2 or 1, or NaN (..., pair)."""
        signs = np.sign(measures[..., self.i] - measures[..., self.j])
        return np.asarray((1 - signs * self._gap_sign) / 2)

    def score(self, measure: np.ndarray, alpha: float) -> SignError:
        """The sign error of a measure (network,), NaN where it has no value.

        Args:
            measure: its values.
            alpha: the interval of the worst environment holds 1 - alpha. It does not count that
                the environment was chosen as the worst. ASSUME: pairs that share networks are worth
                as many as their networks make disjoint pairs.

        Raises:
            DoesNotApply: fewer than `MINIMUM_ENVIRONMENTS` environments have `MINIMUM_PAIRS` pairs.
        """
        from statsmodels.stats.proportion import proportion_confint

        errors = self._errors(measure)
        known = ~np.isnan(errors)
        sizes = np.bincount(self.environment[known], minlength=len(self.names))
        enough = np.flatnonzero(sizes >= MINIMUM_PAIRS)
        if len(enough) < MINIMUM_ENVIRONMENTS:
            largest = ", ".join(map(str, np.sort(sizes)[::-1][:MINIMUM_ENVIRONMENTS])) or "none"
            raise DoesNotApply(
                f"{len(enough)} of at least {MINIMUM_ENVIRONMENTS} environments with "
                f"{MINIMUM_PAIRS} pairs whose gaps differ by more than {DIFFER:g} standard errors; "
                f"the largest have {largest}"
            )
        member = (self.environment == enough[:, None]) & known
        # halves, summed before they are divided: environments that tie do so exactly
        by_environment = member @ np.where(known, errors, 0) / sizes[enough]
        coins = (member @ self._coin_errors / sizes[enough][:, None]).max(axis=0)
        place = int(by_environment.argmax())
        worst = float(by_environment[place])
        here = member[place]
        trials = len(np.union1d(self.i[here], self.j[here])) / 2
        low, high = proportion_confint(worst * trials, trials, alpha=alpha, method="wilson")
        return SignError(
            worst,
            float(low),
            float(high),
            self.names[enough[place]],
            float(by_environment.mean()),
            float(coins.mean()),
            float(np.quantile(coins, 0.05)),
            len(enough),
            int(member.sum()),
        )


def difference_error(wrong: np.ndarray) -> np.ndarray:
    """Standard error of the difference of two networks' test errors (network, network).

    They share the test points: its square is the variance over points of wrong_i - wrong_j, over
    their number. (The training accuracies are 1.)

    Args:
        wrong: whether each test point is classified wrongly (network, point).
    """
    wrong = wrong.astype(float)
    points = wrong.shape[1]
    error = wrong.mean(axis=1)
    either = error[:, None] + error - 2 * (wrong @ wrong.T) / points
    variance = either - (error[:, None] - error) ** 2
    return np.sqrt(np.maximum(variance, 0) / points)
