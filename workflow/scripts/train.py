"""Trains the networks of one cohort."""

from job import job, limit_threads
from sensitivity.training.cohort import TrainingSettings, train_cohort

from sensitivity.cohorts import cohort_specs, read_plan

if __name__ == "__main__":
    with job(snakemake):
        limit_threads(snakemake.threads)
        wildcards = snakemake.wildcards
        train_cohort(
            cohort_specs(read_plan(f"results/{wildcards.study}/plan.csv"), wildcards.cohort),
            snakemake.input.dataset,
            snakemake.output.weights,
            snakemake.output.curves,
            TrainingSettings(**snakemake.config.get("execution", {})),
        )
