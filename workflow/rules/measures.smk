# The measures of each cohort's fitted networks: a rule for each declaration in sensigap.declarations.


for MEASURE in MEASURES.values():

    rule:
        """One measure of the networks of a cohort."""
        name:
            MEASURE.name
        input:
            weights="results/networks/{cohort}/weights.safetensors",
            training="results/networks/{cohort}/training.zarr",
            dataset=lambda wildcards, measure=MEASURE.name: if_needed(
                data_store(wildcards.cohort),
                RUN.has_measure(measure, wildcards.cohort),
            ),
            stale=lambda wildcards, measure=MEASURE.name: stale_measure(
                measure, wildcards.cohort
            ),
            passed=pilot_before(),
        output:
            directory(f"{STUDY}/measures/{{cohort}}/{MEASURE.name}.zarr"),
        log:
            f"{STUDY}/logs/{MEASURE.name}/{{cohort}}.log",
        benchmark:
            f"{STUDY}/timings/{MEASURE.name}/{{cohort}}.tsv"
        conda:
            "../../envs/sensigap.yaml"
        threads: 1
        resources:
            gpu=GPUS if MEASURE.device else 0,
            mem_mb=lambda wildcards, attempt, measure=MEASURE.name: attempt
            * ESTIMATE.memory_mb(measure, wildcards.cohort),
            runtime=lambda wildcards, attempt, measure=MEASURE.name: attempt
            * ESTIMATE.minutes(measure, wildcards.cohort),
        params:
            measure=MEASURE.name,
            data=lambda wildcards: str(as_written(data_store(wildcards.cohort))),
            code=RUN.code(MEASURE.name),
            settings=lambda wildcards, measure=MEASURE.name: RUN.settings(
                measure, wildcards.cohort
            ),
        message:
            f"{MEASURE.title} of {{wildcards.cohort}}"
        script:
            "../scripts/measure.py"
