"""Configuration: what is accepted, and that every fault is told, by name and all at once."""

import copy
import functools
import json
import operator
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sensigap import config, spec, units
from sensigap.config import documentation, models
from sensigap.config.faults import from_pydantic, written_path
from sensigap.factors import FACTORS

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = sorted((REPOSITORY / "config").glob("*.yaml"))
README = REPOSITORY / "config" / "README.md"
SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.json"

FULL = """
study: full
data_root: null
datasets:
  digits: {train_size: 400, subset_seed: 3, max_shift: null, flip: null, shift_mode: wrap,
    primary_share: 0.1, input_noise: null, fit_accuracy: null}
  cifar100: {}
defaults: {depth: 2, width: 64, unit: relu, optimizer: momentum, learning_rate: 0.03,
  batch_size: 64, gain: 1.0, steps: 1000, seed: 0, labels: "true", augmentation: false,
  augmentation_share: 1.0, input_noise: 0.0, stop: steps, target_loss: 0.0, precision: float32}
survey:
  - search: grid
    datasets: [digits]
    axes: {optimizer: [sgd, lbfgs], depth: [1, 2, 3], learning_rate: [1, 0.1], augmentation:
      [false]}
  - {search: random, draws: 20, seed: 0, axes: {width: [1, 2, 3, 4], seed: [0, 1, 2, 3, 4]}}
  - {search: rows, rows: [{depth: 4, width: 32}, {stop: loss, target_loss: 0.01}]}
factors:
  labels: {axes: {width: [64]}, datasets: null, draws: null}
  augmentation: {axes: {width: [64]}}
  unit: {axes: {width: [64], optimizer: [adam, lbfgs]}, datasets: [digits]}
  augmentation_10: {axes: {width: [64]}, draws: 2}
  batch: {axes: {width: [64], learning_rate: [0.1, 0.2], augmentation: [true],
    augmentation_share: [0.5]}}
  batch_loss: {axes: {width: [64], target_loss: [0.1, 0.01], input_noise: [0.1]}}
  lbfgs: {axes: {width: [64], learning_rate: [0.1]}}
  noise: {axes: {width: [64], augmentation: [true]}}
measures:
  transitions: {points: null, precision: 0.01, least: 150, seed: 0}
  complexity: {points: 200, draws: 10, drop: 0.1, seed: 0}
  ellipses: {share: 0.1, count: 8, angles: 192, seed: 0}
  slices: {networks: [{depth: 3, width: 100}], margin: 0.25, seed: 0}
analysis: {bootstrap: 2000, seed: 0, minimum_networks: 20, alpha: 0.05, equivalence: 0.2,
  point_networks: 30}
execution: {cohort_tflop: 2.0, checkpoint_seconds: 60}
"""


def small(**changes):
    """A small valid configuration with some of its sections replaced."""
    return {
        "study": "small",
        "datasets": {"digits": {}},
        "survey": [{"search": "grid", "axes": {"width": [16, 32]}}],
        **changes,
    }


def grid(**axes):
    return [{"search": "grid", "axes": axes}]


def rows(*networks):
    return [{"search": "rows", "rows": list(networks)}]


def faults_of(mapping):
    """Path -> text of every fault; each path once."""
    with pytest.raises(config.ConfigError) as error:
        config.load(mapping)
    faults = {written_path(fault.path): str(fault) for fault in error.value.faults}
    assert len(faults) == len(error.value.faults), "a place is told to be at fault twice"
    assert all(text in str(error.value) for text in faults.values())
    return faults


