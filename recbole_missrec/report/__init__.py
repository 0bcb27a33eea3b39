"""The report of a comparison: one page, and its tables for papers and for programs."""
