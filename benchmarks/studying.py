"""What studies of many trainings share: their runs, which are kept, and means of the results."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from benchmarks.measuring import positive
from recbole_missrec.comparison.execution import read_result
from recbole_missrec.comparison.grid import run_all
from recbole_missrec.comparison.plan import Run
from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.evaluation.significance import compare, holm
from recbole_missrec.words import names, whole_number


def train(
    runs: Sequence[Run], folder: Path, args: argparse.Namespace, checkpoints: bool = False
) -> None:
    """Train what has not been trained yet.

    Args:
        runs: in their order.
        folder: of the results.
        args: of the command line: threads of a run, and runs at a time.
        checkpoints: keep the best of each run.

    Raises:
        UsageError: runs failed.
    """
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    failed = run_all(runs, folder, args.parallel, None, checkpoints)
    if failed:
        raise UsageError(f"{failed} of {len(runs)} runs failed; see {folder}/*.error.json")


def by_label(runs: Sequence[Run], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Results of the seeds of each label."""
    found: dict[str, list[dict[str, Any]]] = {}
    for planned in runs:
        found.setdefault(planned.label, []).append(read_result(folder, planned) or {})
    return found


def means(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Accuracy of a row of a study, means over the seeds."""
    return {
        "R@10": mean(result["test"]["recall@10"] for result in results),
        "N@10": mean(result["test"]["ndcg@10"] for result in results),
        "N@10 on validation": mean(result["valid"]["ndcg@10"] for result in results),
    }


def paired(
    runs: Sequence[Run], folder: Path, others: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """N@10 of rows on the test rows over that of others, user by user.

    Args:
        runs: of all rows.
        folder: of their results.
        others: label of the row that each label is compared with.

    Returns:
        Difference and p-value of each label of ``others``, corrected by Holm for their number.
    """
    users: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        users.setdefault(run.label, []).append(read_per_user(folder / f"{run.digest}.parquet"))
    found = [compare(users[label], users[other], "ndcg", 10) for label, other in others.items()]
    corrected = holm([comparison.p_value for comparison in found])
    differences = [comparison.difference for comparison in found]
    return dict(zip(others, zip(differences, corrected, strict=True), strict=True))


def seeds_of(args: argparse.Namespace) -> list[int]:
    """Seeds of the command line.

    Raises:
        UsageError: one is no whole number, or there twice.
    """
    return [whole_number("seeds", seed, lowest=0) for seed in names("seeds", args.seeds)]


def add_seeds(parser: argparse.ArgumentParser, folder: str) -> None:
    """Options of every study."""
    parser.add_argument("--folder", type=Path, default=Path(folder), help=f"default: {folder}")
    parser.add_argument("--seeds", default="2020,2021,2022", help="default: 2020,2021,2022")
    parser.add_argument(
        "--epochs", type=int, default=300, help="of each run, at most; default: 300"
    )
    parser.add_argument("--parallel", type=positive, default=1, metavar="N", help="runs at a time")
