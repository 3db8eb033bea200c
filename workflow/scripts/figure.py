"""One figure, as PDF and PNG, with its numbers and caption."""

from pathlib import Path

from job import job
from sensitivity.analysis.verdicts import Settings
from sensitivity.figures import draw

if __name__ == "__main__":
    with job(snakemake):
        draw(
            snakemake.wildcards.figure,
            {Path(store).stem: Path(store) for store in snakemake.input},
            Path(snakemake.output[0]).with_suffix(""),
            Settings(**snakemake.params.settings),
        )
