"""What interests are worth: ``python -m benchmarks.worth``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import add_dataset, arguments, machine, positive, report
from benchmarks.studying import add_seeds, by_label, means, paired, seeds_of, train
from recbole_missrec.comparison.plan import Run, plan_run

DESCRIPTION = """\
Train MISSRec with its interests found in several ways, one factor at a time around the defaults,
and without any. Choices are made by N@10 on validation; each row's N@10 on the test rows is
compared user by user with that of the model without interests (p by Holm's correction).

It may be killed: asked for again it goes on where it was. Results are kept in the folder FOLDER.
"""
NONE = "no interests, an encoder of two layers"
ROWS: dict[str, dict[str, Any]] = {
    NONE: {"structure": "no_interests"},  # first: all others are compared with it
    "defaults: DPC-KNN, ratio 0.5, each epoch": {"interest_ratio": 0.5},
    "DPC-KNN by an index": {"interest_method": "dpc_knn_ivf"},
    "k-means": {"interest_method": "kmeans"},
    "clusters at random": {"interest_method": "random"},
    "one interest": {"interest_method": "single"},
    "each item its own": {"interest_method": "items"},
    "ratio 0.1": {"interest_ratio": 0.1},
    "ratio 0.02": {"interest_ratio": 0.02},
    "ratio 0.005: tens of interests": {"interest_ratio": 0.005},
    "every fifth epoch": {"interest_every": 5},
    "once": {"interest_every": 300},
    "5 neighbours": {"knn_neighbours": 5},
    "20 neighbours": {"knn_neighbours": 20},
    "gradients into the interests": {"interest_gradient": True},
    "the position of their last item": {"interest_recency": True},
    "each modality apart": {"interest_space": "modality"},
    "of frozen features": {"interest_space": "features"},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.worth", DESCRIPTION)
    add_dataset(parser)
    add_seeds(parser, "runs/worth")
    parser.add_argument(
        "--rows", type=positive, default=len(ROWS), metavar="N", help="the first N alone"
    )
    args = parser.parse_args(argv)
    return report([args.out], lambda: run(args), table)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train and collect.

    Args:
        args: of the command line.

    Returns:
        What ``--out`` holds.

    Raises:
        UsageError: a run failed.
    """
    common = {"data_path": args.data_path, "epochs": args.epochs}
    runs = [
        plan_run(
            label, "MISSRec", args.dataset, seed, (),
            {key: str(value) for key, value in (common | options).items()},
        )
        for seed in seeds_of(args)
        for label, options in list(ROWS.items())[: args.rows]
    ]  # fmt: skip
    train(runs, args.folder, args)
    return {**machine(args.threads), "dataset": args.dataset, "rows": rows(runs, args.folder)}


def rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """Means over the seeds, and N@10 beside that without interests, row by row."""
    results = by_label(runs, folder)
    compared = paired(runs, folder, {label: NONE for label in results if label != NONE})
    return [
        {"interests": label, "seeds": len(own), **means(own)}
        | dict(zip(("over none", "p"), compared.get(label, ()), strict=False))
        for label, own in results.items()
    ]


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    return tabulate(result["rows"], headers="keys", tablefmt="pipe", floatfmt=".4f")


if __name__ == "__main__":
    sys.exit(main())
