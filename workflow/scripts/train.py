"""Trains the networks of one cohort."""

from job import execution, job, limit_threads
from sensigap.cohorts import read_plan, specs_by_cohort
from sensigap.training.cohort import Settings, train_cohort

if __name__ == "__main__":
    with job(snakemake):
        limit_threads(snakemake.threads)
        wildcards = snakemake.wildcards
        plan = read_plan(f"results/{wildcards.study}/plan.csv")
        train_cohort(
            specs_by_cohort(plan)[wildcards.cohort],
            snakemake.input.dataset,
            snakemake.output.weights,
            snakemake.output.curves,
            Settings(**execution(snakemake, "checkpoint_seconds", "jobs_per_gpu")),
        )
