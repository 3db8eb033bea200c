"""All figures, as PDF and PNG, with their numbers and captions."""

from pathlib import Path

from job import job, write_record
from sensigap.analysis.verdicts import Settings
from sensigap.figures import FIGURES, draw

if __name__ == "__main__":
    with job(snakemake):
        folder = Path(snakemake.output[0]).parent
        for name in FIGURES:
            draw(
                name,
                {Path(store).stem: Path(store) for store in snakemake.input.surveys},
                folder / name,
                Settings(**snakemake.params.settings["analysis"]),
                leaderboard=Path(snakemake.input.leaderboard),
            )
        write_record(snakemake)
