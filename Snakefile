# The study, stage by stage: configuration -> design -> data sets -> networks -> measures -> survey ->
# analysis -> figures -> report. `snakemake --cores N` makes results/<study>/report.html.
from snakemake.utils import min_version

min_version("9.10")


# `configfile:` and `--configfile` are merged key by key, so the default study's axes would leak into
# every other one
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config/config.yaml"


include: "workflow/rules/common.smk"


# a login node may reach the internet, compute nodes seldom do
localrules:
    all,
    dataset,
    design,


wildcard_constraints:
    study=STUDY.study,
    dataset="|".join(STUDY.datasets),
    cohort="|".join(COHORTS),


include: "workflow/rules/design.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/measures.smk"
include: "workflow/rules/survey.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        # the cohorts' files by name: a deleted intermediate is not made again for its readers' sake
        cohort_files(),
        surveys(),
        f"results/{STUDY.study}/report.html",


onstart:
    cohorts.write_plan(PLAN, PLAN_FILE)
