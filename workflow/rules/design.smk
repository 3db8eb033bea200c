# The design table: one row a network.


rule design:
    output:
        "results/{study}/design.csv",
    log:
        "results/{study}/logs/design.log",
    benchmark:
        "results/{study}/timings/design/all.tsv"
    conda:
        "../../envs/sensigap.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        # the table itself: it changes with whatever changes a row, and with nothing else
        digest=design_digest(),
    script:
        "../scripts/design.py"
