"""Configuration files as people write them: a valid plan, or an error that names the place."""

import json
import os
import re
import time

import pytest
import yaml
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from sensigap import config
from sensigap.config import command_line, reading
from sensigap.datasets.places import DatasetError
from sensigap.workplan import WorkPlan

NAME = "mine.yaml"
BASE = {
    "study": "study: mine",
    "datasets": "datasets: {digits: {}}",
    "survey": "survey: [{search: grid, axes: {width: [8]}}]",
}
#: stands for a plan
FINE = object()


def completed(text):
    """The text with the keys that a study needs, where it does not have them; its lines first."""
    lines = [line for key, line in BASE.items() if not re.search(rf"^{key}\b", text, re.M)]
    return "\n".join([text.strip("\n"), *lines, ""])


def axes(text):
    """A study whose survey is one grid of these axes."""
    return f"survey: [{{search: grid, axes: {{{text}}}}}]"


def bomb(make="[{}]", levels=9):
    """A few lines of aliases of aliases: nine to the power of the levels."""
    lines = ["a0: &a0 [x, x]" if make == "[{}]" else "a0: &a0 {x: 1}"]
    for k in range(1, levels + 1):
        parts = (
            ", ".join([f"*a{k - 1}"] * 9)
            if make == "[{}]"
            else ", ".join(f"k{i}: *a{k - 1}" for i in range(9))
        )
        lines.append(f"a{k}: &a{k} {make.replace('{}', parts)}")
    return "\n".join(lines)


def chain(levels):
    """Aliases that nest one in the other, each in a line of its own."""
    return "\n".join(["a0: &a0 [1]", *(f"a{k}: &a{k} [*a{k - 1}]" for k in range(1, levels))])


def plan(text, folder):
    """What the workflow does with a configuration file before it has any rule."""
    reading.check_text(text, NAME)
    # as Snakemake has read it
    try:
        mapping = json.loads(text)
    except ValueError:
        mapping = yaml.load(text, Loader=yaml.FullLoader)
    work = WorkPlan(mapping, folder)
    work.refuse_impossible(gpu=False)
    return work


