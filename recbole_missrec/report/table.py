"""A table as such: what stands in it, not how it looks."""

import re
from dataclasses import dataclass
from math import isnan
from urllib.parse import quote

PLACES = {
    "best": "1st",
    "second": "2nd",
}  # said beside the figure, so that no mark is by looks alone
STARS = {0.01: "**", 0.05: "*"}
NONE = "–"
_NUMBER = re.compile(rf"{NONE}|[-+]?[\d,]*\.?\d+( %)?($| / )")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says.
        spread: how far the figure spreads, or an interval.
        place: ``best``, ``second`` or nothing.
        p_value: of the comparison with the best of the column, adjusted; None for no comparison.
        full: the whole text where ``text`` is cut.
    """

    text: str
    spread: str = ""
    place: str = ""
    p_value: float | None = None
    full: str = ""

    @property
    def stars(self) -> str:
        """``**`` below .01, ``*`` below .05."""
        p = 1.0 if self.p_value is None else self.p_value
        return next((stars for level, stars in STARS.items() if p < level), "")


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its head.

    Attributes:
        name: of its files.
        caption: one line.
        columns: heads, ``[columns]``.
        rows: cells, ``[rows][columns]``.
        notes: sentences below it.
        long: of too many rows to read from top to bottom.
    """

    name: str
    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    notes: tuple[str, ...] = ()
    long: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers alone, ``[columns]``; the heads of the rows are no numbers."""
        columns = list(zip(*self.rows, strict=True))[1:]
        return [False] + [all(_NUMBER.match(cell.text) for cell in column) for column in columns]

    @property
    def ranked(self) -> bool:
        """Whether figures have places."""
        return any(cell.place for row in self.rows for cell in row)


def number(value: float | None) -> str:
    """Four decimals, as ``.1234``; a dash for None and NaN."""
    if value is None or isnan(value):
        return NONE
    text = f"{round(value, 4) + 0.0:.4f}"  # + 0.0: never -.0000
    return text.replace("0.", ".", 1) if abs(round(value, 4)) < 1 else text


def decimal(value: float) -> str:
    """One decimal; a dash for NaN."""
    return NONE if isnan(value) else f"{value:,.1f}"


def whole(value: float) -> str:
    """No decimals; a dash for NaN."""
    return NONE if isnan(value) else f"{value:,.0f}"


def percent(ratio: float | None) -> str:
    """Signed, with two decimals, as ``+12.63 %``; a dash for None."""
    return NONE if ratio is None else f"{100 * ratio:+.2f} %"


def interval(low: float, high: float) -> str:
    """``[.1234, .2345]``."""
    return f"[{number(low)}, {number(high)}]"


def places(means: list[float]) -> list[str]:
    """Which of a column's means are best and second best, as they are shown.

    Equal figures share a place; the next lower one is second, however many are best. A mean
    without a rival has no place.

    Args:
        means: higher is better, ``[rows]``.

    Returns:
        ``best``, ``second`` or nothing, ``[rows]``.
    """
    if len(means) < 2:
        return [""] * len(means)
    shown = [round(mean, 4) for mean in means]
    place_of = dict(zip(sorted(set(shown), reverse=True), PLACES, strict=False))
    return [place_of.get(mean, "") for mean in shown]


def cut(text: str, width: int = 24) -> Cell:
    """A cell of a long text: its beginning shown, all of it kept."""
    return Cell(text) if len(text) <= width else Cell(text[: width - 1] + "…", full=text)


def file_name(dataset: str, table: str) -> str:
    """Name of a table's files: one for each data set and table, whatever signs are in them."""
    return f"{quote(dataset, safe='')}-{table}"
