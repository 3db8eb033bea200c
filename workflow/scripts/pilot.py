"""What the networks trained first foretell of the study."""

import sys
from pathlib import Path

from job import job, write_record
from sensigap import pilot
from sensigap.config import load
from sensigap.design import design
from sensigap.files import written_whole

if __name__ == "__main__":
    with job(snakemake):
        study = load(snakemake.config)
        found = pilot.findings(
            design(study),
            pilot.read(snakemake.input.training),
            study.analysis,
            lambda dataset: study.dataset(dataset).fit_accuracy,
        )
        text = "\n".join(found.lines)
        with written_whole(Path(snakemake.output.table)) as temporary:
            found.table.to_csv(temporary, index=False, lineterminator="\n")
        with written_whole(Path(snakemake.output.text)) as temporary:
            temporary.write_text(f"{text}\n")
        write_record(snakemake)
        print(text, file=sys.stderr)
