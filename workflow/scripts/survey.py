"""The survey of one data set."""

from job import job
from sensigap.assembly import assemble
from sensigap.config import load
from sensigap.datasets.known import store_name
from sensigap.declarations import MEASURES
from sensigap.records import digest
from sensigap.survey import provenance

if __name__ == "__main__":
    with job(snakemake):
        study, dataset = load(snakemake.config), snakemake.wildcards.dataset
        assemble(
            snakemake.input.design,
            dataset,
            training=snakemake.input.training,
            measures={name: snakemake.input.get(name, []) for name in MEASURES},
            output=snakemake.output[0],
            design_digest=snakemake.params.settings["design"],
            attributes=provenance(
                configuration=study.model_dump(mode="json"),
                images=store_name(dataset, study.facts(dataset)),
                image_shape=study.facts(dataset).shape,
                classes=study.facts(dataset).classes,
                made_by=digest(snakemake.params.settings, snakemake.params.code),
            ),
        )
