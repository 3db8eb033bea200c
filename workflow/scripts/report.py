"""The report, one HTML file."""

from pathlib import Path

from job import job
from sensigap.report import build

if __name__ == "__main__":
    with job(snakemake):
        output = Path(snakemake.output[0])
        build(
            study=snakemake.wildcards.study,
            alpha=snakemake.params.alpha,
            config_text=snakemake.params.configuration,
            claims=Path(snakemake.input.claims),
            leaderboard=Path(snakemake.input.leaderboard),
            figures={
                Path(path).stem: Path(path).with_suffix("") for path in snakemake.input.figures
            },
            surveys={Path(store).stem: Path(store) for store in snakemake.input.surveys},
            timings=[
                output.parent / "timings",
                *(Path("results/datasets/timings") / Path(s).stem for s in snakemake.input.surveys),
            ],
            output=output,
        )
