"""What a data set's runs have reached, a table a function."""

import numpy as np
import pandas as pd

from recbole_missrec.evaluation.resampling import LEVEL
from recbole_missrec.evaluation.significance import Comparison
from recbole_missrec.evaluation.slices import slices
from recbole_missrec.report.published import published
from recbole_missrec.report.study import HEADLINE, METRICS, Study
from recbole_missrec.report.table import (
    Cell,
    Table,
    file_name,
    interval,
    number,
    percent,
    places,
)

SLICES = {
    "popularity": "by occurrences of the target in training",
    "length": "by length of the history",
    "modalities": "by modalities that the target has",
    "category": "by category of the target",
}
SLICE_RESAMPLES = 2_000  # there are many slices, and their intervals are wide


def accuracy(study: Study) -> Table:
    """The main table: each metric's mean and spread over seeds, its place and its stars."""
    known = published([run for runs in study.runs.values() for run in runs])
    place_of = {}
    for metric in METRICS:
        means = study.means(metric)
        place_of[metric] = dict(zip(means, places(list(means.values())), strict=True))
    rows = []
    for label, runs in study.runs.items():
        row = [Cell(label), Cell(str(len(runs)))]
        for metric in METRICS:
            seeds = study.by_seed[metric][label]
            row.append(
                Cell(
                    number(float(np.mean(seeds))),
                    spread=f"±{number(float(np.std(seeds, ddof=1)))}" if len(seeds) > 1 else "",
                    place=place_of[metric][label],
                    p_value=study.p_values[metric].get(frozenset({label, study.best(metric)})),
                )
            )
        if known:
            figures = known.of(runs[0])
            row.append(Cell(" / ".join(number(figures.get(name)) for name in ("R@10", "N@10"))))
        rows.append(row)
    notes = [
        "Means over seeds, ± the standard deviation over seeds. Bold or underlined: the best "
        "(1st) and the second best (2nd) as shown. Stars: the best of the column is significantly "
        "better (* p < .05, ** p < .01; randomisation tests over users, Holm-corrected for all "
        "pairs of rows).",
        study.caveat,
        *((known.source, known.note) if known else ()),
    ]
    return Table(
        file_name(study.dataset, "accuracy"),
        f"{study.dataset}: accuracy on the test rows",
        ["model", "seeds", *METRICS] + (["published R@10 / N@10"] if known else []),
        rows,
        tuple(filter(None, notes)),
    )


def finding(study: Study) -> str:
    """In words, by how much the best is ahead; empty where there is nothing to compare with."""
    lead, rival = study.leads.get(HEADLINE), study.rival(HEADLINE)
    if lead is None or rival is None:
        return ""
    best = study.best(HEADLINE)
    p = study.p_values[HEADLINE][frozenset({best, rival})]
    return (
        f"In {HEADLINE}, {best} is ahead of {rival} by {percent(lead.relative)} {_relative(lead)}: "
        f"{number(lead.mean_a)} against {number(lead.mean_b)}, "
        f"{'significant' if p < LEVEL else 'not significant'} (p = {number(p)})."
    )


def improvement(study: Study) -> Table:
    """By how much the best is ahead of its rival, metric by metric."""
    rows = []
    for metric, lead in study.leads.items():
        best, rival = study.best(metric), study.rival(metric) or ""
        rows.append(
            [
                Cell(metric),
                Cell(best),
                Cell(rival),
                Cell(percent(lead.relative), spread=_relative(lead)),
                Cell(number(lead.difference), spread=interval(lead.low, lead.high)),
                Cell(number(study.p_values[metric][frozenset({best, rival})])),
            ]
        )
    return Table(
        file_name(study.dataset, "improvement"),
        f"{study.dataset}: the best against the best of another model",
        ["metric", "best", "against", "relative improvement", "difference", "p"],
        rows,
        (
            "In brackets: 95 % bootstrap intervals over users and seeds. p: randomisation tests "
            "over users, Holm-corrected for all pairs of rows.",
        ),
    )


def _relative(lead: Comparison) -> str:
    return f"[{percent(lead.relative_low)}, {percent(lead.relative_high)}]"


def intervals(study: Study) -> Table:
    """95 % interval of each mean."""
    rows = [
        [
            Cell(label),
            *(
                Cell(number(study.means(metric)[label]), interval(*study.intervals[metric][label]))
                for metric in METRICS
            ),
        ]
        for label in study.runs
        if not study.caveat
    ]
    return Table(
        file_name(study.dataset, "intervals"),
        f"{study.dataset}: means with 95 % intervals over users",
        ["model", *METRICS],
        rows,
    )


def sliced(study: Study, by: str) -> pd.DataFrame:
    """The headline metric of each label in each slice of the users.

    The slices are those of the first run: what the files say of a target may differ between runs,
    as when pictures came to the data set in between.

    Args:
        study: the runs.
        by: a key of `SLICES`.

    Returns:
        Columns label, slice, users, mean, low, high; no rows where the runs cannot be compared.
    """
    if study.caveat:
        return pd.DataFrame()
    (first, *_), *_ = study.frames.values()
    of_target = first.set_index(["user", "target"])[by]
    parts = {}
    for label, frames in study.frames.items():
        alike = [frame.drop(columns=by).join(of_target, on=["user", "target"]) for frame in frames]
        parts[label] = slices(alike, by, *METRICS[HEADLINE], resamples=SLICE_RESAMPLES)
    return pd.concat(parts, names=["label", None]).reset_index("label")


def slice_table(study: Study, by: str, found: pd.DataFrame) -> Table:
    """What `sliced` found, a row for each slice and a column for each label."""
    rows = []
    for _, of_slice in found.groupby("slice", sort=False) if len(found) else ():
        first = of_slice.iloc[0]
        row = [Cell(str(first["slice"])), Cell(f"{first['users']:,}")]
        row += [
            Cell(number(one.mean), interval(one.low, one.high))
            for one in of_slice[["mean", "low", "high"]].itertuples()
        ]
        rows.append(row)
    return Table(
        file_name(study.dataset, f"by-{by}"),
        f"{study.dataset}: {HEADLINE} {SLICES[by]}",
        [by, "users", *study.runs],
        rows,
        (
            "In brackets: 95 % bootstrap intervals over users. Users are in the slices that the "
            "first run names.",
        ),
    )


def beyond_accuracy(study: Study) -> Table:
    """Coverage, concentration and novelty of what is recommended, means over seeds."""
    found = [run.beyond for runs in study.runs.values() for run in runs]
    names = dict.fromkeys(name for figures in found for name in figures)
    rows = []
    for label, runs in study.runs.items():
        means = pd.DataFrame([run.beyond for run in runs]).reindex(columns=list(names)).mean()
        rows.append([Cell(label), *(Cell(number(means[name])) for name in names)])
    return Table(
        file_name(study.dataset, "beyond-accuracy"),
        f"{study.dataset}: beyond accuracy, means over seeds",
        ["model", *names],
        rows if names else [],
    )
