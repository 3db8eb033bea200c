# The report: one HTML file that opens offline; beside it one flat table of all networks.


rule report:
    """Writes verdicts, figures, costs and provenance on one page."""
    input:
        claims=f"{STUDY}/claims.csv",
        leaderboard=f"{STUDY}/leaderboard.csv",
        figures=[f"{STUDY}/figures/{figure}.png" for figure in FIGURES],
        surveys=surveys(),
        records=[
            f"{STUDY}/{RECORDS[stage]}"
            for stage in ("claims", "leaderboard", "figures")
        ],
        stale=stale_record("report"),
    output:
        page=report(
            f"{STUDY}/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"page": "the study's report"},
        ),
        networks=report(
            f"{STUDY}/networks.csv",
            caption="../report/networks.rst",
            category="Tables",
            labels={"table": "networks"},
        ),
        columns=f"{STUDY}/networks.columns.csv",
        bundle=f"{STUDY}/tables_and_figures.zip",
        record=f"{STUDY}/{RECORDS['report']}",
    log:
        f"{STUDY}/logs/report.log",
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=RUN.code("report"),
        settings=analysis_settings("report"),
        timings=[
            str(as_written(path))
            for path in (
                f"{STUDY}/timings",
                *(f"results/networks/{cohort}" for cohort in RUN.cohorts),
                *(f"results/datasets/timings/{name}" for name in RUN.stores()),
            )
        ],
    message:
        "Writing the report"
    script:
        "../scripts/report.py"
