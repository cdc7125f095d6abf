"""The report: one page of a measurement and its plan."""

from lokr_weighting.show.report.page import write_report

__all__ = ["write_report"]
