"""What the plots of benchmarks share: a command that reads figures and writes an SVG."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable, replacing


def plot_command(
    name: str,
    needed: set[str],
    draw: Callable[[list[dict[str, Any]]], Any],
    argv: Sequence[str] | None,
) -> int:
    """Draw what ``--out`` of a benchmark wrote, text as text, the same file for the same figures.

    Args:
        name: of the benchmark's module within ``benchmarks``.
        needed: what each of its rows has.
        draw: rows to a figure.
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.plot_{name}",
        description=f"Draw what benchmarks.{name} measured.",
        allow_abbrev=False,
    )
    parser.add_argument("figures", type=Path, help=f"what --out of benchmarks.{name} wrote")
    parser.add_argument("plot", type=Path, help="the SVG to write")
    args = parser.parse_args(argv)
    try:
        check_writable(args.plot)
        figure = draw(read_rows(args.figures, name, needed))
        plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name})
        with replacing(args.plot) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        plt.close(figure)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def read_rows(path: Path, name: str, needed: set[str]) -> list[dict[str, Any]]:
    """The measured points.

    Raises:
        UsageError: no such file, or another one.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        if rows and all(needed <= row.keys() for row in rows):
            return rows
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise UsageError(f"{path}: is not what --out of benchmarks.{name} writes")
