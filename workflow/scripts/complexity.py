"""Complexity measures of a cohort's fitted networks."""

from job import execution, job, limit_threads
from sensigap.measures.cohort.complexity import measure_complexity
from sensigap.training.devices import lease

if __name__ == "__main__":
    with job(snakemake), lease(**execution(snakemake, "jobs_per_gpu")) as device:
        limit_threads(snakemake.threads)
        measure_complexity(
            snakemake.input.weights,
            snakemake.input.curves,
            snakemake.input.dataset,
            snakemake.output[0],
            device=device.torch,
            points=snakemake.params.points,
            draws=snakemake.params.draws,
            drop=snakemake.params.drop,
            seed=snakemake.params.seed,
        )
