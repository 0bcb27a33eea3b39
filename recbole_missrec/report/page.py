"""The page of a report: what the template shows of each data set."""

from dataclasses import dataclass

from recbole_missrec.pages import render_page
from recbole_missrec.report import figures, run_tables, tables
from recbole_missrec.report.figures import Drawing
from recbole_missrec.report.results import Run
from recbole_missrec.report.study import METRICS, Study, studies
from recbole_missrec.report.table import PLACES, Table

TITLE = "Comparison of models"


@dataclass(frozen=True)
class Part:
    """One idea: figures, and the tables that hold the same in numbers.

    Attributes:
        title: its heading.
        tables: shown, or folded where there are figures or where they are long.
        drawings: side by side.
    """

    title: str
    tables: list[Table]
    drawings: list[Drawing]


@dataclass(frozen=True)
class Chapter:
    """All of one data set.

    Attributes:
        title: name of the data set.
        summary: what was compared, in a line.
        finding: which is the best, and by how much; may be empty.
        parts: in the order of reading.
    """

    title: str
    summary: str
    finding: str
    parts: list[Part]


def chapters(runs: list[Run]) -> list[Chapter]:
    """One chapter for each data set; parts without figures to show are left out."""
    return [_chapter(study) for study in studies(runs)]


def _chapter(study: Study) -> Chapter:
    sliced = {by: tables.sliced(study, by) for by in tables.SLICES}
    # one slice for all says no more than the whole
    sliced = {by: found for by, found in sliced.items() if len(found) > len(study.runs)}
    parts = [
        Part("Accuracy", [tables.accuracy(study), tables.improvement(study)], []),
        Part(
            "Means with 95 % intervals",
            [tables.intervals(study)],
            [figures.bars(study, metric) for metric in METRICS if not study.caveat],
        ),
        Part(
            "Learning curves",
            [run_tables.curves(study)],
            [
                *(figures.learning_curves(study, by) for by in ("epoch", "seconds")),
                figures.key(study, "curves"),
            ],
        ),
        Part(
            "Accuracy against cost",
            [run_tables.cost(study)],
            [
                *(figures.scatter(study, against) for against in figures.AGAINST),
                figures.key(study, "cost"),
            ],
        ),
        Part(
            "Slices of the users",
            [tables.slice_table(study, by, found) for by, found in sliced.items()],
            [
                *(figures.slice_lines(study, by, found) for by, found in sliced.items()),
                figures.key(study, "slices"),
            ],
        ),
        Part("Beyond accuracy", [tables.beyond_accuracy(study)], []),
        Part("Options", [run_tables.options(study)], []),
    ]
    filled = [
        Part(part.title, [table for table in part.tables if table.rows], part.drawings)
        for part in parts
    ]
    said = _summary(study), tables.finding(study)
    return Chapter(study.dataset, *said, [part for part in filled if part.tables])


def _summary(study: Study) -> str:
    runs = [run for runs in study.runs.values() for run in runs]
    users = dict.fromkeys(len(run.users) for run in runs)
    said = [f"{' or '.join(f'{count:,}' for count in users)} users ranked"]
    for name in ("items", "interactions"):
        counts = dict.fromkeys(run.counts[name] for run in runs if name in run.counts)
        if counts:
            said.append(f"{' or '.join(f'{count:,}' for count in counts)} {name}")
    seeds = sorted({run.seed for run in runs})
    said.append(f"{len(study.runs)} model{'s' * (len(study.runs) > 1)}")
    said.append(f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    return ", ".join(said) + "."


def render(
    content: list[Chapter], notices: list[Table], appendix: list[Table], title: str = TITLE
) -> str:
    """The page as HTML.

    Args:
        content: a chapter for each data set.
        notices: tables that come first: what is missing.
        appendix: tables that come last.
        title: of the page.

    Returns:
        One file that needs no other.
    """
    return render_page(
        "recbole_missrec.report",
        "report.html",
        chapters=content,
        notices=notices,
        appendix=appendix,
        places=PLACES,
        heading=title,
    )
