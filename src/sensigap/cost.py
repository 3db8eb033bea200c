"""What networks cost to train and to measure: the one cost model.

It cuts cohorts, sizes the jobs' memory and time, foretells a run and says how far it is. Costs are
counted in operations: those of the matrix products, and, in their unit, what is done to single
numbers beside them. Rates are of one core of a processor or of one GPU; earlier timings correct
them, see `sensigap.estimate`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sensigap.datasets.known import DatasetFacts, Sizes
from sensigap.declarations import MEASURES
from sensigap.declarations.base import weights_between
from sensigap.spec import NetworkSpec

#: operations a second of one core, fitted to benchmarks/README.md
CORE_RATE = 8e10
#: of a GPU; a guess until timings say better
GPU_RATE = 1e13
#: seconds of a job beside its work: starting Python, importing, reading, writing
START_S = 3.0
GPU_START_S = 12.0

#: operations that an activation costs in a step beside the products, and a network's step itself
_AN_ACTIVATION = 400.0
_A_STEP = 4e5
#: operations that a number of input noise costs in a step: 2 ns
_A_NOISE = 160.0
#: evaluations of a network that L-BFGS makes of the full batch.
#: ASSUME: it ends by its tolerances after about a tenth of 100 steps of 25 evaluations
LBFGS_EVALUATIONS = 250
#: how often a network is looked at while it trains, see `training.schedule`
_CHECKS = 25

_GIB = 2**30
#: bytes of a process that has imported what it needs, on a processor and with a GPU
_PROCESS = 0.8 * _GIB
_GPU_PROCESS = 4.0 * _GIB


def parameters(spec: NetworkSpec, facts: Sizes) -> int:
    """Weights and biases of a network."""
    return sum(weights_between(spec, facts)) + spec.width * spec.depth + facts.classes


def training_flops(spec: NetworkSpec, facts: Sizes) -> float:
    """Operations of training a network, its checks included."""
    weights = sum(weights_between(spec, facts))
    images = spec.train_size if spec.optimizer == "lbfgs" else spec.batch_size
    steps = LBFGS_EVALUATIONS if spec.optimizer == "lbfgs" else spec.steps
    # forward, gradient of the weights, gradient of the inputs (not of the first layer's)
    products = 2.0 * images * (3 * weights - facts.inputs * spec.width)
    step = products + _AN_ACTIVATION * images * spec.width * spec.depth + _A_STEP
    if spec.input_noise:
        step += _A_NOISE * images * facts.inputs
    looks = 2.0 * weights * (_CHECKS * spec.train_size + facts.test_size)
    return step * steps + looks


def measuring_flops(
    measure: str, spec: NetworkSpec, facts: DatasetFacts, settings: Mapping[str, Any]
) -> float:
    """Operations of one measure of a network."""
    return MEASURES[measure].flops(spec, facts, settings)


def cohort_cost(spec: NetworkSpec, facts: DatasetFacts) -> float:
    """What a network adds to its cohort: training, Jacobians and transitions by their defaults.

    It hangs on the network alone, not on what a study asks to be measured, so that studies cut
    common networks alike.
    """
    return training_flops(spec, facts) + sum(
        measuring_flops(name, spec, facts, _defaults(name, facts))
        for name in ("jacobian", "transitions")
    )


def _defaults(measure: str, facts: DatasetFacts) -> dict[str, Any]:
    return {
        setting.name: getattr(facts, setting.by_dataset) if setting.by_dataset else setting.default
        for setting in MEASURES[measure].settings
    }


def seconds(flops: float, *, gpu: bool = False) -> float:
    """Wall seconds of a job with so much work, on one core or on a GPU."""
    if gpu:
        return GPU_START_S + flops / GPU_RATE
    return START_S + flops / CORE_RATE


def weights_bytes(specs: Iterable[NetworkSpec], facts: Sizes) -> float:
    """Bytes of the networks' weights as they are kept."""
    return sum(parameters(s, facts) * (8.0 if s.precision == "float64" else 4.0) for s in specs)


def images_bytes(facts: DatasetFacts) -> float:
    """Bytes of a data set in memory: as published, and standardised in float32."""
    return 5.0 * facts.inputs * (facts.train_size + facts.test_size)


def training_bytes(
    specs: Iterable[NetworkSpec], facts: DatasetFacts, *, gpu: bool = False
) -> float:
    """Memory of a training job: images, weights of those that are done, and those being written."""
    specs = list(specs)
    process = _GPU_PROCESS if gpu else _PROCESS
    largest = max(
        parameters(spec, facts) + 2 * spec.batch_size * spec.width * spec.depth for spec in specs
    )
    # the images of a step, which a full batch copies
    step = 4.0 * facts.inputs * max(spec.batch_size for spec in specs)
    kept = 1.5 * images_bytes(facts) + 3 * weights_bytes(specs, facts)
    return process + kept + step + 8 * 4.0 * largest


def measuring_bytes(
    measure: str,
    specs: Iterable[NetworkSpec],
    facts: DatasetFacts,
    settings: Mapping[str, Any],
    *,
    gpu: bool = False,
) -> float:
    """Memory of a job that measures a cohort."""
    specs = list(specs)
    process = _GPU_PROCESS if gpu else _PROCESS
    kept = len(specs) * MEASURES[measure].stored(facts, settings)
    # a path of the widest network: its crossings' pre-activations in float64, three arrays of them
    widest = max(spec.width**2 * spec.depth for spec in specs)
    path = 3 * 8.0 * widest * facts.width / 2
    return process + 1.5 * images_bytes(facts) + 2 * weights_bytes(specs, facts) + 2.5 * kept + path


def stored_bytes(
    measure: str, specs: Iterable[NetworkSpec], facts: DatasetFacts, settings: Mapping[str, Any]
) -> float:
    """Bytes that a measure keeps of a cohort, before compression."""
    return len(list(specs)) * MEASURES[measure].stored(facts, settings)
