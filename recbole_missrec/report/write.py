"""The files of a report."""

from pathlib import Path
from urllib.parse import quote

from recbole_missrec.files import replacing
from recbole_missrec.report.page import TITLE, Chapter, chapters, render
from recbole_missrec.report.results import read_results
from recbole_missrec.report.run_tables import UNFINISHED, environment, unfinished
from recbole_missrec.report.table import Table
from recbole_missrec.report.writers import comma_separated, escape_markdown, latex, markdown


def write_report(out: Path) -> list[Path]:
    """Write what a comparison has found so far; the same results give the same bytes.

    Args:
        out: folder of the comparison.

    Returns:
        The files written: ``report.html``, one page that needs no other file; ``report.md``; and
        each table as ``tables/NAME.csv`` and ``tables/NAME.tex``.

    Raises:
        UsageError: the folder is not of a comparison, a file in it is damaged, or the report
            cannot be written.
    """
    runs, others = read_results(out)
    content = chapters(runs)
    notices = [table for table in [unfinished(others)] if table.rows]
    appendix = [table for table in [environment(runs)] if table.rows]
    tables = [table for chapter in content for part in chapter.parts for table in part.tables]
    texts = {
        out / "report.html": render(content, notices, appendix),
        out / "report.md": markdown_report(content, notices, appendix),
    }
    for table in [*notices, *tables, *appendix]:
        texts[out / "tables" / f"{table.name}.csv"] = comma_separated(table)
        texts[out / "tables" / f"{table.name}.tex"] = latex(table)
    if not notices:  # where all runs have finished since
        for ending in ("csv", "tex"):
            (out / "tables" / f"{UNFINISHED}.{ending}").unlink(missing_ok=True)
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return list(texts)


def markdown_report(
    content: list[Chapter], notices: list[Table], appendix: list[Table], title: str = TITLE
) -> str:
    """The same as ``render`` gives, as Markdown without figures."""
    blocks = [f"# {title}\n", *map(_markdown_table, notices)]
    for chapter in content:
        said = " ".join(filter(None, (chapter.summary, chapter.finding)))
        blocks += [f"## {escape_markdown(chapter.title)}\n", f"{escape_markdown(said)}\n"]
        for part in chapter.parts:
            blocks += [f"### {part.title}\n", *map(_markdown_table, part.tables)]
    if appendix:
        blocks += ["## Versions and hardware\n", *map(_markdown_table, appendix)]
    return "\n".join(blocks)


def _markdown_table(table: Table) -> str:
    if table.long:
        return f"[{escape_markdown(table.caption)}](tables/{quote(table.name)}.csv)\n"
    return markdown(table)
