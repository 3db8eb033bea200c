"""Tables of every key, made from the models, for config/README.md."""

from collections.abc import Iterable, Mapping
from typing import Any

from sensigap.config.faults import allowed_text, resolved, schema, without_null, written
from sensigap.config.models import SETTINGS
from sensigap.datasets.known import KNOWN

BEGIN = "<!-- tables: made by `python -m sensigap.config config/README.md`, do not edit -->"
END = "<!-- end of tables -->"

#: heading, name of the model; in the order of the page
_SECTIONS = (
    ("The file", "Study"),
    ("`datasets.<name>`", "Dataset"),
    ("`defaults`: the hyper-parameters", "Defaults"),
    ("A `survey` block with `search: grid`", "Grid"),
    ("A `survey` block with `search: random`", "Random"),
    ("A `survey` block with `search: rows`", "Rows"),
    ("`axes`, in a block or a factor", "Axes"),
    ("A row, in `rows` or `measures.slices.networks`", "Row"),
    ("`factors`", "Factors"),
    ("`factors.<name>`", "Factor"),
    ("`measures`", "Measures"),
    *((f"`measures.{name}`", section.__name__) for name, section in SETTINGS.items()),
    ("`analysis`", "Analysis"),
    ("`execution`", "Execution"),
)
_SEE_DEFAULTS = ("Axes", "Row")


def tables() -> str:
    """Markdown: a section for each part of the configuration, with a table of its keys."""
    parts = [_facts()]
    for heading, name in _SECTIONS:
        node = schema() if name == "Study" else schema()["$defs"][name]
        parts.append(f"### {heading}\n\n{node['description']}\n")
        if name in _SEE_DEFAULTS:
            keys = ", ".join(f"`{key}`" for key in node["properties"])
            what = "a list of values" if name == "Axes" else "one value"
            parts.append(
                f"Keys: {keys}. Each holds {what}; types and bounds as under `defaults`.\n"
            )
        else:
            parts.append(_keys(node))
    return "\n".join(parts)


def updated(page: str) -> str:
    """A page with its tables made again.

    Raises:
        ValueError: the page lacks the two comments between which the tables stand.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"expected one line {BEGIN} and one line {END} in the page")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.partition(END)[2]}"


def _keys(node: Mapping[str, Any]) -> str:
    required = node.get("required", [])
    rows = []
    for key, value in node["properties"].items():
        inner = resolved(value)
        default = "required" if key in required else f"`{written(inner.get('default'))}`"
        if isinstance(inner.get("default"), dict):
            default = "as below"
        unit = without_null(value)[0].get("unit", "")
        rows.append((f"`{key}`", _kind(value), unit, default, inner["description"]))
    return markdown_table(("Key", "Type and bounds", "Unit", "Default", "Meaning"), rows)


def _kind(node: Mapping[str, Any]) -> str:
    """What a key holds; mappings and lists of them have tables of their own."""
    inner, null = without_null(node)
    holder = resolved(inner.get("items", {})) if inner.get("type") == "array" else inner
    if holder.get("type") == "object" or "oneOf" in holder:
        kind = "a list of mappings" if holder is not inner else "a mapping"
        return f"null, or {kind}" if null else kind
    return allowed_text(node)


def _facts() -> str:
    rows = [
        (
            f"`{name}`",
            f"{facts.train_size:,} / {facts.test_size:,}",
            f"{facts.channels} x {facts.height} x {facts.width}",
            f"{facts.classes}",
            f"{facts.max_shift}",
            written(facts.flip),
            f"{facts.input_noise:g}",
            f"{facts.fit_accuracy}",
            f"{facts.transition_points}",
        )
        for name, facts in KNOWN.items()
    ]
    head = (
        "Name",
        "Training / test images",
        "Channels x height x width",
        "Classes",
        "`max_shift` (pixels)",
        "`flip`",
        "`input_noise`",
        "`fit_accuracy`",
        "Transition points at most",
    )
    return f"### Data sets and what null stands for\n\n{markdown_table(head, rows)}"


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table as Markdown has it."""
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