# name -> (text, words of the message or FINE); in `completed` the text's own lines come first
TEXTS = {
    "the smallest study": ("study: tiny", FINE),
    # keys that stand twice
    "an axis twice": (
        "survey:\n- search: grid\n  axes:\n    width: [8]\n    seed: [0]\n    width: [32]",
        [f"{NAME}, line 6: survey[0].axes.width: this key stands in line 4 already"],
    ),
    "a section twice": (
        "analysis: {seed: 1}\nexecution: {}\nanalysis: {alpha: 0.01}",
        [f"{NAME}, line 3: analysis: this key stands in line 1 already"],
    ),
    "a key twice in one line": ("defaults: {width: 3, width: 4}", ["line 1: defaults.width: this"]),
    "a key twice, once in quotes": ('defaults: {width: 3, "width": 4}', ["defaults.width: this"]),
    "a data set twice": ("datasets: {digits: {}, digits: {}}", ["datasets.digits: this key"]),
    "a key twice in a row": (
        "survey: [{search: rows, rows: [{depth: 1, depth: 2}]}]",
        ["survey[0].rows[0].depth: this key stands"],
    ),
    "a key three times": (
        "defaults:\n  seed: 1\n  seed: 2\n  seed: 3",
        ["2 faults", "line 3: defaults.seed: this key stands in line 2", "line 4: defaults.seed"],
    ),
    "the name twice": ("study: a\nstudy: b", ["line 2: study: this key stands in line 1"]),
    "two merge keys": (
        "defaults: &d {depth: 1}\nfactors: {unit: {axes: {<<: {width: [1]}, <<: {depth: [1]}}}}",
        ["factors.unit.axes.<<: this key stands"],
    ),
    "a key of JSON twice": (
        '{"study": "x", "study": "y"}',
        [f'{NAME}: found the key "study" twice'],
    ),
    # anchors and merge keys as they should be
    "an alias": ("survey:\n- &b {search: grid, axes: {width: [8]}}\nexecution: {}", FINE),
    "the same axes in two factors": (
        "factors:\n  labels:\n    axes: &pairs {width: [8, 16]}\n  unit:\n    axes: *pairs",
        FINE,
    ),
    "a merge key with a key that overrides": (
        "survey:\n- search: grid\n  axes: &one {width: [8], depth: [1]}\n"
        "- {search: grid, axes: {<<: *one, depth: [2]}}",
        FINE,
    ),
    "a merge key with a list": (
        "factors:\n  labels:\n    axes: &a {width: [8]}\n  unit:\n    axes: &b {depth: [1]}\n"
        "  augmentation:\n    axes: {<<: [*a, *b]}",
        FINE,
    ),
    "a merge key without a mapping": (
        "defaults: {<<: 3}",
        ["line 1: defaults.<<: found no mapping"],
    ),
    "a merge key in quotes is a key": ('defaults: {"<<": 3}', ["defaults.<<: unknown key"]),
    # bombs
    "billion laughs": (bomb(), ["aliases (*) that expand to more than 1,000,000 values"]),
    "billion laughs of mappings": (bomb("{{}}"), ["aliases (*) that expand to more than"]),
    "many levels of laughs": (bomb(levels=40), ["aliases (*) that expand"]),
    "laughs that fit": (bomb(levels=2), ["a0: unknown key", "a2: unknown key"]),
    "a list in itself": ("a: &a [*a]", ["line 1: found an alias (*) within the value"]),
    "a mapping in itself": ("defaults: &a {b: *a}", ["line 1: found an alias (*) within"]),
    "a file in itself": ("--- &a\nstudy: x\ndefaults: *a", ["found an alias (*) within"]),
    "a mapping merged into itself": ("defaults: &a {<<: *a}", ["found an alias (*) within"]),
    "two in one another": ("a: &a [{b: &b [*a]}]", ["found an alias (*) within"]),
    "a long chain of aliases": (chain(5_000), ["nested more than 50 levels deep"]),
    "an alias of nothing": ("defaults: *other", ["line 1: is no YAML: found undefined alias"]),
    # depth and length
    "brackets": ("a: " + "[" * 100_000, ["line 1: found values nested more than 50 levels"]),
    "braces": ("{" * 100_000, ["found values nested more than 50 levels"]),
    "a deep JSON file": ('{"a":' * 100_000 + "1" + "}" * 100_000, ["nested more than 50 levels"]),
    "indentation": (
        "\n".join(" " * k + "a:" for k in range(1_000)),
        ["line 51: found values nested more than 50"],
    ),
    "depth in time": ("a: " + "[" * 60 + "]" * 60, ["found values nested more than 50 levels"]),
    "a file of two megabytes": ("# " + "x" * 2**21, ["found 2,097,", "at most 1,048,576"]),
    "a million short lines": ("- 1\n" * 300_000, ["at most 1,048,576"]),
    # documents and their kinds
    "empty": ("", [f"{NAME}: found an empty file"]),
    "white space": (" \n\n \t\n", ["found an empty file"]),
    "a mark of byte order alone": ("\ufeff", ["found an empty file"]),
    "comments": ("# study: x\n", ["found nothing but comments"]),
    "the start of a document": ("---\n", ["found one value"]),
    "two documents": ("study: a\n---\nstudy: b\n", ["line 2: found a second document (---)"]),
    "a document that is started and ended": (f"---\n{completed('')}...\n", FINE),
    "a list": ("- study: x\n", ["found a list; allowed: a mapping"]),
    "a list of JSON": ('[{"study": "x"}]', ["found a list"]),
    "a word": ("study\n", ["found one value"]),
    "a number": ("3\n", ["found one value"]),
    "null": ("null\n", ["found one value"]),
    "JSON": (
        '{"study": "json", "datasets": {"digits": {}}, "survey": [{"search": "grid",\n\t"axes": '
        '{"learning_rate": [1e-3]}}]}',
        FINE,
    ),
    # what is no YAML
    "a tab for indentation": ("defaults:\n\tdepth: 3", ["line 2: is no YAML", "not tabs"]),
    "a mark of byte order": ("\ufeff# with a mark\nstudy: marked", FINE),
    "a null character": ("study: a\0b", [f"{NAME}: is no YAML", "control characters"]),
    "an escape character": ("study: \x1b[31m", ["is no YAML"]),
    "a bracket left open": ("defaults: {depth: [1, 2}", ["is no YAML", "line"]),
    "a quote left open": ('study: "mine', ["is no YAML: while scanning a quoted scalar"]),
    "a colon in text": ("study: a: b", ["line 1: is no YAML", "quote text that holds ': '"]),
    "indentation that does not fit": (
        "defaults:\n   depth: 1\n  width: 3",
        ["line 3: is no YAML"],
    ),
    "a dash that is missing": ("survey:\n  search: grid\n  - axes: {}", ["is no YAML"]),
    "an at sign": ("study: @home", ["line 1: is no YAML", "quote text that starts with @"]),
    "a directive": ("%YAML 9.1\n---\nstudy: x", ["is no YAML"]),
    # tags and templates
    "a command": (
        "study: !!python/object/apply:os.system [echo]",
        ["line 1: found the tag tag:yaml.org,2002:python/object/apply:os.system"],
    ),
    "a tuple": ("study: !!python/tuple [1]", ["found the tag"]),
    "a tag of a type": ("defaults: {depth: !!int 3}", ["found the tag tag:yaml.org,2002:int"]),
    "a tag of one's own": ("study: !mine x", ["line 1: found the tag !mine"]),
    "bytes": ("study: !!binary aGVsbG8=", ["found the tag"]),
    "a template": ("__use_yte__: true", ["__use_yte__: found a template"]),
    # readings
    **{
        f"a depth of {text}": (
            f"defaults: {{depth: {text}}}",
            [
                f"line 1: defaults.depth: found {text} without quotes, {old} in YAML 1.1 and {new}",
                f"write {ways}",
            ],
        )
        for text, old, new, ways in (
            ("017", "the number 15", "the number 17", "15 or 17"),
            ("1:30", "the number 90", "text", '90 or "1:30"'),
            ("1_000", "the number 1000", "text", '1000 or "1_000"'),
            ("0b11", "the number 3", "text", '3 or "0b11"'),
            ("0o17", "text", "the number 15", '"0o17" or 15'),
            ("08", "text", "the number 8", '"08" or 8'),
            ("1e2", "text", "the number 100.0", '"1e2" or 100.0'),
            ("yes", "the truth value true", "text", 'true or "yes"'),
            ("2026-01-31", "a date", "text", '"2026-01-31"'),
        )
    },
    "a number of seconds since": ("defaults: {gain: 1:30.5}", ["defaults.gain", "the number 90.5"]),
    "a rate of 1e-3": (
        axes("learning_rate: [0.1, 1e-3]"),
        ["survey[0].axes.learning_rate[1]: found 1e-3", '"1e-3" or 0.001'],
    ),
    "a rate of 1.0e3": (axes("learning_rate: [1.0e3]"), ['write "1.0e3" or 1000.0']),
    "a rate of 1.0e-3": (axes("learning_rate: [1.0e-3]"), FINE),
    "a rate of .5": (axes("learning_rate: [.5, 1.]"), FINE),
    "a rate of +.5": (axes("learning_rate: [+.5]"), ["found +.5 without quotes"]),
    "a width of 0x10": (axes("width: [0x10]"), FINE),
    "a name of 017": ("study: 017", ["study: found 017 without quotes"]),
    "a name of no": ("study: no", ["study: found no without quotes", '"no"']),
    "a name of a date": ("study: 2026-01-31", ["study: found 2026-01-31", '"2026-01-31"']),
    "a date in quotes": ('study: "2026-01-31"', FINE),
    "a key of on": ("on: 3", ["line 1: on: found on without quotes"]),
    "a date that is none": ("study: 2026-13-45", ["study: found 2026-13-45", "is no value"]),
    "a number of 5000 digits": (f"defaults: {{seed: {'9' * 5_000}}}", ["defaults.seed: found 999"]),
    "an equals sign": ("study: =", ["study: found = without quotes"]),
    "off for a truth value": (
        "defaults: {augmentation: off}",
        ["defaults.augmentation: found off"],
    ),
    "words in quotes": ('study: "yes"', FINE),
    # keys that are no text
    "a list for a key": ("? [a, b]\n: 3", ["line 1: found a key that is no text"]),
    "a mapping for a key": ("{a: 1}: 2", ["found a key that is no text"]),
    "null for a key": ("~: 3", ["unknown key"]),
    "a number for a key": ("3: 4", ["3: unknown key"]),
    # names
    **{
        f"the name {name}": (f"study: {name}", [f'study: found "{name}"', "any other name"])
        for name in ("datasets", "networks", "README.md", "readme.md", "Datasets")
    },
    **{
        f"the name {name}": (f"study: {name}", [f'study: found "{name}"', "every file system"])
        for name in ("con", "NUL", "com1", "lpt9.txt", "aux", "PRN.yaml", "mine.")
    },
    **{
        f"the name {name}": (f"study: '{name}'", [f'study: found "{name}"', "letters, digits"])
        for name in (
            ".",
            "..",
            "../up",
            "/root",
            "a/b",
            "a b",
            "-n",
            "",
            "é",
            "~",
            "a\\b",
        )
    },
    "a long name": (f"study: {'x' * 65}", ["study: found", "at most 64 letters"]),
    "a name over lines": ('study: "a\\nb"', ['study: found "a\\nb"', "letters, digits"]),
    "names beside those taken": ("study: console.networks", FINE),
    "a number for a name": ("study: 2026", ["study: found 2026", 'write "2026" in quotes']),
    # folders
    "an empty folder": ('data_root: ""', ["data_root", "text, not empty"]),
    "white space for a folder": ('data_root: "  "', ["data_root", "the path of a folder"]),
    "a null character in a folder": ('data_root: "a\\0b"', ["data_root", "the path of a folder"]),
    "a list of folders": ("data_root: [a, b]", ["data_root: found [", "one value here"]),
    # numbers that are no quantities
    **{
        f"{key} of {text}": (
            f"{section}: {{{key}: {text}}}",
            [f"{section.split(': {')[0]}", f"{key}: found"],
        )
        for section, key in (
            ("defaults", "learning_rate"),
            ("defaults", "gain"),
            ("analysis", "alpha"),
            ("analysis", "equivalence"),
            ("execution", "cohort_tflop"),
            ("execution", "checkpoint_seconds"),
        )
        for text in ("4.9e-324", "1.0e-300", "1.0e+300", ".inf", ".nan", "-1", "0")
    },
    **{
        f"a {key} of {text}": (f"measures: {{{measure}: {{{key}: {text}}}}}", [f"{measure}.{key}"])
        for measure, key in (("complexity", "drop"), ("slices", "margin"), ("ellipses", "share"))
        for text in ("1.0e+300", "-0.1", ".nan")
    },
    "a fit at nearly nothing": (
        "datasets: {digits: {fit_accuracy: 1.0e-300}}",
        ["datasets.digits.fit_accuracy: found 1e-300; allowed: null, or a number from 0.01"],
    ),
    "a loss out of reach": (
        axes("stop: [loss], target_loss: [4.9e-324]"),
        ["survey[0].axes.target_loss[0]: found 5e-324", "at least 1e-09 nat"],
    ),
    "a noise that nothing feels": (
        axes("input_noise: [4.9e-324]"),
        ["survey[0].axes.input_noise[0]: found 5e-324", "0, or at least 0.001"],
    ),
    "a share of nothing": (
        axes("augmentation: [true], augmentation_share: [1.0e-300]"),
        ["survey[0].axes.augmentation_share[0]", "from 0.001 to 1"],
    ),
    "a loss of 1e300": (
        axes("stop: [loss], target_loss: [1.0e+300]"),
        ["target_loss[0]", "to 100"],
    ),
    "a small loss": (axes("stop: [loss], target_loss: [0.001]"), FINE),
    # sizes
    "terabytes of weights": (
        axes("width: [65536], depth: [1000]"),
        [
            "TB of memory, to train 1 networks of digits",
            "depth 1000 and width 65536",
            "at most 1 TB",
        ],
    ),
    "terabytes of arrays": (
        "datasets: {mnist: {}}\n" + axes("width: [65536], depth: [1]"),
        ["measures.transitions: found a job of 1.", "at most 1 TB"],
    ),
    "terabytes of ellipses": (
        "measures: {ellipses: {share: 1, count: 10000, angles: 98304}}\n"
        + axes("width: [8], depth: [1], seed: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"),
        ["measures.ellipses: found a job of", "TB of memory, to measure (ellipses) 10 networks"],
    ),
    "a wide network that fits": (axes("width: [4096], depth: [3]"), FINE),
    "more networks than there are": (
        axes(", ".join(f"{key}: {list(range(1, 1000))}" for key in ("depth", "width", "seed"))),
        ["survey[0]: found 997,002,999 networks up to here", "at most 1,000,000"],
    ),
    "more pairs than there are": (
        f"factors: {{unit: {{axes: {{seed: {list(range(800))}, depth: {list(range(1, 800))}}}}}}}",
        ["factors.unit: found 1,278,401 networks up to here"],
    ),
    "more draws than there are": (
        "survey: [{search: random, draws: 10000000, axes: {depth: [1]}}]",
        ["survey[0].draws: found 10000000"],
    ),
    # a device
    "tf32 without a GPU": (
        "defaults: {precision: tf32}",
        ["defaults.precision: found tf32 for 1 networks of digits", "no GPU"],
    ),
    "bf16 without a GPU": ("defaults: {precision: bf16}", FINE),
    # full batches in pairs
    **{
        f"{key} of lbfgs in the factor {factor}": (
            f"factors: {{{factor}: {{axes: {{optimizer: [lbfgs, sgd], {key}: {values}}}}}}}",
            [f"factors.{factor}.axes.{key}: found 2 values", "lbfgs does not use it"],
        )
        for factor in ("labels", "unit")
        for key, values in (
            ("learning_rate", "[0.1, 0.2]"),
            ("steps", "[10, 20]"),
            ("batch_size", "[8, 16]"),
        )
    },
    "rates of lbfgs by default": (
        "defaults: {optimizer: lbfgs}\nfactors: {labels: {axes: {learning_rate: [0.1, 0.2]}}}",
        ["factors.labels.axes.learning_rate: found 2 values"],
    ),
    "lbfgs in the factor unit": (
        "factors: {unit: {axes: {optimizer: [lbfgs, sgd], learning_rate: [0.1], width: [8, 9]}}}",
        FINE,
    ),
    "rates without lbfgs": (
        "factors: {unit: {axes: {optimizer: [sgd], learning_rate: [0.1, 0.2]}}}",
        FINE,
    ),
    # shapes
    "a mapping for the survey": ("survey: {search: grid}", ["survey: found {search"]),
    "a list for the datasets": ("datasets: [digits]", ['datasets: found ["digits"]']),
    "text for a section": ("analysis: none", ['analysis: found "none"', "a mapping"]),
    "null for a section": ("analysis:", ["analysis: found null", "write {}"]),
    "a list for a search": ("survey: [{search: [grid], axes: {width: [8]}}]", ["survey[0].search"]),
    "a misspelt section": ("measure: {}", ["measure: unknown key", "did you mean measures?"]),
}
# whole files, which get no keys added
WHOLE = {
    *("a file in itself", "braces", "a deep JSON file", "a key of JSON twice", "JSON", "a list"),
    *("empty", "white space", "a mark of byte order alone", "comments", "the start of a document"),
    *("two documents", "a document that is started and ended", "a list of JSON", "a word"),
    *("a number", "null", "a million short lines", "indentation"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_gives_a_plan_or_one_clear_error(name, tmp_path):
    text, expected = TEXTS[name]
    text = text if name in WHOLE else completed(text)
    start = time.monotonic()
    if expected is FINE:
        assert plan(text, tmp_path).members
    else:
        with pytest.raises(config.ConfigError) as error:
            plan(text, tmp_path)
        told = str(error.value)
        assert [words for words in expected if words not in told] == [], told
        assert max(map(len, told.splitlines())) < 500
    assert time.monotonic() - start < 10


def test_there_are_many_such_files():
    assert sum(expected is not FINE for _, expected in TEXTS.values()) >= 100
    assert set(TEXTS) >= WHOLE


def test_bombs_are_refused_within_a_second():
    for text in (bomb(), bomb("{{}}"), bomb(levels=40), chain(5_000), "a: &a [*a]"):
        start = time.process_time()
        with pytest.raises(config.ConfigError):
            reading.check_text(text, NAME)
        assert time.process_time() - start < 1


def test_the_slower_reader_tells_the_same(monkeypatch):
    """Where PyYAML came without libyaml."""
    monkeypatch.setattr(reading, "_LOADER", yaml.SafeLoader)
    for name in (
        *("an axis twice", "billion laughs", "a mapping in itself", "a depth of 017", "braces"),
        *("two documents", "a command", "a tab for indentation", "a file in itself"),
    ):
        text, expected = TEXTS[name]
        with pytest.raises(config.ConfigError) as error:
            reading.check_text(text, NAME)
        assert [words for words in expected if words not in str(error.value)] == []


# --- files ----------------------------------------------------------------------------------------


def _write(content):
    return lambda path: path.write_bytes(content)


FILES = {
    "nothing": (lambda path: None, ["found nothing there", "a configuration file (YAML) in"]),
    "a folder": (lambda path: path.mkdir(), ["found a folder there"]),
    "a dangling link": (lambda path: path.symlink_to("gone"), ["found a link to gone"]),
    "a link to itself": (lambda path: path.symlink_to(path), ["found a link to"]),
    "a pipe": (os.mkfifo, ["found a device or a pipe"]),
    "Latin-1": (_write("study: é".encode("latin-1")), ["not UTF-8 (0xe9, byte 8)"]),
    "UTF-16": (_write("study: x".encode("utf-16")), ["not UTF-8 (0xff, byte 1)"]),
    "a picture": (_write(b"\x89PNG\r\n\x1a\n"), ["not UTF-8"]),
    "a large file": (_write(b"# " + b"x" * 2**23), ["found 8,388,610 bytes"]),
    "a file of the right kind": (_write(completed("").encode()), FINE),
    "lines of Windows": (_write(completed("").replace("\n", "\r\n").encode()), FINE),
}


@pytest.mark.parametrize(("make", "expected"), FILES.values(), ids=FILES.keys())
def test_what_lies_where_a_file_is_named(make, expected, tmp_path):
    path = tmp_path / NAME
    make(path)
    if expected is FINE:
        reading.check_file(path)
        return
    with pytest.raises(config.ConfigError) as error:
        reading.check_file(path)
    assert [words for words in [str(path), *expected] if words not in str(error.value)] == []
    # no error within an error
    (fault,) = error.value.faults
    assert fault.found.startswith("found ")


def test_a_file_that_may_not_be_read(monkeypatch, tmp_path):
    path = tmp_path / NAME
    path.write_text("study: x")

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    # root, who runs tests here, may read every file
    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(config.ConfigError, match=r"mine\.yaml: cannot be read: Permission denied"):
        reading.check_file(path)


# --- the data folder ------------------------------------------------------------------------------


def test_an_unset_variable_is_told_with_the_plan(monkeypatch, tmp_path):
    monkeypatch.delenv("SETS", raising=False)
    text = completed("datasets: {mnist: {}}\ndata_root: $SETS/mnist")
    with pytest.raises(DatasetError, match="the variable SETS is set"):
        plan(text, tmp_path)
    monkeypatch.setenv("SETS", "/somewhere")
    assert plan(text, tmp_path).members
    monkeypatch.delenv("SETS")
    # the digits need no folder
    assert plan(completed("data_root: $SETS/mnist"), tmp_path).members


# --- the command line -----------------------------------------------------------------------------


def test_values_from_the_command_line_are_what_their_keys_hold():
    given = {
        "study": "x",
        "data_root": "null",
        "datasets": {"digits": {"train_size": "100", "flip": "true", "max_shift": "null"}},
        "defaults": {"steps": "10", "augmentation": "false", "labels": "true", "gain": "2"},
        "survey": [{"search": "grid", "axes": {"learning_rate": ["1e-3", "0.5"], "width": ["8"]}}],
    }
    typed = command_line.typed({**given, "analysis": {"seed": "1"}}, given)
    assert typed == {
        "study": "x",
        "data_root": None,
        "datasets": {"digits": {"train_size": 100, "flip": True, "max_shift": None}},
        "defaults": {"steps": 10, "augmentation": False, "labels": "true", "gain": 2},
        "survey": [{"search": "grid", "axes": {"learning_rate": [0.001, 0.5], "width": [8]}}],
        "analysis": {"seed": "1"},  # written in a file, with its quotes
    }
    assert config.load({**typed, "analysis": {}}).defaults.steps == 10


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"defaults": {"steps": "ten"}}, 'defaults.steps: found "ten"'),
        ({"defaults": {"steps": "9" * 5_000}}, "defaults.steps: found"),
        ({"defaults": "steps"}, 'defaults: found "steps"'),
        ({"study": 2026}, "or on the command line --config 'study=!!str 2026'"),
        ({"survey": [{"search": ["grid"]}]}, "survey[0].search"),
        ({"nowhere": {"deep": ["1"]}}, "nowhere: unknown key"),
    ],
)
def test_nonsense_from_the_command_line_is_told(given, words):
    base = yaml.safe_load(completed(""))
    with pytest.raises(config.ConfigError) as error:
        config.load(command_line.typed({**base, **given}, given))
    assert words in str(error.value)


