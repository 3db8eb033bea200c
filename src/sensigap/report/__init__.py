"""The report: one HTML file that holds a study's verdicts, figures and provenance."""

from sensigap.report.build import build

__all__ = ["build"]
