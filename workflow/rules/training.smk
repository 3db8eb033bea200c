# The training of each cohort's networks.


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
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=720,
    params:
        code=code("train.py"),
    script:
        "../scripts/train.py"