def test_a_name_of_digits_is_given_as_the_remedy_says():
    parse = pytest.importorskip("snakemake.cli").parse_config
    assert parse(['study="2026"']) == {"study": 2026}
    given = parse(["study=!!str 2026", "data_root=!!str 017"])
    assert command_line.typed(given, given) == {"study": "2026", "data_root": "017"}


# --- documents after the schema -------------------------------------------------------------------

SCHEMA = config.json_schema()
#: what somebody might write anywhere
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**6),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1e-3", "yes", "017", "grid", "digits", "relu", "$HOME", "~"]),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(0, 3), max_size=2),
)


def _resolved(node):
    if "$ref" in node:
        return {**SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], **node}
    return node


def _documents(node, depth=0):
    """Values that a node of the schema allows, and now and then others."""
    node = _resolved(node)
    right = _allowed(node, depth)
    return st.integers(0, 149).flatmap(lambda dice: _ODD if dice == 77 else right)


def _allowed(node, depth):
    if "anyOf" in node or "oneOf" in node:
        kinds = node.get("anyOf") or node["oneOf"]
        return st.one_of([_documents(kind, depth) for kind in kinds])
    if "const" in node or "enum" in node:
        return st.sampled_from(node.get("enum") or [node["const"]])
    low = node.get("minimum", 0)
    match node.get("type"):
        case "integer":
            step = node.get("multipleOf", 1)
            high = min(node.get("maximum", low + 40), low + 40 * step)
            return st.integers(-(-low // step), high // step).map(lambda value: value * step)
        case "number":
            return st.floats(low, min(node.get("maximum", low + 10), low + 10))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            return st.sampled_from(["mine", "a.b", "other-one", "a2", "con", "x" * 70])
        case "array":
            items = _documents(node["items"], depth + 1)
            unique = repr if node.get("uniqueItems") else id
            return st.lists(items, min_size=1, max_size=3, unique_by=unique)
    # the data sets have any names of a form
    keys = node.get("properties") or dict.fromkeys(
        ["digits", "mnist", "mine"], node["additionalProperties"]
    )
    required = set(node.get("required", []))
    return st.fixed_dictionaries(
        {key: _documents(value, depth + 1) for key, value in keys.items() if key in required},
        optional={
            key: _documents(value, depth + 1)
            for key, value in keys.items()
            if key not in required and key != "analysis"
        },
    )


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(_documents(SCHEMA))
def test_documents_after_the_schema_are_studies_or_clear_errors(document):
    start = time.monotonic()
    text = yaml.safe_dump(document, sort_keys=False)
    try:
        reading.check_text(text, NAME)
        assert config.load(yaml.safe_load(text)).survey
    except config.ConfigError as error:
        faults = error.faults
        # one line each, that starts with its place
        assert faults and all(re.match(r"[^\n]+?: [^\n]+$", str(fault)) for fault in faults)  # noqa: PT018
    assert time.monotonic() - start < 10


def test_some_of_these_documents_are_studies():
    def is_study(document):
        try:
            return bool(config.load(document).survey)
        except config.ConfigError:
            return False

    # the first will do, however long
    some = settings(max_examples=2_000, derandomize=True, phases=[Phase.generate])
    find(_documents(SCHEMA), is_study, settings=some)
