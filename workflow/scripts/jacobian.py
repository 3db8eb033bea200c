"""Jacobian norms of a cohort's fitted networks at every test point."""

from job import execution, job, limit_threads
from sensigap.measures.cohort.jacobian import measure_jacobian
from sensigap.training.devices import lease

if __name__ == "__main__":
    with job(snakemake), lease(**execution(snakemake, "jobs_per_gpu")) as device:
        limit_threads(snakemake.threads)
        measure_jacobian(
            snakemake.input.weights,
            snakemake.input.curves,
            snakemake.input.dataset,
            snakemake.output[0],
            training_points=snakemake.params.training_points,
            seed=snakemake.params.seed,
            device=device.torch,
        )
