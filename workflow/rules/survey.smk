# The survey of a data set: every network of the design, with all that was measured.


rule survey:
    input:
        design="results/{study}/design.csv",
        training=lambda wildcards: cohort_stores("training.zarr", wildcards.dataset),
        jacobian=lambda wildcards: cohort_stores("jacobian.zarr", wildcards.dataset),
        transitions=lambda wildcards: cohort_stores(
            "transitions.zarr", wildcards.dataset
        ),
        complexity=lambda wildcards: cohort_stores("complexity.zarr", wildcards.dataset),
        ellipses=lambda wildcards: cohort_stores(
            "ellipses.zarr", wildcards.dataset, WITH_ELLIPSES
        ),
        slices=lambda wildcards: cohort_stores(
            "slices.zarr", wildcards.dataset, WITH_SLICES
        ),
    output:
        directory("results/{study}/survey/{dataset}.zarr"),
    log:
        "results/{study}/logs/survey/{dataset}.log",
    benchmark:
        "results/{study}/timings/survey/{dataset}.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=60,
    params:
        code=code("survey.py"),
    script:
        "../scripts/survey.py"
