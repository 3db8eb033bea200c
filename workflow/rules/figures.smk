# The figures: each as PDF and PNG, with the numbers drawn and a caption.


rule figure:
    input:
        surveys(),
    output:
        multiext("results/{study}/figures/{figure}", ".pdf", ".png", ".csv", ".txt"),
    log:
        "results/{study}/logs/figure/{figure}.log",
    benchmark:
        "results/{study}/timings/figure/{figure}.tsv"
    conda:
        "../../envs/sensitivity.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code("figure.py"),
        settings=STUDY.analysis.model_dump(),
    script:
        "../scripts/figure.py"
