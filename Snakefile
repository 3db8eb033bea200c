# Where people type `snakemake --cores N`; the study is in workflow/.
include: "workflow/Snakefile"


# an included file cannot say what is made by default
rule study:
    """The whole study."""
    default_target: True
    input:
        rules.all.input,
    localrule: True
    message:
        "Study {RUN.study.study} is complete."
