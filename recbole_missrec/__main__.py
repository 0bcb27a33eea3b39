"""``python -m recbole_missrec``: what ``run_recbole_missrec.py`` does."""

import sys

from recbole_missrec.cli import main

if __name__ == "__main__":
    sys.exit(main())
