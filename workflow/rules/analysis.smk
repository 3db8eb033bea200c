# What the surveys say: the tests of the claims, the leaderboard of measures, the figures. Each leaves
# a record beside its files: their checksums, and what they were made from.


rule claims:
    """Tests the claims C0 to C5 on the surveys."""
    input:
        surveys=surveys(),
        stale=stale_record("claims"),
    output:
        table=report(
            f"{STUDY}/claims.csv",
            caption="../report/claims.rst",
            category="Tables",
            labels={"table": "claims"},
        ),
        record=f"{STUDY}/{RECORDS['claims']}",
    log:
        f"{STUDY}/logs/claims.log",
    benchmark:
        f"{STUDY}/timings/claims/all.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * ESTIMATE.memory_mb("claims"),
        runtime=120,
    params:
        code=RUN.code("claims"),
        settings=analysis_settings("claims"),
    message:
        "Testing the claims"
    script:
        "../scripts/claims.py"


rule leaderboard:
    """Compares the sensitivity with the complexity measures of the literature."""
    input:
        surveys=surveys(),
        stale=stale_record("leaderboard"),
    output:
        table=report(
            f"{STUDY}/leaderboard.csv",
            caption="../report/leaderboard.rst",
            category="Tables",
            labels={"table": "leaderboard"},
        ),
        record=f"{STUDY}/{RECORDS['leaderboard']}",
    log:
        f"{STUDY}/logs/leaderboard.log",
    benchmark:
        f"{STUDY}/timings/leaderboard/all.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * ESTIMATE.memory_mb("leaderboard"),
        runtime=60,
    params:
        code=RUN.code("leaderboard"),
        settings=analysis_settings("leaderboard"),
    message:
        "Making the leaderboard of measures"
    script:
        "../scripts/leaderboard.py"


rule figures:
    """Draws all figures: one job, since each would take longer to start than to draw."""
    input:
        surveys=surveys(),
        leaderboard=f"{STUDY}/leaderboard.csv",
        board_record=f"{STUDY}/{RECORDS['leaderboard']}",
        claims=f"{STUDY}/claims.csv",
        claims_record=f"{STUDY}/{RECORDS['claims']}",
        stale=stale_record("figures"),
    output:
        [
            (
                report(
                    path,
                    caption="../report/figure.rst",
                    category="Figures",
                    labels={"figure": FIGURES[Path(path).stem]},
                )
                if path.endswith(".png")
                else path
            )
            for path in figure_files()
        ],
        record=f"{STUDY}/{RECORDS['figures']}",
    log:
        f"{STUDY}/logs/figures.log",
    benchmark:
        f"{STUDY}/timings/figures/all.tsv"
    conda:
        "../../envs/sensigap.yaml"
    # each draws figures of its own
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: attempt * ESTIMATE.memory_mb("figures"),
        runtime=120,
    params:
        code=RUN.code("figures"),
        settings=analysis_settings("figures"),
    message:
        "Drawing the figures"
    script:
        "../scripts/figures.py"
