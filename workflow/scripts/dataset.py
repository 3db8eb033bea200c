"""A data set as a Zarr store, downloaded or read from the data folder."""

from job import job
from sensigap.config import load
from sensigap.datasets import prepare

if __name__ == "__main__":
    with job(snakemake):
        name, _, content = snakemake.wildcards.data.rpartition("-")
        study = load(snakemake.config)
        prepare(
            name,
            snakemake.output[0],
            study.data_root,
            source=study.source(name),
            content=content,
        )
