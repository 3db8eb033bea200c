# The measures of each cohort's fitted networks. Those that take a device say so by `gpu`; slices are
# made on the processor.


# Jacobian norms at every test point, and their mean at some training points.
rule jacobian:
    input:
        weights="results/{study}/cohorts/{cohort}/weights.safetensors",
        curves="results/{study}/cohorts/{cohort}/training.zarr",
        dataset=dataset_store,
    output:
        directory("results/{study}/cohorts/{cohort}/jacobian.zarr"),
    log:
        "results/{study}/logs/jacobian/{cohort}.log",
    benchmark:
        "results/{study}/timings/jacobian/{cohort}.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=240,
    params:
        code=code("jacobian.py"),
        training_points=STUDY.measures.jacobian.training_points,
        seed=STUDY.measures.jacobian.seed,
    script:
        "../scripts/jacobian.py"


# Exact transitions at the chosen test points.
rule transitions:
    input:
        weights="results/{study}/cohorts/{cohort}/weights.safetensors",
        curves="results/{study}/cohorts/{cohort}/training.zarr",
        dataset=dataset_store,
    output:
        directory("results/{study}/cohorts/{cohort}/transitions.zarr"),
    log:
        "results/{study}/logs/transitions/{cohort}.log",
    benchmark:
        "results/{study}/timings/transitions/{cohort}.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=720,
    params:
        code=code("transitions.py"),
        points=lambda wildcards: STUDY.transition_points(dataset_of(wildcards.cohort)),
        seed=STUDY.measures.transitions.seed,
    script:
        "../scripts/transitions.py"


# Complexity measures that the literature proposes.
rule complexity:
    input:
        weights="results/{study}/cohorts/{cohort}/weights.safetensors",
        curves="results/{study}/cohorts/{cohort}/training.zarr",
        dataset=dataset_store,
    output:
        directory("results/{study}/cohorts/{cohort}/complexity.zarr"),
    log:
        "results/{study}/logs/complexity/{cohort}.log",
    benchmark:
        "results/{study}/timings/complexity/{cohort}.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=240,
    params:
        code=code("complexity.py"),
        points=STUDY.measures.complexity.points,
        draws=STUDY.measures.complexity.draws,
        drop=STUDY.measures.complexity.drop,
        seed=STUDY.measures.complexity.seed,
    script:
        "../scripts/complexity.py"


# Jacobian norms and transitions along ellipses, of the chosen networks.
rule ellipses:
    input:
        weights="results/{study}/cohorts/{cohort}/weights.safetensors",
        curves="results/{study}/cohorts/{cohort}/training.zarr",
        dataset=dataset_store,
    output:
        directory("results/{study}/cohorts/{cohort}/ellipses.zarr"),
    log:
        "results/{study}/logs/ellipses/{cohort}.log",
    benchmark:
        "results/{study}/timings/ellipses/{cohort}.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=240,
    params:
        code=code("ellipses.py"),
        share=STUDY.measures.ellipses.share,
        per_kind=STUDY.measures.ellipses.count,
        angles=STUDY.measures.ellipses.angles,
        seed=STUDY.measures.ellipses.seed,
    script:
        "../scripts/ellipses.py"


# Region boundaries over a plane of training points, of the chosen networks.
rule slices:
    input:
        weights="results/{study}/cohorts/{cohort}/weights.safetensors",
        curves="results/{study}/cohorts/{cohort}/training.zarr",
        dataset=dataset_store,
    output:
        directory("results/{study}/cohorts/{cohort}/slices.zarr"),
    log:
        "results/{study}/logs/slices/{cohort}.log",
    benchmark:
        "results/{study}/timings/slices/{cohort}.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code("slices.py"),
        networks=lambda wildcards: sorted(WITH_SLICES[wildcards.cohort]),
        margin=STUDY.measures.slices.margin,
        seed=STUDY.measures.slices.seed,
    script:
        "../scripts/slices.py"
