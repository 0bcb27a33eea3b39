"""What the runs were and took, a table a function."""

import pandas as pd

from recbole_missrec.report.results import Run, Unfinished
from recbole_missrec.report.study import HEADLINE, VALIDATED, Study
from recbole_missrec.report.table import NONE, Cell, Table, cut, decimal, file_name, number, whole

# Where a run writes, and which of its siblings it is: no difference between models.
OF_ONE_RUN = {"seed", "result_file", "per_user", "resume", "checkpoint_dir"}

UNFINISHED = "unfinished"  # name of the table


def unfinished(others: list[Unfinished]) -> Table:
    """The runs without a result, and why."""
    return Table(
        UNFINISHED,
        "Runs without a result",
        ["model", "data set", "seed", "why"],
        [
            [Cell(run.label), Cell(run.dataset), Cell(str(run.seed)), Cell(run.error)]
            for run in others
        ],
    )


def environment(runs: list[Run]) -> Table:
    """Versions and hardware; several values where the runs were made in several places."""
    names = dict.fromkeys(name for run in runs for name in run.environment)
    rows = []
    for name in names:
        values = dict.fromkeys(run.environment.get(name, NONE) for run in runs)
        rows.append([Cell(name), Cell("; ".join(values))])
    return Table("environment", "Versions and hardware", ["what", "version or value"], rows)


def curves(study: Study) -> Table:
    """Each epoch of each run."""
    rows = [
        [
            Cell(label),
            Cell(str(run.seed)),
            Cell(f"{epoch['epoch']:.0f}"),
            Cell(f"{epoch['seconds']:.1f}"),
            Cell(number(epoch["loss"])),
            Cell(number(epoch.get(VALIDATED))),
        ]
        for label, runs in study.runs.items()
        for run in runs
        for epoch in run.curve.to_dict("records")
    ]
    return Table(
        file_name(study.dataset, "curves"),
        f"{study.dataset}: training, epoch by epoch",
        ["model", "seed", "epoch", "seconds", "loss", f"{HEADLINE} on validation"],
        rows,
        long=True,
    )


def cost(study: Study) -> Table:
    """Parameters, time and memory of each label, means over seeds."""
    rows = []
    for label, runs in study.runs.items():
        costs = pd.DataFrame([{**run.cost, "seconds": run.seconds} for run in runs], dtype=float)
        mean = costs.mean()  # of those known; NaN where none is
        rows.append(
            [
                Cell(label),
                Cell(whole(mean["trainable"])),
                Cell(whole(mean["total"])),
                *(Cell(decimal(mean[name])) for name in ("epochs", "best_epoch")),
                *(Cell(decimal(mean[name])) for name in ("seconds_per_epoch", "seconds")),
                Cell(whole(mean["peak_memory_mib"])),
            ]
        )
    return Table(
        file_name(study.dataset, "cost"),
        f"{study.dataset}: parameters, time and memory, means over seeds",
        ["model", "trained parameters", "all parameters", "epochs", "best epoch (from 0)"]
        + ["s an epoch", "s in all", "peak MiB"],
        rows,
    )


def options(study: Study) -> Table:
    """The options in which labels differ, those of a single run left out."""
    names = sorted({name for runs in study.runs.values() for run in runs for name in run.config})
    rows = []
    for name in names:
        values = [_values(runs, name) for runs in study.runs.values()]
        if name not in OF_ONE_RUN and len(set(values)) > 1:
            rows.append([Cell(name), *map(cut, values)])
    return Table(
        file_name(study.dataset, "options"),
        f"{study.dataset}: options in which the models differ",
        ["option", *study.runs],
        rows,
        (f"{NONE}: the model has no such option.",),
    )


def _values(runs: list[Run], name: str) -> str:
    """An option in the runs of a label, which may differ by seed."""
    return "; ".join(
        dict.fromkeys(str(run.config[name]) if name in run.config else NONE for run in runs)
    )
