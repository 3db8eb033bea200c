# Networks, shared by all studies: which there are in a cohort, and their training.


rule cohort:
    """Writes down which networks a cohort holds, one row each."""
    input:
        stale=lambda wildcards: stale_table(
            f"results/networks/{wildcards.cohort}/networks.csv"
        ),
    output:
        "results/networks/{cohort}/networks.csv",
    log:
        "results/networks/{cohort}/networks.log",
    priority: 100
    localrule: True
    conda:
        "../../envs/sensigap.yaml"
    params:
        specs=lambda wildcards: [spec.to_json() for spec in RUN.specs[wildcards.cohort]],
    message:
        "Planning cohort {wildcards.cohort}"
    script:
        "../scripts/cohort.py"


rule train:
    """Trains the networks of a cohort, in stacks; goes on from a checkpoint where there is one."""
    input:
        networks=lambda wildcards: if_needed(
            f"results/networks/{wildcards.cohort}/networks.csv",
            RUN.trained(wildcards.cohort),
        ),
        dataset=lambda wildcards: if_needed(
            data_store(wildcards.cohort), RUN.trained(wildcards.cohort)
        ),
        stale=lambda wildcards: stale_training(wildcards.cohort),
        passed=lambda wildcards: pilot_before(wildcards.cohort),
    output:
        weights="results/networks/{cohort}/weights.safetensors",
        training=directory("results/networks/{cohort}/training.zarr"),
    log:
        "results/networks/{cohort}/train.log",
    benchmark:
        "results/networks/{cohort}/train.tsv"
    priority: lambda wildcards: 50 if wildcards.cohort in RUN.pilot_cohorts else 0
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=lambda wildcards, attempt: attempt
        * ESTIMATE.memory_mb("train", wildcards.cohort),
        runtime=lambda wildcards, attempt: attempt
        * ESTIMATE.minutes("train", wildcards.cohort),
    params:
        code=RUN.code("train"),
        data=lambda wildcards: str(as_written(data_store(wildcards.cohort))),
    message:
        "Training the networks of {wildcards.cohort}"
    script:
        "../scripts/train.py"


rule pilot:
    """Says what the networks that are trained first foretell: how many will fit, of each claim."""
    input:
        training=lambda wildcards: cohort_files("training.zarr", RUN.pilot_cohorts),
    output:
        table=f"{STUDY}/pilot.csv",
        text=f"{STUDY}/pilot.txt",
        record=f"{STUDY}/{RECORDS['pilot']}",
    log:
        f"{STUDY}/logs/pilot.log",
    priority: 60
    localrule: True
    conda:
        "../../envs/sensigap.yaml"
    params:
        code=RUN.code("pilot"),
        settings=pilot_settings(),
    message:
        "Looking at the pilot"
    script:
        "../scripts/pilot.py"


rule pilot_passed:
    """Ends a run whose pilot foretells too few networks, where `execution.pilot` is stop."""
    input:
        table=f"{STUDY}/pilot.csv",
        record=f"{STUDY}/{RECORDS['pilot']}",
    output:
        f"{STUDY}/pilot.passed",
    log:
        f"{STUDY}/logs/pilot_passed.log",
    localrule: True
    conda:
        "../../envs/sensigap.yaml"
    message:
        "Looking whether to go on"
    script:
        "../scripts/pilot_passed.py"
