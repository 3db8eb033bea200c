"""A data set as a Zarr store, downloaded or read from the data folder."""

from job import job
from sensigap.datasets import prepare

if __name__ == "__main__":
    with job(snakemake):
        prepare(
            snakemake.wildcards.data.rpartition("-")[0],
            snakemake.output[0],
            snakemake.config.get("data_root"),
        )
