# Data sets, once for all studies: as published, in a Zarr store.


rule dataset:
    output:
        directory("results/datasets/{dataset}.zarr"),
    log:
        "results/datasets/logs/{dataset}.log",
    benchmark:
        "results/datasets/timings/{dataset}/dataset.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("dataset.py"),
    script:
        "../scripts/dataset.py"
