"""Trains the networks of one cohort."""

from job import job, limit_threads
from sensitivity.cohorts import cohort_specs, read_plan
from sensitivity.training.cohort import Settings, train_cohort

if __name__ == "__main__":
    with job(snakemake):
        limit_threads(snakemake.threads)
        wildcards = snakemake.wildcards
        train_cohort(
            cohort_specs(read_plan(f"results/{wildcards.study}/plan.csv"), wildcards.cohort),
            snakemake.input.dataset,
            snakemake.output.weights,
            snakemake.output.curves,
            Settings(
                # how a job is carried out is no param: a change runs nothing again
                checkpoint_seconds=snakemake.config.get("execution", {}).get(
                    "checkpoint_seconds", Settings.checkpoint_seconds
                )
            ),
        )
