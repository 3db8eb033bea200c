# The validated study, its design, the plan of cohorts and the code's digests, for all stages.
import hashlib
import sys
from pathlib import Path

REPOSITORY = Path(workflow.basedir)
# for an environment in which the package is not installed, jobs included
for folder in (REPOSITORY / "src", REPOSITORY / "workflow" / "support"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import yaml
from code_digest import code_digest
from environment import add_to_python_path
from run_summary import say_report, show_summary

from sensigap import cohorts
from sensigap.config import ConfigError, load
from sensigap.design import design, in_ellipses, table
from sensigap.figure_names import FIGURES
from sensigap.training.devices import has_gpu

add_to_python_path(REPOSITORY / "src", REPOSITORY / "workflow" / "support")

try:
    STUDY = load(config)
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(1)

MEMBERS = design(STUDY)
PLAN_FILE = f"results/{STUDY.study}/plan.csv"
try:
    PLAN = cohorts.extend(
        cohorts.read_plan(PLAN_FILE),
        [member.spec for member in MEMBERS.values()],
        STUDY.execution.cohort_tflop * 1e12,
    )
except cohorts.PlanError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
COHORTS = cohorts.members(PLAN, MEMBERS)
COHORT_SPECS = cohorts.specs_by_cohort(PLAN)
# whoever is in the plan: a network that leaves the study measures nothing again
WITH_ELLIPSES = [
    c for c in COHORTS if any(in_ellipses(STUDY, s.id) for s in COHORT_SPECS[c])
]
WITH_SLICES = cohorts.members(PLAN, [n for n, m in MEMBERS.items() if m.in_slices])
REPORT = f"results/{STUDY.study}/report.html"
# what a job takes that can use a device, where this host has any; on a cluster the profile says so
GPUS = 1 if has_gpu() else 0


def code(script):
    """The digest of a script and the library modules that it imports, to trigger its stage."""
    return code_digest(REPOSITORY / "workflow" / "scripts" / script, REPOSITORY / "src")


def design_digest():
    """A digest of the design table."""
    return hashlib.sha256(table(MEMBERS).encode()).hexdigest()[:16]


def dataset_of(cohort):
    """The data set of a cohort, whose name is <dataset>-<digest>."""
    return cohort.rpartition("-")[0]


def dataset_store(wildcards):
    """The data set that a cohort learns."""
    return f"results/datasets/{dataset_of(wildcards.cohort)}.zarr"


def cohort_stores(name, dataset=None, among=None):
    """The stores of one name of the cohorts, of one data set or of all."""
    return [
        f"results/{STUDY.study}/cohorts/{cohort}/{name}"
        for cohort in (COHORTS if among is None else among)
        if dataset in (None, dataset_of(cohort))
    ]


def cohort_files():
    """Every file of every cohort."""
    return [
        *cohort_stores("weights.safetensors"),
        *cohort_stores("training.zarr"),
        *cohort_stores("jacobian.zarr"),
        *cohort_stores("transitions.zarr"),
        *cohort_stores("complexity.zarr"),
        *cohort_stores("ellipses.zarr", among=WITH_ELLIPSES),
        *cohort_stores("slices.zarr", among=WITH_SLICES),
    ]


def surveys():
    """The survey of every data set that has networks."""
    names = dict.fromkeys(dataset_of(cohort) for cohort in COHORTS)
    return [f"results/{STUDY.study}/survey/{name}.zarr" for name in names]


def configuration_text():
    """The whole configuration, defaults included, as YAML."""
    return yaml.safe_dump(STUDY.model_dump(mode="json"), sort_keys=False)


show_summary(
    main=workflow.is_main_process,
    study=STUDY.study,
    report_path=REPORT,
    costs={cohort: sum(map(cohorts.flops, COHORT_SPECS[cohort])) for cohort in COHORTS},
)
