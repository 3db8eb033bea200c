"""Trains the networks of one cohort."""

from job import execution, job, limit_threads
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
            Settings(**execution(snakemake, "checkpoint_seconds", "jobs_per_gpu")),
        )
