"""All figures, as PDF and PNG, with their numbers and captions."""

from pathlib import Path

from job import job, write_record
from sensigap import records
from sensigap.analysis.verdicts import Settings
from sensigap.figures import FIGURES, Sources, draw

if __name__ == "__main__":
    with job(snakemake):
        records.verify(snakemake.input.board_record, [snakemake.input.leaderboard])
        records.verify(snakemake.input.claims_record, [snakemake.input.claims])
        sources = Sources(
            {Path(store).stem: Path(store) for store in snakemake.input.surveys},
            Path(snakemake.input.leaderboard),
            Path(snakemake.input.claims),
            Settings(**snakemake.params.settings["analysis"]),
        )
        for name in FIGURES:
            draw(name, sources, Path(snakemake.output.record).with_name(name))
        write_record(snakemake)
