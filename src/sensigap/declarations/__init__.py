"""The measures of the study, a module each: what each is called, asked, keeps and costs.

Configuration, schemas, survey, rules, timings, estimate and leaderboard read these declarations, so
that a measure stands in one place. Nothing here imports torch. A new measure is a module beside
these, its line in `MEASURES`, and the module of `sensigap.measures.cohort` that computes it.
"""

from sensigap.declarations.base import (
    SEES,
    Measure,
    Predictor,
    Schema,
    Setting,
    Summary,
    Variable,
)
from sensigap.declarations.complexity import COMPLEXITY
from sensigap.declarations.custom import CUSTOM
from sensigap.declarations.ellipses import ELLIPSES
from sensigap.declarations.jacobian import JACOBIAN
from sensigap.declarations.slices import SLICES
from sensigap.declarations.training import TRAINING_PREDICTORS
from sensigap.declarations.transitions import TRANSITIONS

__all__ = [
    "MEASURES",
    "PREDICTORS",
    "SEES",
    "Measure",
    "Predictor",
    "Schema",
    "Setting",
    "Summary",
    "Variable",
]

#: measure -> its declaration, in the order of configuration and report
MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (JACOBIAN, TRANSITIONS, COMPLEXITY, ELLIPSES, SLICES, CUSTOM)
}
#: what stands on the leaderboard, the sensitivity first
PREDICTORS: tuple[Predictor, ...] = (
    *(predictor for measure in MEASURES.values() for predictor in measure.predictors),
    *TRAINING_PREDICTORS,
)
