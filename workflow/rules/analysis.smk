# The tests of the claims C0 to C5: one table.


rule claims:
    input:
        surveys(),
    output:
        "results/{study}/claims.csv",
    log:
        "results/{study}/logs/claims.log",
    benchmark:
        "results/{study}/timings/claims/all.tsv"
    conda:
        "../../envs/sensitivity.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        code=code("claims.py"),
        settings=STUDY.analysis.model_dump(),
    script:
        "../scripts/claims.py"
