"""One measure of a cohort's fitted networks."""

from job import device, execution, job, limit_threads
from sensigap import checkpoints
from sensigap.measures.cohort import store
from sensigap.records import digest
from sensigap.training.devices import lease

if __name__ == "__main__":
    with job(snakemake), lease(device(snakemake), **execution(snakemake, "jobs_per_gpu")) as leased:
        limit_threads(snakemake.threads)
        params = snakemake.params
        store.write(
            params.measure,
            snakemake.input.weights,
            snakemake.input.training,
            params.data,
            snakemake.output[0],
            settings=params.settings,
            device=leased.torch,
            made_by=digest(params.settings, params.code),
        )
        # the weights have been read, so training is over
        checkpoints.discard(snakemake.input.weights)
