"""The figures of a report as inline SVG, in the colours of the page, be it light or dark."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, cycle, product, repeat
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from recbole_missrec.report.results import Run
from recbole_missrec.report.study import HEADLINE, VALIDATED, Study
from recbole_missrec.report.table import cut, interval, number
from recbole_missrec.report.tables import SLICES

# Each stands for a colour of the page while matplotlib draws.
INK, ACCENT, MUTED, RULE = "#010101", "#010102", "#010103", "#010104"
_PAGE = {
    INK: "currentColor",
    ACCENT: "var(--accent)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recbole-missrec",
    "text.parse_math": False,  # a label may have a dollar
    "font.size": 8,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
}
_WIDTH = 3.6  # inches: a panel fits a telephone, several stand side by side on a wide page
_UNDATED = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # the same bytes each time


@dataclass(frozen=True)
class Drawing:
    """A figure: its caption, what it shows in words, and its SVG."""

    caption: str
    alt: str
    svg: str


def bars(study: Study, metric: str) -> Drawing:
    """A metric of each label, with its 95 % interval over users."""
    means, ends = study.means(metric), study.intervals[metric]

    def paint(axes: Axes) -> None:
        for row, (label, mean) in enumerate(means.items()):
            axes.barh(row, mean, height=0.56, color=_colour(study, label, metric, RULE))
            axes.plot(ends[label], (row, row), color=INK, linewidth=1.1, solid_capstyle="butt")
        axes.set_yticks(range(len(means)), [cut(label).text for label in means])
        axes.tick_params("y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(_tick)

    said = [f"{label} {number(mean)} {interval(*ends[label])}" for label, mean in means.items()]
    svg = _draw(paint, 0.4 + 0.24 * len(means), f"bars-{study.dataset}-{metric}")
    return Drawing(metric, f"Bars of {metric} with 95 % intervals: {'; '.join(said)}.", svg)


def learning_curves(study: Study, by: str) -> Drawing:
    """The headline metric on validation of each run.

    Args:
        study: the runs.
        by: ``epoch`` or ``seconds``.
    """
    lines = {
        label: [run.curve[[by, VALIDATED]].dropna() for run in runs if VALIDATED in run.curve]
        for label, runs in study.runs.items()
    }

    def paint(axes: Axes) -> None:
        for label, style in _styles(study).items():
            for points in lines[label]:
                best = [] if points.empty else [int(points[VALIDATED].argmax())]
                axes.plot(points[by], points[VALIDATED], markevery=best, **style)
        axes.set_xlabel("epoch" if by == "epoch" else "seconds of training")
        axes.yaxis.set_major_formatter(_tick)

    said = [
        f"{label} reaches {number(max(points[VALIDATED].max() for points in runs))}"
        for label, runs in lines.items()
        if any(map(len, runs))
    ]
    svg = _draw(paint, 2.4, f"curves-{study.dataset}-{by}")
    caption = f"{HEADLINE} on validation by {by}"
    alt = f"Lines of {caption}, one a run: {'; '.join(said)}."
    return Drawing(f"{caption}, best epochs marked", alt, svg)


def scatter(study: Study, against: str) -> Drawing:
    """The headline metric of each label against what it takes.

    Args:
        study: the runs.
        against: a key of `AGAINST`.
    """
    means = study.means(HEADLINE)
    title, taken = AGAINST[against]
    takes = {label: sum(map(taken, runs)) / len(runs) for label, runs in study.runs.items()}

    def paint(axes: Axes) -> None:
        if max(takes.values()) > 10 * min(takes.values()) > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_locator(NullLocator())
        for label, style in _styles(study).items():
            axes.plot(takes[label], means[label], **_mark(style))
        axes.margins(0.12, 0.12)
        axes.set_xlabel(title)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_formatter(_tick)

    said = [f"{label} {number(means[label])} at {takes[label]:,.0f}" for label in takes]
    svg = _draw(paint, 2.6, f"scatter-{study.dataset}-{against}")
    caption = f"{HEADLINE} against {title}"
    return Drawing(caption, f"Points of {caption}: {'; '.join(said)}.", svg)


def slice_lines(study: Study, by: str, found: pd.DataFrame) -> Drawing:
    """What `tables.sliced` found: the headline metric of each label, slice by slice.

    Lines join the slices of a number, not those of names, which have no order.
    """
    names = [str(name) for name in found["slice"].unique()]

    def paint(axes: Axes) -> None:
        for label, style in _styles(study).items():
            of_label = found[found["label"] == label]
            across = range(len(of_label))
            look = style if by in ("popularity", "length") else {**style, "linestyle": ""}
            axes.plot(across, of_label["mean"], **look)
            if label == study.best(HEADLINE):
                axes.vlines(across, of_label["low"], of_label["high"], ACCENT, alpha=0.5)
        names_shown = [cut(name, 14).text for name in names]
        axes.set_xticks(range(len(names)), names_shown, rotation=35, ha="right")
        axes.margins(x=0.08)
        axes.yaxis.set_major_formatter(_tick)

    svg = _draw(paint, 2.6, f"slices-{study.dataset}-{by}")
    caption = f"{HEADLINE} {SLICES[by]}"
    said = f"Marks of {caption}, in {len(names)} slices; the table below has the figures."
    return Drawing(f"{caption}, 95 % intervals of the best", said, svg)


def key(study: Study, beside: str) -> Drawing:
    """Which line, or mark, is which label.

    Args:
        study: the runs.
        beside: which figures it stands beside; each key on a page has ids of its own.
    """
    styles = _styles(study)
    if beside == "cost":  # marks alone
        styles = {label: _mark(style) for label, style in styles.items()}

    def paint(axes: Axes) -> None:
        axes.set_axis_off()
        lines = [Line2D([], [], **style) for style in styles.values()]
        axes.legend(lines, [cut(label).text for label in styles], loc="upper left", labelcolor=INK)

    svg = _draw(paint, 0.2 + 0.2 * len(styles), f"key-{study.dataset}-{beside}")
    return Drawing("Key", f"Lines and marks are {', '.join(styles)}.", svg)


AGAINST: dict[str, tuple[str, Callable[[Run], float]]] = {
    "time": ("seconds of a whole run", lambda run: run.seconds),
    "parameters": ("trained parameters", lambda run: run.cost["trainable"] or 0),
}


def _draw(paint: Callable[[Axes], None], height: float, name: str) -> str:
    """SVG of one pair of axes, of a height in inches; ``name`` keeps its ids apart from others'."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        paint(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=_UNDATED)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"| height="[^"]*"(?=[^>]*viewBox)', r"\1", svg)
    prefix = sha256(name.encode()).hexdigest()[:8]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for stand_in, colour in _PAGE.items():
        svg = svg.replace(stand_in, colour)
    return svg


