# Outputs that are damaged, or that settings or code have left behind, where Snakemake has no notes of
# its own to tell by.


rule stale:
    """Marks an output that is damaged or out of date, so that it is made again."""
    output:
        touch(".snakemake/sensigap/stale/{written}/{output}"),
    wildcard_constraints:
        written=r"\d+",
    localrule: True
    conda:
        "../../envs/sensigap.yaml"
    message:
        "Out of date: {wildcards.output}"
