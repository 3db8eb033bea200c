# What the surveys say: the tests of the claims C0 to C5, one table, and the leaderboard of measures.


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
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        code=code("claims.py"),
        settings=STUDY.analysis.model_dump(),
    script:
        "../scripts/claims.py"


# Sensitivity beside the complexity measures of the literature.
rule leaderboard:
    input:
        surveys(),
    output:
        "results/{study}/leaderboard.csv",
    log:
        "results/{study}/logs/leaderboard.log",
    benchmark:
        "results/{study}/timings/leaderboard/all.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code("leaderboard.py"),
        settings=STUDY.analysis.model_dump(),
    script:
        "../scripts/leaderboard.py"