def _tick(value: float, _: float) -> str:
    """Ticks as the tables write numbers."""
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return text.replace("0.", ".", 1) if 0 < value < 1 else text


def _colour(study: Study, label: str, metric: str, other: str) -> str:
    return ACCENT if label == study.best(metric) else other


def _styles(study: Study) -> dict[str, dict[str, Any]]:
    """Label -> line: the best in the accent colour, 36 others told apart by their marks alone."""
    looks = cycle(product(("-", "--", ":"), (INK, MUTED)))
    markers = cycle("sD^vPX*<>")
    styles: dict[str, dict[str, Any]] = {}
    fills = chain(repeat("full", 18), repeat("none"))  # marker and colour have a period of 18
    for label in study.runs:
        if label == study.best(HEADLINE):
            look = {"color": ACCENT, "marker": "o", "linewidth": 1.8, "zorder": 3}
        else:
            dashes, colour = next(looks)
            look = {"color": colour, "linestyle": dashes, "linewidth": 0.8}
            look["marker"] = next(markers)
            look["fillstyle"] = next(fills)
        styles[label] = {"markersize": 3.5, **look}
    return styles


def _mark(style: dict[str, Any]) -> dict[str, Any]:
    """The mark of a line, larger, without the line."""
    return {**style, "linestyle": "", "markersize": 6}
