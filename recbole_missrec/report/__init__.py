"""The report of a comparison: one page, and its tables for papers and for programs."""

from recbole_missrec.report.writing import write_report

__all__ = ["write_report"]
