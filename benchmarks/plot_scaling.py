"""Draw what ``benchmarks.scaling`` measured: ``python -m benchmarks.plot_scaling FIGURES PLOT``."""

import sys
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.plotting import plot_command

SWEEPS = {"items": ("items", "items"), "lengths": ("longest", "items of a history")}
QUANTITIES = {
    "step_seconds": "s, a training step",
    "step_memory_mib": "MiB, a training step",
    "evaluation_seconds": "s, ranking 10,000 users",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw one file; as ``plot_command``."""
    return plot_command("scaling", {"sweep", "model", "items", "longest", *QUANTITIES}, draw, argv)


def draw(rows: list[dict[str, Any]]) -> Any:
    """A panel for each measured sweep and quantity, a line for each model, logarithmic axes."""
    measured = [sweep for sweep in SWEEPS if any(row["sweep"] == sweep for row in rows)]
    figure, panels = plt.subplots(
        len(measured), len(QUANTITIES), figsize=(12, 3.2 * len(measured)), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for sweep, line in zip(measured, panels, strict=True):
        axis, label = SWEEPS[sweep]
        for (quantity, unit), panel in zip(QUANTITIES.items(), line, strict=True):
            for model in dict.fromkeys(row["model"] for row in rows):
                points = [row for row in rows if (row["sweep"], row["model"]) == (sweep, model)]
                ys = [row[quantity] for row in points]
                panel.plot([row[axis] for row in points], ys, marker="o", label=model)
            panel.set(xscale="log", yscale="log", xlabel=label, title=unit)
            panel.grid(alpha=0.3)
    panels[0][0].legend()
    return figure


if __name__ == "__main__":
    sys.exit(main())
