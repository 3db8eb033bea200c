# The design table, and the training of each cohort's networks.


rule design:
    output:
        "results/{study}/design.csv",
    log:
        "results/{study}/logs/design.log",
    conda:
        "../../envs/sensitivity.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        # the table itself: it changes with whatever changes a row, and with nothing else
        digest=design_digest(),
    script:
        "../scripts/design.py"


rule train:
    input:
        dataset=dataset_store,
    output:
        weights="results/{study}/cohorts/{cohort}/weights.safetensors",
        curves=directory("results/{study}/cohorts/{cohort}/training.zarr"),
    log:
        "results/{study}/logs/train/{cohort}.log",
    benchmark:
        "results/{study}/timings/train/{cohort}.tsv"
    conda:
        "../../envs/sensitivity.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=720,
    params:
        code=code("train.py"),
    script:
        "../scripts/train.py"
