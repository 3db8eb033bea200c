"""The survey of one data set."""

from job import job
from sensigap.assembly import assemble
from sensigap.config import load
from sensigap.declarations import MEASURES
from sensigap.records import digest
from sensigap.survey import provenance

if __name__ == "__main__":
    with job(snakemake):
        assemble(
            snakemake.input.design,
            snakemake.wildcards.dataset,
            training=snakemake.input.training,
            measures={name: snakemake.input.get(name, []) for name in MEASURES},
            output=snakemake.output[0],
            design_digest=snakemake.params.settings["design"],
            attributes=provenance(
                configuration=load(snakemake.config).model_dump(mode="json"),
                made_by=digest(snakemake.params.settings, snakemake.params.code),
            ),
        )
