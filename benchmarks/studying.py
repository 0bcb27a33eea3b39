"""What studies of many trainings share: runs one after the other, kept, and their means."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measuring import say
from recbole_missrec.comparison.execution import execute, read_result
from recbole_missrec.comparison.plan import Run
from recbole_missrec.errors import UsageError


def train(runs: Sequence[Run], folder: Path, threads: int) -> None:
    """Train what has not been trained yet.

    Args:
        runs: in their order.
        folder: of the results.
        threads: of a run.

    Raises:
        UsageError: a run failed.
    """
    say(f"{len(runs)} runs")
    for number, planned in enumerate(runs):
        if execute(planned, folder, threads, Path.cwd()):
            raise UsageError(f"{planned.label}: failed; see {folder}/*.error.json")
        say(f"[{number + 1}/{len(runs)}] {planned.label}, seed {planned.seed}")


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


def add_seeds(parser: argparse.ArgumentParser, folder: str) -> None:
    """Options of every study."""
    parser.add_argument("--folder", type=Path, default=Path(folder), help=f"default: {folder}")
    parser.add_argument("--seeds", default="2020,2021,2022", help="default: 2020,2021,2022")
    parser.add_argument(
        "--epochs", type=int, default=300, help="of each run, at most; default: 300"
    )
