"""The design table: one row a network."""

from pathlib import Path

from job import job
from sensigap.config import load
from sensigap.design import design, table

if __name__ == "__main__":
    with job(snakemake):
        Path(snakemake.output[0]).write_text(table(design(load(snakemake.config))))
