"""The report, one HTML file, and the flat table of all networks."""

from pathlib import Path

from job import job, write_record
from sensigap import records
from sensigap.estimate import Estimate
from sensigap.report import build
from sensigap.workplan import WorkPlan

if __name__ == "__main__":
    with job(snakemake):
        for record in snakemake.input.records:
            records.verify(record)
        output = Path(snakemake.output.page)
        settings = snakemake.params.settings
        build(
            study=output.parent.name,
            alpha=settings["analysis"]["alpha"],
            config_text=settings["configuration"],
            claims=Path(snakemake.input.claims),
            leaderboard=Path(snakemake.input.leaderboard),
            figures={
                Path(path).stem: Path(path).with_suffix("") for path in snakemake.input.figures
            },
            surveys={Path(store).stem: Path(store) for store in snakemake.input.surveys},
            timings=snakemake.params.timings,
            output=output,
            flat=Path(snakemake.output.networks),
            bundle=Path(snakemake.output.bundle),
            expected=Estimate(WorkPlan(snakemake.config, output.parents[1])).model_seconds(),
        )
        write_record(snakemake)
