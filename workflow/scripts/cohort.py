"""Which networks a cohort holds."""

from job import job
from sensigap.cohorts import write_table
from sensigap.spec import NetworkSpec

if __name__ == "__main__":
    with job(snakemake):
        write_table(map(NetworkSpec.from_json, snakemake.params.specs), snakemake.output[0])
