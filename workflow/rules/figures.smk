# The figures: each as PDF and PNG, with the numbers drawn and a caption. One job, since each would
# take longer to start than to draw.


rule figures:
    input:
        leaderboard="results/{study}/leaderboard.csv",
        surveys=surveys(),
    output:
        expand(
            "results/{{study}}/figures/{figure}{suffix}",
            figure=FIGURES,
            suffix=[".pdf", ".png", ".csv", ".txt"],
        ),
    log:
        "results/{study}/logs/figures.log",
    benchmark:
        "results/{study}/timings/figures/all.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        code=code("figures.py"),
        settings=STUDY.analysis.model_dump(),
    script:
        "../scripts/figures.py"
