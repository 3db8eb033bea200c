"""The leaderboard of sensitivity and complexity measures."""

from pathlib import Path

from job import job
from sensigap.analysis.leaderboard import write_leaderboard
from sensigap.analysis.verdicts import Settings

if __name__ == "__main__":
    with job(snakemake):
        write_leaderboard(
            {Path(store).stem: Path(store) for store in snakemake.input},
            Path(snakemake.output[0]),
            Settings(**snakemake.params.settings),
        )