# --- what is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_study_of_the_repository_loads(path):
    mapping = yaml.safe_load(path.read_text())
    assert config.load(mapping).study == mapping["study"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_one_misspelt_key_fails(path):
    mapping = yaml.safe_load(path.read_text())
    mapping["survay"] = mapping.pop("survey")
    assert "did you mean survey?" in faults_of(mapping)["survay"]


def test_a_configuration_with_every_key_loads_as_written():
    mapping = yaml.safe_load(FULL)
    study = config.load(mapping)
    assert study.model_dump(exclude_unset=True) == mapping
    first = study.survey[0]
    assert isinstance(first, config.Grid)
    # in the models' order, whatever the file's, so that designs do not depend on it
    assert list(first.axes) == ["depth", "optimizer", "learning_rate", "augmentation"]
    assert all(type(rate) is float for rate in first.axes["learning_rate"])


def test_defaults_of_a_small_configuration():
    study = config.load(small())
    assert study.defaults.model_dump() == yaml.safe_load(FULL)["defaults"]
    assert study.factors.labels is None
    assert study.measures.ellipses.share == 0.1
    assert study.measures.slices.networks == []


def test_loading_leaves_the_mapping_alone():
    mapping = small(survey=[{"serch": "grid", "axes": {"width": [-1]}}])
    before = copy.deepcopy(mapping)
    faults_of(mapping)
    assert mapping == before


def test_null_stands_for_the_data_sets_own_default():
    study = config.load(
        small(
            datasets={
                "digits": {
                    "train_size": 300,
                    "subset_seed": 5,
                    "flip": True,
                    "shift_mode": "wrap",
                    "primary_share": 0.1,
                },
                "cifar100": {"subset_seed": 5, "input_noise": 0.25},
            }
        )
    )
    digits, cifar100 = study.dataset("digits"), study.dataset("cifar100")
    assert digits.model_dump() == {
        "train_size": 300,
        "subset_seed": 5,
        "max_shift": 1,
        "flip": True,
        "shift_mode": "wrap",
        "primary_share": 0.1,
        "input_noise": 0.47,
        "fit_accuracy": 1.0,
    }
    assert cifar100.model_dump() == {
        "train_size": 50_000,
        "subset_seed": 0,  # of the whole set a seed decides nothing
        "max_shift": 4,
        "flip": True,
        "shift_mode": "zeros",
        "primary_share": 0.1,
        "input_noise": 0.25,
        "fit_accuracy": 0.999,
    }
    assert [study.settings("transitions", name)["points"] for name in ("digits", "cifar100")] == [
        300,
        1_000,
    ]
    counted = config.load(small(measures={"transitions": {"points": 7}}))
    assert counted.settings("transitions", "digits")["points"] == 7


# --- faults ---------------------------------------------------------------------------------------


def test_five_faults_in_one_file_are_told_at_once():
    text = """
study: five
datasets: {digits: {train_size: 100}}
survey:
  - search: grid
    axes:
      width: [64, -5]
      unit: [relu, Hardtan]
      depth: []
      batch_size: [64, 128]
measures:
  transitions: {pionts: 100}
"""
    faults = faults_of(yaml.safe_load(text))
    assert list(faults) == [
        "survey[0].axes.width[1]",
        "survey[0].axes.unit[1]",
        "survey[0].axes.depth",
        "survey[0].axes.batch_size[1]",
        "measures.transitions.pionts",
    ]
    width, unit, depth, batch, points = faults.values()
    assert "found -5; allowed: a whole number from 1 to 65536" in width
    assert 'found "Hardtan"' in unit
    assert "relu, relu6, hardtanh, hardsigmoid; did you mean hardtanh?" in unit
    assert "found []; allowed: a list with at least one item" in depth
    assert "found 128; allowed: at most 100, the training set of digits" in batch
    assert "unknown key; allowed: points, precision, least, seed; did you mean points?" in points


TWICE = {"width": [8], "seed": [0, 1]}
FAULTS = {
    "integer as text": (
        small(defaults={"depth": "3"}),
        {"defaults.depth": ['found "3"', "write 3 without quotes"]},
    ),
    "truth value as integer": (small(defaults={"depth": True}), {"defaults.depth": ["found true"]}),
    "float as integer": (
        small(defaults={"steps": 100.0}),
        {"defaults.steps": ["found 100.0", "write 100"]},
    ),
    "exponent without a point": (
        small(defaults={"learning_rate": "1e-3"}),
        {"defaults.learning_rate": ['found "1e-3"', "1.0e-3"]},
    ),
    "integer as truth value": (
        small(defaults={"augmentation": 1}),
        {"defaults.augmentation": ["found 1; allowed: true or false"]},
    ),
    "labels without quotes": (
        small(survey=grid(labels=[True, "random"])),
        {"survey[0].axes.labels[0]": ['write "true" in quotes']},
    ),
    "null for a value": (
        small(defaults={"width": None}),
        {"defaults.width": ["found null", "leave the key out"]},
    ),
    "null for a mapping": (
        small(datasets={"digits": None}),
        {"datasets.digits": ["found null", "write {}"]},
    ),
    "a list where one value stands": (
        small(defaults={"depth": [1, 2]}),
        {"defaults.depth": ["found [1, 2]", "stand under axes"]},
    ),
    "one value where a list stands": (
        small(survey=grid(depth=3)),
        {"survey[0].axes.depth": ["found 3", "write [3]"]},
    ),
    "one value of the wrong type where a list stands": (
        small(survey=grid(depth="3", labels=True)),
        {
            "survey[0].axes.depth": ['found "3"', "write [3]"],
            "survey[0].axes.labels": ["found true", 'write ["true"]'],
        },
    ),
    "the word for a block": (
        small(survey="grid"),
        {"survey": ['found "grid"', "write [{search: grid, axes: {width: [16, 32]}}]"]},
    ),
    "words for blocks": (
        small(survey=["random", "rows"]),
        {
            "survey[0]": ["write {search: random, draws: 2, axes: {"],
            "survey[1]": ["write {search: rows, rows: [{"],
        },
    ),
    "a block without its list": (
        small(survey=grid(width=[8])[0]),
        {"survey": ["found {search", "put - before its first key"]},
    ),
    "a word for a row": (
        small(survey=[{"search": "rows", "rows": "relu"}]),
        {"survey[0].rows": ['found "relu"', "write [{width: 16, depth: 2}]"]},
    ),
    "null for what must be there": (
        small(survey=None),
        {"survey": ["found null; allowed: a list with at least one item, each a mapping"]},
    ),
    "null in a list": (
        small(survey=grid(width=[8, None])),
        {"survey[0].axes.width[1]": ["found null", "take it out of the list"]},
    ),
    "not a number": (
        small(defaults={"gain": float("nan")}),
        {"defaults.gain": ["found nan; allowed: a number from 0.001"]},
    ),
    "no gain": (
        small(survey=grid(gain=[1.0, 0])),
        {"survey[0].axes.gain[1]": ["found 0", "from 0.001"]},
    ),
    "no steps": (small(defaults={"steps": 0}), {"defaults.steps": ["found 0", "from 1"]}),
    "unknown hyper-parameter as an axis": (
        small(survey=grid(widht=[3])),
        {"survey[0].axes.widht": ["unknown key", "did you mean width?"]},
    ),
    "unknown hyper-parameter in a row": (
        small(survey=rows({"dept": 3})),
        {"survey[0].rows[0].dept": ["unknown key", "did you mean depth?"]},
    ),
    "unknown optimizer": (
        small(survey=grid(optimizer=["sgd", "L-BFGS"])),
        {"survey[0].axes.optimizer[1]": ['found "L-BFGS"', "did you mean lbfgs?"]},
    ),
    "unknown data set": (
        small(datasets={"digits": {}, "cifar_10": {}}),
        {"datasets.cifar_10": ["unknown data set", "fashion_mnist", "did you mean cifar10?"]},
    ),
    "unknown data set without settings": (
        small(datasets={"digits": {}, "minst": None}),
        {"datasets.minst": ["found null", "write {}"]},
    ),
    "a misspelt required key is one fault": (
        small(survey=[{"search": "grid", "axs": {"width": [3]}}]),
        {"survey[0].axs": ["did you mean axes?"]},
    ),
    "random search without draws": (
        small(survey=[{"search": "random", "axes": {"width": [3]}}]),
        {"survey[0].draws": ["this key is missing", "a whole number from 1"]},
    ),
    "unknown search and a fault inside": (
        small(survey=[{"search": "gird", "axes": {"width": [0]}}]),
        {
            "survey[0].search": ['found "gird"', "grid, random, rows", "did you mean grid?"],
            "survey[0].axes.width[0]": ["found 0"],
        },
    ),
    "a misspelt search is one fault": (
        small(survey=[{"serch": "grid", "axes": {"width": [3]}}]),
        {"survey[0].serch": ["unknown key", "did you mean search?"]},
    ),
    "no search": (
        small(survey=[{"rows": [{"width": 0}]}]),
        {"survey[0].search": ["missing"], "survey[0].rows[0].width": ["found 0"]},
    ),
    "a block that is no mapping": (small(survey=[7]), {"survey[0]": ["found 7", "a mapping"]}),
    "nothing but a name": (
        {"study": "x"},
        {"datasets": ["this key is missing"], "survey": ["this key is missing"]},
    ),
    "a name that leaves the folder": (small(study="../x"), {"study": ['found "../x"', "letters"]}),
    "a name that is taken": (small(study="datasets"), {"study": ["results/datasets is taken"]}),
    "no data set": (small(datasets={}), {"datasets": ["found {}", "at least one"]}),
    "angles": (
        small(measures={"ellipses": {"angles": 100}}),
        {"measures.ellipses.angles": ["found 100", "a multiple of 24"]},
    ),
    "few resamples": (
        small(analysis={"bootstrap": 100}),
        {"analysis.bootstrap": ["found 100", "from 2000"]},
    ),
    # between keys
    "no axis": (small(survey=grid()), {"survey[0].axes": ["found no axis"]}),
    "a value twice": (
        small(survey=grid(gain=[1, 2.0, 1.0])),
        {"survey[0].axes.gain[2]": ["found 1.0 again", "first at [0]"]},
    ),
    "a row twice": (
        small(survey=rows({"depth": 3}, {"depth": 3})),
        {"survey[0].rows[1]": ["found {depth: 3} again"]},
    ),
    "a data set twice": (
        small(survey=[{"search": "grid", "datasets": ["digits"] * 2, "axes": {"width": [3]}}]),
        {"survey[0].datasets[1]": ["again"]},
    ),
    "a data set that the study does not list": (
        small(survey=[{"search": "grid", "datasets": ["mnist"], "axes": {"width": [3]}}]),
        {"survey[0].datasets[0]": ['found "mnist"', "digits", "add mnist: {} under datasets"]},
    ),
    "axes on a data set that the factor does not cover": (
        small(
            datasets={"digits": {}, "mnist": {}},
            factors={
                "labels": {
                    "datasets": ["digits"],
                    "axes": {"width": [3]},
                    "by_dataset": {"mnist": {"steps": [3]}},
                }
            },
        ),
        {"factors.labels.by_dataset.mnist": ['found "mnist"', "covers: digits"]},
    ),
    "axes on a misspelt data set": (
        small(
            datasets={"mnist": {}},
            factors={"labels": {"axes": {"width": [3]}, "by_dataset": {"mnits": {"steps": [3]}}}},
        ),
        {"factors.labels.by_dataset.mnits": ["did you mean mnist?"]},
    ),
    "faults in axes on a data set": (
        small(
            factors={
                "labels": {
                    "axes": {"width": [3]},
                    "by_dataset": {
                        "digits": {"steps": [3, 3], "labels": ["random"], "batch_size": [501]}
                    },
                }
            }
        ),
        {
            "factors.labels.by_dataset.digits.steps[1]": ["again"],
            "factors.labels.by_dataset.digits.labels": ["own hyper-parameter"],
            "factors.labels.by_dataset.digits.batch_size[0]": ["at most 500"],
        },
    ),
    "more Jacobians than test images": (
        small(measures={"jacobian": {"points": 1298}}),
        {"measures.jacobian.points": ["found 1298", "at most 1297, the test set of digits"]},
    ),
    "points of transitions that are none of the Jacobians'": (
        small(measures={"jacobian": {"points": 200}}),
        {"measures.jacobian.points": ["found 200", "at least 300, the points of transitions"]},
    ),
    "points of transitions that are none of a data set's Jacobians'": (
        small(
            datasets={"digits": {"jacobian_points": 200}}, measures={"jacobian": {"points": 500}}
        ),
        {"datasets.digits.jacobian_points": ["found 200", "at least 300, the points of"]},
    ),
    "more of a data set's points than there are": (
        small(datasets={"digits": {"jacobian_points": 1298}}),
        {"datasets.digits.jacobian_points": ["found 1298", "at most 1297"]},
    ),
    "two orders of points": (
        small(measures={"jacobian": {"points": 400, "seed": 1}}),
        {"measures.jacobian.seed": ["found 1, and 0 for transitions"]},
    ),
    "a misspelt data set is one fault": (
        small(
            datasets={"mnits": {}},
            survey=[{"search": "grid", "datasets": ["mnist"], "axes": {"width": [3]}}],
        ),
        {"datasets.mnits": ["did you mean mnist?"]},
    ),
    "more training images than published": (
        small(datasets={"digits": {"train_size": 501}}),
        {"datasets.digits.train_size": ["found 501", "at most 500"]},
    ),
    "a translation out of the image": (
        small(datasets={"digits": {"max_shift": 8}}),
        {"datasets.digits.max_shift": ["found 8", "below 8"]},
    ),
    "more draws than combinations": (
        small(survey=[{"search": "random", "draws": 3, "axes": TWICE}]),
        {"survey[0].draws": ["found 3", "at most 2"]},
    ),
    "a default batch above the training set": (
        small(datasets={"digits": {"train_size": 50}}, survey=[*grid(width=[3]), *grid(width=[4])]),
        {"defaults.batch_size": ["found 64", "at most 50"]},
    ),
    "a batch above the smaller of two training sets": (
        small(datasets={"mnist": {}, "digits": {}}, survey=rows({"batch_size": 512})),
        {"survey[0].rows[0].batch_size": ["at most 500, the training set of digits"]},
    ),
    "a batch above the training set in a slice": (
        small(measures={"slices": {"networks": [{"batch_size": 501}]}}),
        {"measures.slices.networks[0].batch_size": ["found 501"]},
    ),
    "the whole training set as a minibatch": (
        small(
            factors={
                "batch": {"axes": {"width": [64], "batch_size": [500]}},
                "lbfgs": {"axes": {"width": [64], "batch_size": [500]}},
            }
        ),
        {
            "factors.batch.axes.batch_size[0]": ["below 500", 'for the side "minibatch" of a pair'],
            "factors.lbfgs.axes.batch_size[0]": ["below 500", 'the side "momentum, minibatch" of'],
        },
    ),
    "stop: loss without a target": (
        small(survey=rows({"stop": "loss"})),
        {"survey[0].rows[0].stop": ["without a target_loss"]},
    ),
    "stop: loss with target 0": (
        small(survey=grid(stop=["loss"], target_loss=[0.1, 0.0])),
        {"survey[0].axes.target_loss[1]": ["found 0.0", "above 0"]},
    ),
    "a target without stop: loss": (
        small(survey=rows({"target_loss": 0.1})),
        {"survey[0].rows[0].target_loss": ["only with stop: loss"]},
    ),
    "a default target that nothing uses": (
        small(defaults={"target_loss": 0.1}),
        {"defaults.target_loss": ["only where some network has stop: loss"]},
    ),
    "augmentation that does nothing": (
        small(
            datasets={"digits": {"max_shift": 0}},
            factors={"augmentation": {"axes": {"width": [64]}}},
        ),
        {"datasets.digits.max_shift": ["augmented networks are asked for"]},
    ),
    "augmentation with lbfgs": (
        small(survey=grid(optimizer=["sgd", "lbfgs"], augmentation=[False, True])),
        {"survey[0].axes.optimizer[1]": ["networks with augmentation", "a fixed full batch"]},
    ),
    "rounded products with lbfgs": (
        small(survey=grid(optimizer=["sgd", "lbfgs"], precision=["float32", "bf16"])),
        {"survey[0].axes.precision[1]": ["networks with lbfgs", "float32 or float64"]},
    ),
    "augmentation on both sides of the factor lbfgs": (
        small(factors={"lbfgs": {"axes": {"augmentation": [True], "input_noise": [0, 0.1]}}}),
        {
            "factors.lbfgs.axes.augmentation[0]": ["found true", "false in the factor lbfgs"],
            "factors.lbfgs.axes.input_noise[1]": ["found 0.1", "0 in the factor lbfgs"],
        },
    ),
    "input noise with lbfgs": (
        small(survey=grid(optimizer=["sgd", "lbfgs"], input_noise=[0.0, 0.2])),
        {"survey[0].axes.optimizer[1]": ["networks with input_noise", "a block of its own"]},
    ),
    "input noise of the defaults with lbfgs": (
        small(
            defaults={"input_noise": 0.2},
            survey=grid(optimizer=["lbfgs"]),
            factors={"lbfgs": {"axes": {"width": [8]}}},
        ),
        {
            "survey[0].axes.optimizer[0]": ["networks with input_noise"],
            "defaults.input_noise": ["found 0.2", "0 in the factor lbfgs"],
        },
    ),
    "a share of augmentation with lbfgs": (
        small(survey=rows({"optimizer": "lbfgs", "augmentation_share": 0.5})),
        {
            "survey[0].rows[0].optimizer": ["networks with augmentation_share"],
            "survey[0].rows[0].augmentation_share": ["found 0.5", "only with augmentation"],
        },
    ),
    "a share without augmentation": (
        small(survey=grid(augmentation=[False], augmentation_share=[1, 0.5])),
        {"survey[0].axes.augmentation_share[1]": ["found 0.5", "only with augmentation: true"]},
    ),
    "a default share that nothing uses": (
        small(defaults={"augmentation_share": 0.5}),
        {"defaults.augmentation_share": ["only where some network has augmentation: true"]},
    ),
    "no share": (
        small(defaults={"augmentation_share": 0}, datasets={"digits": {"primary_share": 1.5}}),
        {
            "defaults.augmentation_share": ["found 0", "from 0.001 to 1"],
            "datasets.digits.primary_share": ["found 1.5", "from 0.001 to 1"],
        },
    ),
    "noise below zero": (
        small(defaults={"input_noise": -0.1}, datasets={"digits": {"input_noise": 0}}),
        {
            "defaults.input_noise": ["found -0.1", "from 0 to 100"],
            "datasets.digits.input_noise": ["found 0", "from 0.001"],
        },
    ),
    "an unknown way of shifting": (
        small(datasets={"digits": {"shift_mode": "wrapped"}}),
        {"datasets.digits.shift_mode": ['found "wrapped"', "zeros, wrap", "did you mean wrap?"]},
    ),
    "the noise factor with lbfgs": (
        small(factors={"noise": {"axes": {"optimizer": ["sgd", "lbfgs"]}}}),
        {"factors.noise.axes.optimizer[1]": ["networks with input_noise"]},
    ),
    "a loss of 0 to stop at": (
        small(factors={"batch_loss": {"axes": {"target_loss": [0.1, 0.0]}}}),
        {"factors.batch_loss.axes.target_loss[1]": ["found 0.0", "above 0"]},
    ),
    "the augmentation factor with lbfgs": (
        small(factors={"augmentation": {"axes": {"optimizer": ["lbfgs"]}}}),
        {"factors.augmentation.axes.optimizer[0]": ["networks with augmentation"]},
    ),
    "the factor's own axis": (
        small(
            factors={
                "unit": {"axes": {"unit": ["relu"], "width": [8]}},
                "batch": {"axes": {"optimizer": ["sgd"]}},
                "batch_loss": {"axes": {"stop": ["loss"]}},
                "augmentation": {"axes": {"augmentation_share": [0.1]}},
            }
        ),
        {
            "factors.unit.axes.unit": ["own hyper-parameter"],
            "factors.batch.axes.optimizer": ["own hyper-parameter"],
            "factors.batch_loss.axes.stop": ["own hyper-parameter"],
            "factors.augmentation.axes.augmentation_share": ["own hyper-parameter"],
        },
    ),
    "several values that the full batch does not use": (
        small(
            factors={
                "lbfgs": {"axes": {"width": [64], "steps": [1, 2]}},
                "batch": {"axes": {"steps": [1, 2], "batch_size": [8, 16]}},
            }
        ),
        {
            "factors.lbfgs.axes.steps": [
                'found 2 values; allowed: one value: the side "L-BFGS, full batch" does not use',
                "several pairs",
            ],
            "factors.batch.axes.batch_size": [
                'found 2 values; allowed: one value: the side "full batch" does not use it',
                "several pairs",
            ],
        },
    ),
    "too few images for ellipses": (
        small(datasets={"digits": {"train_size": 20}}, defaults={"batch_size": 8}),
        {"datasets.digits.train_size": ["at least 21", "measures.ellipses.share to 0"]},
    ),
    "too few images for slices": (
        small(
            datasets={"digits": {"train_size": 20}},
            defaults={"batch_size": 1},
            measures={"ellipses": {"share": 0}, "slices": {"networks": [{"depth": 1}]}},
        ),
        {"datasets.digits.train_size": ["at least 21 for slices", "slices.networks to []"]},
    ),
    "more points than test images": (
        small(measures={"transitions": {"points": 1298}}),
        {"measures.transitions.points": ["found 1298", "at most 1297, the test set of digits"]},
    ),
}


@pytest.mark.parametrize(("mapping", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_named(mapping, expected):
    faults = faults_of(mapping)
    assert set(faults) == set(expected)
    for path, parts in expected.items():
        assert [part for part in parts if part not in faults[path]] == []


@pytest.mark.parametrize("mapping", [None, [], "study: x"])
def test_a_file_that_is_no_mapping(mapping):
    assert "a mapping with keys among study" in faults_of(mapping)["the configuration"]


def test_lawful_neighbours_of_faults():
    """What the rules between keys must leave alone."""
    for mapping in (
        # lbfgs takes the full batch, whatever the batch size says
        small(datasets={"digits": {"train_size": 50}}, defaults={"optimizer": "lbfgs"}),
        small(survey=rows({"batch_size": 500})),
        # without seed among the axes every draw has a seed of its own
        small(survey=[{"search": "random", "draws": 3, "axes": {"width": [8]}}]),
        small(survey=[{"search": "random", "draws": 2, "axes": TWICE}]),
        small(defaults={"stop": "loss", "target_loss": 0.1}),
        small(defaults={"target_loss": 0.1}, survey=grid(stop=["steps", "loss"])),
        small(datasets={"digits": {"max_shift": 0}}),
        # a share of the defaults is for those networks that are augmented
        small(
            defaults={"augmentation_share": 0.5},
            survey=[*grid(augmentation=[False, True]), *grid(optimizer=["lbfgs"])],
            factors={"lbfgs": {"axes": {"width": [8]}}},
        ),
        small(factors={"batch_loss": {"axes": {"width": [8]}}}),
        small(factors={"batch": {"axes": {"augmentation": [True], "input_noise": [0.1]}}}),
        small(datasets={"digits": {"max_shift": 0, "flip": True}}, defaults={"augmentation": True}),
        small(datasets={"digits": {"train_size": 21}}, defaults={"batch_size": 21}),
    ):
        config.load(mapping)


# --- no input gives anything but a Study or a ConfigError -----------------------------------------


def _paths(value, path=()):
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for step, item in items:
        yield from _paths(item, (*path, step))


_SOUND = yaml.safe_load(FULL)
_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**12),
    st.floats(),
    st.sampled_from(["", "relu", "true", "1e-3", "mnist", "grid"]),
    st.just([]),
    st.just({}),
    st.just([[], {}, None]),
    st.just({"width": 3, "depth": [1], "search": ["grid"], 3: {}}),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(_paths(_SOUND))[1:]),
            _JUNK,
            st.sampled_from(["put", "rename", "drop"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_damage_anywhere_is_told_without_a_traceback(damages):
    mapping = copy.deepcopy(_SOUND)
    for (*parents, last), junk, how in damages:
        place = mapping
        try:
            for step in parents:
                place = place[step]
            if how == "put" or isinstance(place, list):
                place[last] = copy.deepcopy(junk)  # hypothesis shares it between examples
            elif how == "drop":
                del place[last]
            else:
                place[f"{last}x"] = place.pop(last)
        except (AttributeError, KeyError, IndexError, TypeError):
            continue  # an earlier damage took the place away
    try:
        config.load(mapping)
    except config.ConfigError:
        assert faults_of(mapping)


def _set(mapping, path, value):
    """A mapping with another value at a path."""
    changed = copy.deepcopy(mapping)
    *parents, last = path
    functools.reduce(operator.getitem, parents, changed)[last] = value
    return changed


def _fault_at(mapping, path):
    """The fault of a value by itself, whatever other keys hold; None where there is none."""
    try:
        models.Study.model_validate(mapping)
    except ValidationError as error:
        return next((f for f in from_pydantic(error, mapping) if f.path[: len(path)] == path), None)
    return None


@pytest.mark.parametrize("path", list(_paths(_SOUND))[1:], ids=written_path)
def test_what_a_remedy_says_is_no_fault(path):
    odd = [None, *("grid", "rows", "random", "3", "0.5", "1e-3", "true"), 0, 3, 2.0, True]
    for value in odd:
        fault = _fault_at(_set(_SOUND, path, value), path)
        remedy = fault.remedy if fault else ""
        if remedy.startswith("write "):
            meant = re.split(" without quotes| in quotes| to take every", remedy[6:])[0]
            assert _fault_at(_set(_SOUND, path, yaml.safe_load(meant)), path) is None, str(fault)
        if remedy.startswith(("leave the key out", "take it out")):
            without = copy.deepcopy(_SOUND)
            *parents, last = path
            del functools.reduce(operator.getitem, parents, without)[last]
            models.Study.model_validate(without)


# --- what is made from the models -----------------------------------------------------------------


def test_names_are_those_of_the_library():
    axes = config.Axes.__annotations__
    assert set(axes) == set(config.Row.__annotations__) == set(config.Defaults.model_fields)

    # every field of a network that a data set does not decide is a key
    decided = {"train_size", "subset_seed", "max_shift", "flip", "shift_mode", "fit_accuracy"}
    assert set(axes) == set(spec.HYPERPARAMETERS) - decided | {"augmentation"}
    keys = config.json_schema()["$defs"]["Defaults"]["properties"]
    assert keys["unit"]["enum"] == list(units.UNITS)
    assert keys["optimizer"]["enum"] == list(spec.OPTIMIZERS)
    assert list(config.Factors.model_fields) == list(FACTORS)


def _keys(node, path=()):
    """(path, schema of the key) of every key that the schema describes, definitions included."""
    for name, value in node.get("properties", {}).items():
        yield (*path, name), value
    for name, definition in node.get("$defs", {}).items():
        yield from _keys(definition, (name,))


def test_every_key_is_described_and_no_mapping_takes_others():
    schema = config.json_schema()
    keys = dict(_keys(schema))
    assert len(keys) > 70
    assert [path for path, key in keys.items() if not key.get("description")] == []
    for definition in [schema, *schema["$defs"].values()]:
        assert definition["additionalProperties"] is False
        assert definition["description"]


def test_the_schema_file_is_up_to_date():
    made = json.dumps(config.json_schema(), indent=2) + "\n"
    assert SCHEMA.read_text() == made, (
        "workflow/schemas/config.schema.json is out of date; make it again with\n"
        "  python -m sensigap.config > workflow/schemas/config.schema.json"
    )


def test_the_readme_is_up_to_date():
    page = README.read_text()
    assert page == documentation.updated(page), (
        "the tables of config/README.md are out of date; make them again with\n"
        "  python -m sensigap.config config/README.md"
    )


def test_the_readme_holds_every_key_with_default_and_description():
    page = README.read_text()
    for name, model in vars(models).items():
        fields = getattr(model, "model_fields", {}) if name in config.__all__ else {}
        for key, field in fields.items():
            if name == "ResolvedDataset":
                continue
            lines = [line for line in page.splitlines() if line.startswith(f"| `{key}` |")]
            lines = [line for line in lines if f"| {field.description} |" in line]
            assert lines, f"config/README.md lacks key {key} of {name} with its description"
            if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
                assert any(f"`{json.dumps(field.default)}`" in line for line in lines)


def test_the_readmes_example_loads():
    example = README.read_text().split("```yaml\n")[1].split("```")[0]
    assert config.load(yaml.safe_load(example)).study == "tiny"


def test_a_page_without_the_marks_is_refused():
    with pytest.raises(ValueError, match="tables"):
        documentation.updated("# a page")


def test_the_schema_is_valid_and_agrees_with_the_models():
    validator = jsonschema.Draft202012Validator(config.json_schema())
    validator.check_schema(config.json_schema())
    for path in EXAMPLES:
        assert list(validator.iter_errors(yaml.safe_load(path.read_text()))) == []
    assert list(validator.iter_errors(yaml.safe_load(FULL))) == []
    for mapping in (small(studie="x"), small(defaults={"width": -1}), small(survey=grid(depth=[]))):
        assert list(validator.iter_errors(mapping)) != []


def test_the_command_writes_the_schema():
    done = subprocess.run(
        [sys.executable, "-m", "sensigap.config"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == config.json_schema()


def test_the_configuration_loads_without_heavy_packages():
    code = "import sys, sensigap.config; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "torchvision", "pandas", "xarray", "zarr", "sklearn", "scipy", "statsmodels"}
    assert heavy & set(done.stdout.split()) == set()
