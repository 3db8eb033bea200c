"""What every store holds: dimensions, coordinates, variables, kinds of numbers, units.

`sensigap.survey` writes and reads stores and holds them to these schemas; those of the measures are
in `sensigap.declarations`.
"""

from sensigap.declarations import MEASURES
from sensigap.declarations.base import NETWORK, SAMPLE, Schema, Variable
from sensigap.declarations.training import CHECK, CURVES, OUTCOMES, TRAINING
from sensigap.factors import FACTORS
from sensigap.spec import HYPERPARAMETERS

_HYPERPARAMETERS = {
    name: Variable(("network",), kind.__name__, record.long_name, record.units)
    for name, (kind, record) in HYPERPARAMETERS.items()
}
_MEMBERSHIP = (
    {
        "cohort": Variable(("network",), "str", "the job that trained the network"),
        "in_survey": Variable(("network",), "bool", "member of the survey (C0, C2, C5)"),
    }
    | {
        f"in_{name}": Variable(("network",), "bool", measure.chosen_text)
        for name, measure in MEASURES.items()
        if measure.chosen
    }
    | {
        f"{column}_{factor}": Variable(
            ("network",), "str", f"{text} of factor {factor}, '' for none"
        )
        for factor in FACTORS
        for column, text in (("pair", "pair"), ("side", "side in the pair"))
    }
)
#: variables of the measures that join the survey's own
_MEASURED = {
    name: variable
    for measure in MEASURES.values()
    if not measure.group
    for name, variable in measure.schema.variables.items()
}
_SUMMARIES = {
    "gap": Variable(("network",), "float", "generalization gap: train - test accuracy")
} | {
    summary.name: Variable(("network",), "float", summary.long_name)
    for measure in MEASURES.values()
    for summary in measure.summaries
}

SCHEMAS = {
    "dataset": Schema({}, {}),
    "images": Schema(
        {"sample": Variable(("sample",), "int", "index in the training or test set")},
        {
            "image": Variable(
                ("sample", "channel", "row", "column"), "int", "pixels as published, uint8"
            ),
            "label": Variable(("sample",), "int", "true class"),
        },
    ),
    "training": TRAINING,
    **{name: measure.schema for name, measure in MEASURES.items()},
    "survey": Schema(
        NETWORK | SAMPLE | _HYPERPARAMETERS | _MEMBERSHIP, OUTCOMES | _MEASURED | _SUMMARIES
    ),
    "curves": Schema(NETWORK | CHECK, CURVES),
}
#: group of a survey or of a data set's store -> schema
GROUPS = {
    "training": "curves",
    **{measure.group: name for name, measure in MEASURES.items() if measure.group},
    "train": "images",
    "test": "images",
}
