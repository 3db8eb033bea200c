"""The report: one HTML file that holds a study's verdicts, figures and provenance."""

from sensitivity.report.build import build

__all__ = ["build"]
