# The report: one HTML file that opens offline.


rule report:
    input:
        claims="results/{study}/claims.csv",
        leaderboard="results/{study}/leaderboard.csv",
        figures=expand("results/{{study}}/figures/{figure}.png", figure=FIGURES),
        surveys=surveys(),
    output:
        "results/{study}/report.html",
    log:
        "results/{study}/logs/report.log",
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("report.py"),
        configuration=configuration_text(),
        alpha=STUDY.analysis.alpha,
    script:
        "../scripts/report.py"
