"""Trains the networks of one cohort."""

from pathlib import Path

from job import device, execution, job, limit_threads
from sensigap.cohorts import load_table
from sensigap.training.cohort import Settings, train_cohort

if __name__ == "__main__":
    with job(snakemake):
        limit_threads(snakemake.threads)
        train_cohort(
            load_table(Path(snakemake.output.weights).with_name("networks.csv")),
            snakemake.params.data,
            snakemake.output.weights,
            snakemake.output.training,
            Settings(
                device=device(snakemake),
                **execution(snakemake, "checkpoint_seconds", "jobs_per_gpu"),
            ),
        )
