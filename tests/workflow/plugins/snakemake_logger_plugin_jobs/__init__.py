"""Tells what each job asks for, one JSON a line on stdout: a job with a message says no more."""

import json
import sys

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record):
        if getattr(record, "event", None) == LogEvent.JOB_INFO:
            resources = {
                name: value
                for name, value in dict(record.resources.items()).items()
                if isinstance(value, int)
            }
            told = json.dumps({"rule": record.rule_name, "resources": resources})
            sys.stdout.write(f"{told}\n")
