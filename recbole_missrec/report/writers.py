"""Tables as Markdown, CSV and LaTeX; what others have written is escaped in each."""

import csv
import io
from collections.abc import Callable

from recbole_missrec.report.table import NONE, PLACES, Cell, Table

_MARKDOWN = {ord(sign): f"\\{sign}" for sign in "\\`*_[]|#~"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
}
_LATEX = {ord(sign): f"\\{sign}" for sign in "&%$#_{}"} | {
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("|"): r"\textbar{}",
    ord("±"): r"$\pm$",
    ord("–"): "--",
    ord("−"): "$-$",
    ord("…"): r"\dots{}",
    # after the end of a line these three would be an argument of it
    ord("["): "{[}",
    ord("]"): "{]}",
    ord("*"): "{*}",
}
Render = Callable[[Cell], str]


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return " ".join(text.split()).translate(_MARKDOWN)


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it is, in one line."""
    return " ".join(text.split()).translate(_LATEX)


def markdown(table: Table) -> str:
    """A table for a README: the best bold, the second best underlined, each with its place."""

    def render(cell: Cell) -> str:
        figure = escape_markdown(cell.text)
        figure = {"best": f"**{figure}**", "second": f"<ins>{figure}</ins>"}.get(cell.place, figure)
        stars = escape_markdown(cell.stars)
        parts = (figure + stars, PLACES.get(cell.place, ""), escape_markdown(cell.spread))
        return " ".join(filter(None, parts))

    head = [escape_markdown(column) for column in table.columns]
    rule = ["---:" if numeric else "---" for numeric in table.numeric]
    lines = [head, rule, *([render(cell) for cell in row] for row in table.rows)]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    paragraphs = [f"**{escape_markdown(table.caption)}**", body]
    return "\n\n".join([*paragraphs, *(escape_markdown(note) for note in table.notes)]) + "\n"


def latex(table: Table) -> str:
    r"""A table for a paper, of the package booktabs: the best ``\textbf``, the second
    ``\underline``."""

    def render(cell: Cell) -> str:
        figure = escape_latex(cell.text)
        command = {"best": r"\textbf", "second": r"\underline"}.get(cell.place)
        figure = f"{command}{{{figure}}}" if command else figure
        stars = f"$^{{{cell.stars}}}$" if cell.stars else ""
        return " ".join(filter(None, (figure + stars, escape_latex(cell.spread))))

    def line(cells: list[str]) -> str:
        return " & ".join(cells) + r" \\"

    alignment = "".join("r" if numeric else "l" for numeric in table.numeric)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(' '.join((table.caption + '.', *table.notes)))}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            line([escape_latex(column) for column in table.columns]),
            r"\midrule",
            *(line([render(cell) for cell in row]) for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def comma_separated(table: Table) -> str:
    """A table for programs: spread, place and p-value in columns of their own; a dash is empty."""
    extras: dict[str, Render] = {
        "spread": lambda cell: cell.spread.removeprefix("±"),
        "place": lambda cell: cell.place,
        "p": lambda cell: "" if cell.p_value is None else f"{cell.p_value:.4f}",
    }
    columns: list[tuple[str, int, Render]] = []
    for index, column in enumerate(table.columns):
        columns.append((column, index, _plain))
        for name, render in extras.items():
            if any(render(row[index]) for row in table.rows):
                columns.append((f"{column} {name}", index, render))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column for column, _, _ in columns])
    writer.writerows([render(row[index]) for _, index, render in columns] for row in table.rows)
    return file.getvalue()


def _plain(cell: Cell) -> str:
    return "" if cell.text == NONE else cell.full or cell.text
