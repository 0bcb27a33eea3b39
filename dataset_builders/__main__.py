"""Command line: ``python -m dataset_builders SOURCE ...``, a sub-command for each source."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from dataset_builders.dataset_files import write_dataset
from dataset_builders.sources import ml_100k, released, sample
from recbole_missrec.errors import UsageError, nearest

SOURCES: dict[str, ModuleType] = {"released": released, "ml-100k": ml_100k, "sample": sample}

DESCRIPTION = """\
Make a data set that run_recbole_missrec.py can train on, in the folder OUT/NAME:

  NAME.inter                  interactions: user, item, time (a RecBole atomic file)
  NAME.MODALITY.safetensors   one feature matrix per modality, text or image
  NAME.text.tsv               the texts of the items, where there are any

An older data set of that name is replaced file by file, after the new one is complete.
"""

EXAMPLES = """\
examples:
  python -m dataset_builders sample
  python -m dataset_builders ml-100k
  python -m dataset_builders released downloads/Scientific --name Scientific
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Build one data set.

    Args:
        argv: words of the command line; those of the process if not given.

    Returns:
        Exit status: 0, or 2 after bad input, with one message on stderr.
    """
    try:
        options = _parse(sys.argv[1:] if argv is None else list(argv))
        print(write_dataset(SOURCES[options.source].build(options), options.out))
    except (UsageError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m dataset_builders",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        dest="source", metavar="SOURCE", title="sources", required=True
    )
    for name, source in SOURCES.items():
        command = commands.add_parser(
            name,
            help=source.HELP,
            description=source.__doc__,
            formatter_class=raw,
            allow_abbrev=False,
        )
        source.add_arguments(command)
        command.add_argument(
            "--out", type=Path, default=Path("dataset"), help="folder of data sets (dataset)"
        )
    if not words or (words[0] not in SOURCES and not words[0].startswith("-")):
        given = words[0] if words else ""
        raise UsageError(f"SOURCE '{given}': no such source; {nearest(given, SOURCES)}")
    options, unknown = parser.parse_known_args(words)
    if unknown:
        known = re.findall(r"--[\w-]+", commands.choices[options.source].format_usage())
        wrong = unknown[0].partition("=")[0]
        raise UsageError(f"{wrong}: not an option of {options.source}; {nearest(wrong, known)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
