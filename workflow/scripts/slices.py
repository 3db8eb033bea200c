"""Region boundaries of a cohort's chosen networks over a plane of training points."""

from job import job, limit_threads
from sensigap.measures.cohort.slices import measure_slices

if __name__ == "__main__":
    with job(snakemake):
        limit_threads(snakemake.threads)
        measure_slices(
            snakemake.input.weights,
            snakemake.input.curves,
            snakemake.input.dataset,
            snakemake.output[0],
            networks=snakemake.params.networks,
            margin=snakemake.params.margin,
            seed=snakemake.params.seed,
        )
