"""Write the report of a comparison: ``python -m recbole_missrec.report OUT``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recbole_missrec.errors import UsageError
from recbole_missrec.report.write import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments, those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m recbole_missrec.report", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder of the comparison")
    try:
        for path in write_report(parser.parse_args(argv).out):
            print(path)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
