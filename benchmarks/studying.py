"""What studies of many trainings share: their runs, which are kept, and means of the results."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measuring import positive
from recbole_missrec.comparison.execution import read_result
from recbole_missrec.comparison.grid import run_all
from recbole_missrec.comparison.plan import Run
from recbole_missrec.errors import UsageError
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
