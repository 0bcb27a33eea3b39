"""Models; ``missrec.py`` reads like the paper's figure."""
