# The study's work plan, and what the rules ask of it.
import sys
from pathlib import Path

REPOSITORY = Path(workflow.current_basedir).parents[1]
# for an environment in which the package is not installed, jobs included
for folder in (REPOSITORY / "src", REPOSITORY / "workflow" / "support"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import yaml
from cluster import gpus_per_job, submits_jobs
from environment import add_to_python_path
from job import note_of
from running import refusal_beside_another

from sensigap import estimate, progress
from sensigap.cohorts import CohortError
from sensigap.config import ConfigError
from sensigap.config.command_line import typed
from sensigap.config.reading import check_file
from sensigap.datasets.places import DatasetError
from sensigap.declarations import MEASURES
from sensigap.figure_names import FIGURE_SUFFIXES, FIGURES
from sensigap.workplan import OldResultsError, WorkPlan

add_to_python_path(REPOSITORY / "src", REPOSITORY / "workflow" / "support")

# the results folder as this workflow writes it, also under the prefix of a module that imports it
RESULTS = Path(rules.dataset.output[0]).parents[1]
# what a job asks for that can use a device. In the rules, not in a profile: `--set-resources` on the
# command line takes the place of a profile's whole section
GPU_LIMIT = getattr(workflow.global_resources.get("gpu"), "value", None)
GPUS = gpus_per_job(workflow.is_main_process, GPU_LIMIT)
SET_RESOURCES = workflow.resource_settings.overwrite_resources or {}
ON_GPU = bool(GPUS) or any(given.get("gpu") for given in SET_RESOURCES.values())


# where a scheduler passes no environment on, the job's command line carries it
envvars:
    "SENSIGAP_GPUS_PER_JOB",


# Snakemake itself would say how to take its lock from the other run
if workflow.is_main_process and not {"-n", "--dry-run", "--dryrun"} & {*sys.argv}:
    if refusal := refusal_beside_another(Path.cwd()):
        print(refusal, file=sys.stderr)
        sys.exit(1)

try:
    if not workflow.modifier.skip_configfile:
        # a module's configuration is a mapping, and these are its importer's
        for path in workflow.configfiles if workflow.is_main_process else ():
            check_file(path)
        # in place: jobs read it too
        config.update(typed(config, workflow.config_settings.config))
    RUN = WorkPlan(config, RESULTS, look=workflow.is_main_process)
    if workflow.is_main_process:
        RUN.refuse_impossible(gpu=ON_GPU)
except (ConfigError, CohortError, DatasetError, OldResultsError) as error:
    print(error, file=sys.stderr)
    sys.exit(1)


def side_by_side():
    """How many jobs run at the same time: on a cluster, on this host's cores, on its GPUs."""
    asked = workflow.resource_settings
    most = asked.nodes or asked.cores
    return min(most, GPU_LIMIT) if most and GPU_LIMIT and GPUS else most


STUDY = f"results/{RUN.study.study}"
ESTIMATE = estimate.Estimate(
    RUN,
    gpu=ON_GPU,
    side_by_side=side_by_side(),
    queued=workflow.is_main_process and submits_jobs(),
)
if workflow.is_main_process:
    # said before the run, and handed to whoever follows it
    print(ESTIMATE.text(), file=sys.stderr)
    progress.expect(ESTIMATE.expected(str(RUN.folder / "report.html")))


def data_store(cohort):
    """The data set that a cohort learns."""
    return f"results/datasets/{RUN.data(cohort)}.zarr"


def as_written(path):
    """Where a file of the results folder lies, for a job that finds it by itself."""
    return RESULTS / Path(path).relative_to("results")


def if_needed(path, made):
    """An input that reruns nothing by its age, nor by being made again.

    `ancient` protects from newer time stamps only: an input that is missing and comes back reruns
    whoever names it. So those whose own output is there do not name it then.
    """
    return ancient(path) if not made or as_written(path).exists() else []


def cohort_files(name, among=None, dataset=None):
    """One file or store of several cohorts' networks."""
    chosen = RUN.cohorts if among is None else among
    if dataset:
        chosen = RUN.of_dataset(dataset, chosen)
    return [f"results/networks/{cohort}/{name}" for cohort in chosen]


def measure_stores(measure, dataset=None):
    """The stores of a measure, of one data set or of all."""
    among = RUN.measured(measure)
    if dataset:
        among = RUN.of_dataset(dataset, among)
    return [f"{STUDY}/measures/{cohort}/{measure}.zarr" for cohort in among]


def surveys():
    """The survey of every data set that has networks."""
    return [f"{STUDY}/survey/{dataset}.zarr" for dataset in RUN.datasets]


def configuration_text():
    """The whole configuration, defaults included, as YAML."""
    return yaml.safe_dump(RUN.study.model_dump(mode="json"), sort_keys=False)


# --- outputs that are damaged, or that settings or code have left behind ----------------------------


def marker(output, written):
    """What is to be made first, so that an output is made again that was written then."""
    return [f".snakemake/sensigap/stale/{written}/{output}"] if written else []


# without Snakemake's own, the notes that jobs left mean nothing
NOTES_COUNT = any(Path(".snakemake/metadata").glob("*"))


def noted(output):
    """Whether the job that made an output left a note beside Snakemake's own.

    Then Snakemake compares the params by itself; a marker, an input that comes and goes, would rerun
    the job once more where sets of inputs count.
    """
    return NOTES_COUNT and note_of(as_written(output)).exists()


def stale(output, made_by):
    """The marker of an output that is damaged, or carries another digest than it should."""
    expected = None if noted(output) else made_by
    return marker(output, RUN.stale(as_written(output), expected))


def stale_training(cohort):
    """Of a cohort's training."""
    output = f"results/networks/{cohort}/training.zarr"
    return marker(output, RUN.stale_training(cohort, damage_only=noted(output)))


def stale_measure(measure, cohort):
    """Of a measure of a cohort."""
    made_by = RUN.made_by(measure, RUN.settings(measure, cohort))
    return stale(f"{STUDY}/measures/{cohort}/{measure}.zarr", made_by)


def stale_survey(dataset):
    """Of a survey."""
    return stale(
        f"{STUDY}/survey/{dataset}.zarr",
        RUN.made_by("survey", survey_settings(dataset)),
    )


def stale_record(stage):
    """Of tables, figures and report."""
    return stale(
        f"{STUDY}/{RECORDS[stage]}", RUN.made_by(stage, analysis_settings(stage))
    )


def pilot_settings():
    """What decides the pilot's findings beside the cohorts trained."""
    analysis = RUN.study.analysis
    needed = analysis.minimum_networks, analysis.minimum_architectures
    return {"design": RUN.design_digest(), "needed": needed}


def pilot_before(cohort=None):
    """That the pilot has passed, where that decides whether what follows is done at all.

    Args:
        cohort: one to be trained; None: anything else.
    """
    waits = RUN.study.execution.pilot == "stop" and RUN.pilots
    if not waits or cohort in RUN.pilot_cohorts:
        return []
    return ancient(f"{STUDY}/pilot.passed")


def stale_table(output):
    """Of the design, or of the networks of a cohort."""
    checksum = note_of(as_written(output)).read_text() if noted(output) else ""
    return marker(output, RUN.stale_table(as_written(output), checksum))


def all_stale():
    """Every marker there is; says what is damaged, or of another design."""
    found = [
        *(m for path in cohort_files("networks.csv") for m in stale_table(path)),
        *(m for cohort in RUN.cohorts for m in stale_training(cohort)),
        *(
            m
            for name in MEASURES
            for cohort in RUN.measured(name)
            for m in stale_measure(name, cohort)
        ),
        *stale_table(f"{STUDY}/design.csv"),
        *(m for dataset in RUN.datasets for m in stale_survey(dataset)),
        *(m for stage in AFTER_SURVEYS for m in stale_record(stage)),
    ]
    for path, why in RUN.faults.items():
        print(f"{path} is made again: {why}.", file=sys.stderr)
    return found


# stage -> the record that lies beside its files
RECORDS = {
    "pilot": "pilot.record.json",
    "claims": "claims.record.json",
    "leaderboard": "leaderboard.record.json",
    "figures": "figures/record.json",
    "report": "report.record.json",
}
AFTER_SURVEYS = tuple(stage for stage in RECORDS if stage != "pilot")


def survey_settings(dataset):
    """What decides a survey beside the stores that it is put together from."""
    return {"design": RUN.design_digest(dataset), "cohorts": RUN.of_dataset(dataset)}


def analysis_settings(stage):
    """What decides tables, figures and report beside the surveys."""
    settings = {"analysis": RUN.study.analysis.model_dump(), "datasets": RUN.datasets}
    return settings | (
        {"configuration": configuration_text()} if stage == "report" else {}
    )


def everything():
    """What `all` asks for. Cohorts' files too: Snakemake makes no deleted file for its readers."""
    return [
        *cohort_files("networks.csv"),
        *cohort_files("weights.safetensors"),
        *cohort_files("training.zarr"),
        *(store for name in MEASURES for store in measure_stores(name)),
        *([f"{STUDY}/pilot.csv"] if RUN.pilots else []),
        f"{STUDY}/design.csv",
        *surveys(),
        *analysis_files(),
        *all_stale(),
    ]


def analysis_files():
    """Tables, figures and report, with their records."""
    return [
        f"{STUDY}/claims.csv",
        f"{STUDY}/leaderboard.csv",
        *figure_files(),
        f"{STUDY}/report.html",
        f"{STUDY}/networks.csv",
        f"{STUDY}/networks.columns.csv",
        f"{STUDY}/tables_and_figures.zip",
        *(f"{STUDY}/{RECORDS[stage]}" for stage in AFTER_SURVEYS),
    ]


def figure_files():
    """Every file of every figure."""
    return [
        f"{STUDY}/figures/{figure}{suffix}"
        for figure in FIGURES
        for suffix in FIGURE_SUFFIXES
    ]
