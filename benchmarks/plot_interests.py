"""Draw what ``benchmarks.interests`` measured:
``python -m benchmarks.plot_interests FIGURES PLOT``."""

import sys
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.plotting import plot_command

QUANTITIES = {"seconds": "s", "peak_mib": "MiB, highest of the process"}
DASHES = {"structured": "-", "real": "--"}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw one file; as ``plot_command``."""
    needed = {"kind", "tokens", "ratio", "method", *QUANTITIES}
    return plot_command("interests", needed, draw, argv)


def draw(rows: list[dict[str, Any]]) -> Any:
    """One panel for each ratio and quantity, both axes logarithmic.

    A line for each method and kind of tokens: a method has a colour, real tokens are dashed.
    """
    ratios = sorted({row["ratio"] for row in rows})
    methods = list(dict.fromkeys(row["method"] for row in rows))
    size = (9, 3.4 * len(ratios))
    figure, panels = plt.subplots(
        len(ratios), len(QUANTITIES), figsize=size, layout="constrained", squeeze=False
    )
    for ratio, line in zip(ratios, panels, strict=True):
        for (quantity, unit), panel in zip(QUANTITIES.items(), line, strict=True):
            for colour, method in enumerate(methods):
                for kind, dash in DASHES.items():
                    asked = {"ratio": ratio, "method": method, "kind": kind}.items()
                    points = sorted(
                        (row["tokens"], row[quantity]) for row in rows if asked <= row.items()
                    )
                    if points:
                        style = {"color": f"C{colour}", "linestyle": dash, "marker": "."}
                        label = f"{method}, {kind}"
                        panel.plot(*zip(*points, strict=True), label=label, **style)
            panel.set(xscale="log", yscale="log", xlabel="tokens")
            panel.set_title(f"{unit}; interests: {ratio:g} of the tokens")
            panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize="small")
    return figure


if __name__ == "__main__":
    sys.exit(main())
