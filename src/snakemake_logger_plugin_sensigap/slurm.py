"""Why Slurm ended a job, from Slurm's own log of it; Snakemake is told that it failed, no more."""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

_MORE = "more to begin with: --set-resources {rule}:{resource}=..."
#: what Slurm writes -> what happened, and the resource to ask more of; the first that fits counts
_REASONS = (
    (r"exceeded memory limit \((\d+) > (\d+)\)", "it took {} MB of memory, of {} MB", "mem_mb"),
    (r"oom[-_ ]?kill|out[- ]of[- ]memory", "it took more memory than it had asked for", "mem_mb"),
    (r"DUE TO TIME LIMIT", "it took longer than it had asked for", "runtime"),
    (r"DUE TO PREEMPTION", "another job took its place", ""),
    (r"DUE TO NODE FAILURE", "its node failed", ""),
    (r"\bCANCELLED AT\b", "somebody cancelled it", ""),
)
#: Slurm has the last word
_TAIL_BYTES = 100_000
#: the guess of an account tells nothing: a cluster that needs one says so when it refuses a job
ACCOUNT_GUESSES = re.compile(
    r"No SLURM account given|Unable to guess SLURM account|"
    r"No account was given, not able to get a SLURM account"
)


def why(logs: Iterable[str], rule: str) -> tuple[str, str]:
    """One line that says why Slurm ended a job, and the log that tells; '' where none does.

    Args:
        logs: paths of the job's logs, Slurm's among them.
        rule: the job's.
    """
    for log in logs:
        with contextlib.suppress(OSError), Path(log).open("rb") as file:
            file.seek(max(Path(log).stat().st_size - _TAIL_BYTES, 0))
            said = [
                line
                for line in file.read().decode(errors="replace").splitlines()
                if re.match(r"(slurm[\w.-]*|srun): ", line)
            ]
            for pattern, reason, resource in _REASONS:
                found = re.search(pattern, "\n".join(said), re.IGNORECASE)
                if found:
                    sizes = [round(int(size) / 2**20) for size in found.groups()]
                    more = f"; {_MORE.format(rule=rule, resource=resource)}" if resource else ""
                    return f"Slurm ended the job: {reason.format(*sizes)}{more} ({log})", log
    return "", ""
