# Data sets, once for all studies: as published, in a Zarr store named for its content.


rule dataset:
    output:
        directory("results/datasets/{data}.zarr"),
    log:
        "results/datasets/logs/{data}.log",
    benchmark:
        "results/datasets/timings/{data}/dataset.tsv"
    """Reads or downloads a data set and keeps it as published."""

    # a login node may reach the internet, compute nodes seldom do
    localrule: True
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    message:
        "Preparing data set {wildcards.data}"
    script:
        "../scripts/dataset.py"
