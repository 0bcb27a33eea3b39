"""Draw what ``benchmarks.scaling`` measured: ``python -m benchmarks.plot_scaling FIGURES PLOT``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable, replacing

SWEEPS = {"items": ("items", "items"), "lengths": ("longest", "items of a history")}
QUANTITIES = {
    "step_seconds": "s, a training step",
    "step_memory_mib": "MiB, a training step",
    "evaluation_seconds": "s, ranking 10,000 users",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw one file.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plot_scaling", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("figures", type=Path, help="what --out of benchmarks.scaling wrote")
    parser.add_argument("plot", type=Path, help="the SVG to write")
    args = parser.parse_args(argv)
    try:
        check_writable(args.plot)
        draw(read_rows(args.figures), args.plot)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The measured points.

    Raises:
        UsageError: no such file, or another one.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        needed = {"sweep", "model", "items", "longest", *QUANTITIES}
        if rows and all(needed <= row.keys() for row in rows):
            return rows
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise UsageError(f"{path}: is not what --out of benchmarks.scaling writes")


def draw(rows: list[dict[str, Any]], plot: Path) -> None:
    """One panel for each sweep and quantity, one line for each model, both axes logarithmic."""
    figure, panels = plt.subplots(
        len(SWEEPS), len(QUANTITIES), figsize=(12, 6.4), layout="constrained", squeeze=False
    )
    for (sweep, (axis, label)), line in zip(SWEEPS.items(), panels, strict=True):
        for (quantity, unit), panel in zip(QUANTITIES.items(), line, strict=True):
            for model in dict.fromkeys(row["model"] for row in rows):
                points = [row for row in rows if (row["sweep"], row["model"]) == (sweep, model)]
                ys = [row[quantity] for row in points]
                panel.plot([row[axis] for row in points], ys, marker="o", label=model)
            panel.set(xscale="log", yscale="log", xlabel=label, title=unit)
            panel.grid(alpha=0.3)
    panels[0][0].legend()
    # text as text, and the same file from the same figures
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "scaling"})
    with replacing(plot) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
