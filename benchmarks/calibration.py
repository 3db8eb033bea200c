"""How often the tests of the claims reject a true null, and how often their intervals cover.

    python benchmarks/calibration.py [--trials 2000] [--jobs 2] [--only pairs ...]

Samples with known truth for every kind of row: those of `tests/unit/simulated.py`, of which the
unit tests draw some hundred. Prints the table of benchmarks/README.md: rates in per cent with their
Monte-Carlo standard error. A row that is right has 5 for 'rejects' and 95 for 'covers'.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

# the samples are small: more threads only wait for each other
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("src", "tests/unit")]

import numpy as np  # noqa: E402

import simulated  # noqa: E402
from sensigap.analysis.errors import Estimate  # noqa: E402
from sensigap.analysis.verdicts import union  # noqa: E402
from sensigap.seeds import generator  # noqa: E402

#: whether a trial rejects the null, whether its interval covers the truth (None: not asked), and
#: whether an effect is found (None: not asked)
Outcome = tuple[bool, bool | None, bool | None]
Trial = Callable[[np.random.Generator], Outcome]
ALPHA = 0.05


def pairs(
    rng: np.random.Generator, count: int, correlation: float, ratio: float, errors: str
) -> Outcome:
    """Pairs of one factor; the effect is half a standard deviation of a pair's difference."""
    found = simulated.pair_sample(rng, count, correlation, ratio, errors=errors).estimate()
    low, high = found.interval(1 - ALPHA)
    return found.p() < ALPHA, low <= 0 <= high, found.p(-0.5) < ALPHA


def both(rng: np.random.Generator, count: int) -> Outcome:
    """Gap and norm together, the gap without an effect."""
    parts = {
        "gap": simulated.pair_sample(rng, count, 0.4, 1.0).estimate(),
        "norm": Estimate(5.0, 0.01, count),
    }
    found = union(simulated.QUESTION, parts, simulated.SETTINGS, shown="norm", gate="gap")
    return found.p < ALPHA, None, None


def correlation(rng: np.random.Generator, architectures: int, shared: float) -> Outcome:
    """Spearman over networks; the effect is a normal correlation of 0.5."""
    null = simulated.relation(rng, architectures, 0.0, shared).estimate(rng, simulated.SETTINGS)
    # with errors of the points the correlation of the population has no closed form
    some = simulated.relation(rng, architectures, 0.5, 0.0).estimate(rng, simulated.SETTINGS)
    low, high = some.interval(1 - ALPHA)
    covers = None if shared else low <= 6 / math.pi * math.asin(0.25) <= high
    return null.p() < ALPHA, covers, some.p() < ALPHA


def equivalence(rng: np.random.Generator, architectures: int) -> Outcome:
    """No relation: true rho at the edge of 0.2; the effect is that there is none."""
    edge = 2 * math.sin(math.pi * 0.2 / 6)
    found = [
        simulated.relation(rng, architectures, rho, 0.0).estimate(rng, simulated.SETTINGS)
        for rho in (edge, 0.0)
    ]
    rejects, finds = (each.equivalence_p(0.2) < ALPHA for each in found)
    return rejects, None, finds


def slope(rng: np.random.Generator, architectures: int) -> Outcome:
    """A regression with errors by jackknife; the effect is half a standard deviation."""
    null, some = simulated.slope(rng, architectures), simulated.slope(rng, architectures, 0.5)
    low, high = some.interval(1 - ALPHA)
    return null.p() < ALPHA, low <= 0.5 <= high, some.p() < ALPHA


def interaction(rng: np.random.Generator, architectures: int) -> Outcome:
    """Three groups; the effect is half a standard deviation from one to the next."""
    null, some = (simulated.interaction_p(rng, architectures, apart) for apart in (0.0, 0.5))
    return null < ALPHA, None, some < ALPHA


def crossfit(rng: np.random.Generator, architectures: int) -> Outcome:
    """The cross-fitted relation; the effect is a correlation of 0.5 of what networks are."""
    null, some = (simulated.crossfit(rng, architectures, rho) for rho in (0.0, 0.5))
    return null.p() < ALPHA, None, some.p() < ALPHA


def points(rng: np.random.Generator, key: str, networks: int) -> Outcome:
    """Means over networks of a statistic of single points; the effect is a correlation of 0.5."""
    null, some = (
        simulated.point_mean(rng, key, rho, networks=networks) for rho in (0.0, 0.5)
    )  # fmt: skip
    if key == "C5.error":
        return null.p(0.5) < ALPHA, None, some.p(0.5) < ALPHA
    low, high = some.interval(1 - ALPHA)
    return null.p() < ALPHA, low <= 6 / math.pi * math.asin(0.25) <= high, some.p() < ALPHA


def kinds() -> Iterator[tuple[str, str, Trial]]:
    """Kind of row, what is simulated, and one trial of it."""
    for errors in ("normal", "exponential"):
        for count in (10, 20, 60):
            for alike in (0.0, 0.4, 0.8):
                for ratio in (0.0, 2.0):
                    text = f"{count} architectures, correlation {alike:g}, points {ratio:g} x"
                    yield (
                        "pairs" if errors == "normal" else "pairs, exponential",
                        text,
                        partial(pairs, count=count, correlation=alike, ratio=ratio, errors=errors),
                    )
    for count in (10, 20, 60):
        yield "gap and norm", f"{count} architectures, gap null", partial(both, count=count)
    for count in (20, 60):
        for shared in (0.0, 0.2):
            yield (
                "correlation",
                f"{count} architectures x 5, points' error {shared:g}",
                partial(correlation, architectures=count, shared=shared),
            )
        yield (
            "equivalence",
            f"{count} architectures x 5, true rho 0.2",
            partial(equivalence, architectures=count),
        )
        yield "regression", f"{count} uneven architectures", partial(slope, architectures=count)
        yield (
            "interaction",
            f"{count} architectures, three groups",
            partial(interaction, architectures=count),
        )
        yield "cross-fitted", f"{count} architectures x 4", partial(crossfit, architectures=count)
        for key in ("C5.loss", "C5.error"):
            yield f"points, {key}", f"{count} networks", partial(points, key=key, networks=count)


def outcomes(place: int, trials: range) -> np.ndarray:
    """Outcomes of some trials of the kind at a place, (trial, 3), NaN where not asked."""
    kind, text, trial = list(kinds())[place]
    found = [trial(generator(number, f"{kind} {text}")) for number in trials]
    return np.array([[math.nan if x is None else float(x) for x in each] for each in found])


def rate(values: np.ndarray) -> str:
    """A rate in per cent with its Monte-Carlo standard error."""
    if np.isnan(values).any():
        return ""
    share = float(values.mean())
    error = math.sqrt(max(share * (1 - share), 1e-9) / len(values))
    return f"{100 * share:.1f} ± {100 * error:.1f}"


def main() -> None:
    """Prints the table, kind by kind."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=None, help="kinds of rows, all by default")
    asked = parser.parse_args()
    parts = [range(start, min(start + 100, asked.trials)) for start in range(0, asked.trials, 100)]
    print("| row | simulated | rejects, % | covers, % | finds, % |\n|---|---|---|---|---|")
    with ProcessPoolExecutor(asked.jobs) as pool:
        for place, (kind, text, _) in enumerate(kinds()):
            if asked.only and not any(kind.startswith(name) for name in asked.only):
                continue
            found = np.concatenate(list(pool.map(partial(outcomes, place), parts)))
            print(f"| {kind} | {text} | {' | '.join(map(rate, found.T))} |", flush=True)


if __name__ == "__main__":
    main()
