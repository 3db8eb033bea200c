"""Exact transitions of a cohort's fitted networks at the chosen test points."""

from job import execution, job, limit_threads
from sensigap.measures.cohort.transitions import measure_transitions
from sensigap.training.devices import lease

if __name__ == "__main__":
    with job(snakemake), lease(**execution(snakemake, "jobs_per_gpu")) as device:
        limit_threads(snakemake.threads)
        measure_transitions(
            snakemake.input.weights,
            snakemake.input.curves,
            snakemake.input.dataset,
            snakemake.output[0],
            points=snakemake.params.points,
            seed=snakemake.params.seed,
            device=device.torch,
        )
