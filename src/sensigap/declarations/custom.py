"""Measures of one's own: functions named in the configuration, a row each on the leaderboard."""

from sensigap.declarations.base import NETWORK, Measure, Predictor, Schema, Setting, Variable
from sensigap.selection import where_asked

#: before the label of a function, in the names of its variable and its row
PREFIX = "custom: "

CUSTOM = Measure(
    name="custom",
    title="Measures of one's own",
    section="Functions of one's own, each a row of the leaderboard: "
    "`function(network, data) -> number`, larger where the gap should be larger, of an "
    "`nn.Sequential` and a `sensigap.measures.cohort.custom.Data`.",
    settings=(
        Setting(
            name="functions",
            kind="functions",
            text="label -> `file.py:function`, the file from the working directory, or "
            "`module:function`; measured again when that file changes",
            default={},
        ),
    ),
    schema=Schema(
        NETWORK | {"function": Variable(("function",), "str", "label of the function")},
        {
            "value": Variable(
                ("network", "function"), "float", "what the function returned; NaN: no value"
            )
        },
    ),
    module="sensigap.measures.cohort.custom",
    group="custom",
    chosen=where_asked,
    chosen_text="measured by functions of one's own",
    # ASSUME: nobody knows; about a pass over a few thousand images
    flops=lambda spec, facts, settings: 1e9 * len(settings["functions"]),
)


def predictor(label: str) -> Predictor:
    """The row of a function: it may look at all that it is given."""
    name = f"{PREFIX}{label}"
    return Predictor(name=name, label=label, variable=name, sees="test inputs")
