"""The survey of one data set."""

from job import job
from sensigap.assembly import assemble
from sensigap.config import load
from sensigap.survey import provenance

if __name__ == "__main__":
    with job(snakemake):
        stores = snakemake.input
        assemble(
            stores.design,
            snakemake.wildcards.dataset,
            training=stores.training,
            jacobian=stores.jacobian,
            transitions=stores.transitions,
            complexity=stores.complexity,
            ellipses=stores.get("ellipses", []),
            slices=stores.get("slices", []),
            output=snakemake.output[0],
            attributes=provenance(configuration=load(snakemake.config).model_dump(mode="json")),
        )
