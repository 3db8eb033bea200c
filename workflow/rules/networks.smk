# Networks, shared by all studies: which there are in a cohort, and their training.


rule cohort:
    """Writes down which networks a cohort holds, one row each."""
    output:
        "results/networks/{cohort}/networks.csv",
    message:
        "Planning cohort {wildcards.cohort}"
    priority: 100
    params:
        specs=lambda wildcards: [spec.to_json() for spec in RUN.specs[wildcards.cohort]],
    script:
        "../scripts/cohort.py"


rule train:
    """Trains the networks of a cohort, in stacks; goes on from a checkpoint where there is one."""
    input:
        networks=lambda wildcards: if_needed(
            f"results/networks/{wildcards.cohort}/networks.csv", RUN.trained(wildcards.cohort)
        ),
        dataset=lambda wildcards: if_needed(
            data_store(wildcards.cohort), RUN.trained(wildcards.cohort)
        ),
        stale=lambda wildcards: stale_training(wildcards.cohort),
    output:
        weights="results/networks/{cohort}/weights.safetensors",
        training=directory("results/networks/{cohort}/training.zarr"),
    log:
        "results/networks/{cohort}/train.log",
    benchmark:
        "results/networks/{cohort}/train.tsv"
    message:
        "Training the networks of {wildcards.cohort}"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=lambda wildcards, attempt: attempt * ESTIMATE.memory_mb("train", wildcards.cohort),
        runtime=lambda wildcards, attempt: attempt * ESTIMATE.minutes("train", wildcards.cohort),
    params:
        code=RUN.code("train"),
    script:
        "../scripts/train.py"
