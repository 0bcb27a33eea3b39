"""Train and evaluate from a checkout: ``python run_recbole_missrec.py --dataset=NAME``."""

import sys

from recbole_missrec.cli import main

if __name__ == "__main__":
    sys.exit(main())
