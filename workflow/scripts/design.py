"""The design table: one row a network."""

from pathlib import Path

from job import job
from sensitivity.config import load
from sensitivity.design import design, table

if __name__ == "__main__":
    with job(snakemake):
        Path(snakemake.output[0]).write_text(table(design(load(snakemake.config))))
