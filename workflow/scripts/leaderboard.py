"""The table of leaderboard."""

from pathlib import Path

from job import job, write_record
from sensigap.analysis.leaderboard import write_leaderboard
from sensigap.analysis.verdicts import Settings

if __name__ == "__main__":
    with job(snakemake):
        write_leaderboard(
            {Path(store).stem: Path(store) for store in snakemake.input.surveys},
            Path(snakemake.output.table),
            Settings(**snakemake.params.settings["analysis"]),
        )
        write_record(snakemake)
