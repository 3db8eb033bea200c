"""All figures, as PDF and PNG, with their numbers and captions."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
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
        folder = Path(snakemake.output.record).parent
        if snakemake.threads == 1:
            for name in FIGURES:
                draw(name, sources, folder / name)
        else:
            # opened before the processes part, so that each survey is verified once
            _ = sources.roots
            with ProcessPoolExecutor(
                snakemake.threads, mp_context=multiprocessing.get_context("fork")
            ) as processes:
                drawing = [processes.submit(draw, name, sources, folder / name) for name in FIGURES]
                for figure in drawing:
                    figure.result()
        write_record(snakemake)
