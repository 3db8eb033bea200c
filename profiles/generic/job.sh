#!/bin/sh
# properties = {properties}
# How the job ended is left for status.sh: a scheduler forgets, or does not tell.
cd "${{PBS_O_WORKDIR:-${{SGE_O_WORKDIR:-${{LS_SUBCWD:-${{SLURM_SUBMIT_DIR:-$PWD}}}}}}}}" || exit
id=${{PBS_JOBID:-${{LSB_JOBID:-${{JOB_ID:-${{SLURM_JOB_ID:-none}}}}}}}}
(
{exec_job}
)
code=$?
echo $code >"results/cluster/${{id%%.*}}.ended"
exit $code
