"""The table of claims."""

from pathlib import Path

from job import job, write_record
from sensigap.analysis.claims import write_claims
from sensigap.analysis.verdicts import Settings

if __name__ == "__main__":
    with job(snakemake):
        write_claims(
            {Path(store).stem: Path(store) for store in snakemake.input.surveys},
            Path(snakemake.output.table),
            Settings(**snakemake.params.settings["analysis"]),
        )
        write_record(snakemake)
