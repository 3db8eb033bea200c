"""The design table: one row a network."""

from pathlib import Path

from job import job
from sensigap.config import load
from sensigap.design import design, table
from sensigap.files import written_whole

if __name__ == "__main__":
    with job(snakemake), written_whole(Path(snakemake.output[0])) as temporary:
        temporary.write_bytes(table(design(load(snakemake.config))).encode())
