"""Figures of the benchmarks, as pictures."""

from pathlib import Path
from typing import Any

from recbole_missrec.files import replacing

PANELS = (
    ("step_seconds", "seconds of a training step"),
    ("step_memory_mib", "MiB of a training step"),
    ("evaluation_seconds", "seconds to rank for 10,000 users"),
    ("evaluation_memory_mib", "MiB of an evaluation"),
)
SWEEPS = (
    ("items", "items", "items in the catalogue"),
    ("lengths", "longest", "items in a history"),
)


def plot_scaling(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rows of ``benchmarks.scaling``: a column a figure, a row a sweep.

    Args:
        rows: its rows.
        path: an SVG or PNG file.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    sweeps = [sweep for sweep in SWEEPS if any(row["sweep"] == sweep[0] for row in rows)]
    size = (4 * len(PANELS), 3.4 * len(sweeps))
    figure, axes = pyplot.subplots(len(sweeps), len(PANELS), figsize=size, squeeze=False)
    models = list(dict.fromkeys(row["model"] for row in rows))
    for line, (sweep, across, label) in zip(axes, sweeps, strict=True):
        for axis, (key, title) in zip(line, PANELS, strict=True):
            for model in models:
                points = [row for row in rows if row["sweep"] == sweep and row["model"] == model]
                axis.loglog(
                    [p[across] for p in points], [p[key] for p in points], "o-", label=model
                )
            axis.set_title(title, fontsize=10)
            axis.set_xlabel(label)
            axis.grid(alpha=0.3)
    axes[0][0].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:])
    pyplot.close(figure)
