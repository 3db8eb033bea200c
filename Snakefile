# The study lives in workflow/; here is where people type `snakemake --cores N`.
include: "workflow/Snakefile"
