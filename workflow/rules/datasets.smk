# Data sets, once for all studies: as published, in a Zarr store named for its content.


rule dataset:
    """Reads or downloads a data set and keeps it as published.

    It runs where Snakemake does: a login node may reach the internet, compute nodes seldom do.
    """
    output:
        directory("results/datasets/{data}.zarr"),
    log:
        "results/datasets/logs/{data}.log",
    benchmark:
        "results/datasets/timings/{data}/dataset.tsv"
    # before any training, or a pilot would wait behind networks that are none
    priority: 100
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
