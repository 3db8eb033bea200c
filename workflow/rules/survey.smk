# The design table, and the survey of a data set: every network of the design with all that was
# measured.


rule design:
    """Writes down which networks the study asks for and what each is compared with."""
    input:
        stale=stale_table(f"{STUDY}/design.csv"),
    output:
        f"{STUDY}/design.csv",
    log:
        f"{STUDY}/logs/design.log",
    localrule: True
    conda:
        "../../envs/sensigap.yaml"
    params:
        # the table itself: it changes with whatever changes a row, and with nothing else
        digest=RUN.design_digest(),
    message:
        "Writing the design"
    script:
        "../scripts/design.py"


rule survey:
    """Puts the stores of a data set's cohorts together."""
    input:
        **{
            name: lambda wildcards, name=name: measure_stores(name, wildcards.dataset)
            for name in MEASURES
        },
        design=f"{STUDY}/design.csv",
        training=lambda wildcards: cohort_files(
            "training.zarr", dataset=wildcards.dataset
        ),
        stale=lambda wildcards: stale_survey(wildcards.dataset),
    output:
        directory(f"{STUDY}/survey/{{dataset}}.zarr"),
    log:
        f"{STUDY}/logs/survey/{{dataset}}.log",
    benchmark:
        f"{STUDY}/timings/survey/{{dataset}}.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt
        * ESTIMATE.memory_mb("survey", wildcards.dataset),
        runtime=60,
    params:
        code=RUN.code("survey"),
        settings=lambda wildcards: survey_settings(wildcards.dataset),
    message:
        "Putting together the survey of {wildcards.dataset}"
    script:
        "../scripts/survey.py"
