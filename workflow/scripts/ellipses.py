"""Jacobian norms and transitions of a cohort's chosen networks along ellipses."""

from job import execution, job, limit_threads
from sensigap.measures.cohort.ellipses import measure_ellipses
from sensigap.training.devices import lease

if __name__ == "__main__":
    with job(snakemake), lease(**execution(snakemake, "jobs_per_gpu")) as device:
        limit_threads(snakemake.threads)
        measure_ellipses(
            snakemake.input.weights,
            snakemake.input.curves,
            snakemake.input.dataset,
            snakemake.output[0],
            device=device.torch,
            share=snakemake.params.share,
            count=snakemake.params.per_kind,
            angles=snakemake.params.angles,
            seed=snakemake.params.seed,
        )
