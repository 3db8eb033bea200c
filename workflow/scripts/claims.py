"""The table of claims."""

from pathlib import Path

from job import job
from sensigap.analysis.claims import write_claims
from sensigap.analysis.verdicts import Settings

if __name__ == "__main__":
    with job(snakemake):
        write_claims(
            {Path(store).stem: Path(store) for store in snakemake.input},
            Path(snakemake.output[0]),
            Settings(**snakemake.params.settings),
        )
