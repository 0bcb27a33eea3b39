"""The command line: ``python -m benchmarks.stress``."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import add_dataset, arguments, machine, report, say, write_json
from benchmarks.stress import trainings
from benchmarks.stress.cold import cold_rows
from benchmarks.stress.fusion import fusion_rows
from benchmarks.stress.pages import summary, write_pages
from benchmarks.stress.trained import CONDITIONS, Trained
from benchmarks.studying import add_seeds, means, seeds_of, train
from recbole_missrec.comparison.execution import checkpoint_path, read_result, result_path
from recbole_missrec.comparison.plan import Run
from recbole_missrec.errors import UsageError, nearest

DESCRIPTION = """\
Train models and see what they are worth under stress, part by part:

  whole     trained with everything; then items lack texts or pictures, features are noisy or of
            other items, histories are short: nothing is trained for that
  lacking   half of the items, or all, lack a modality in training, too
  cold      a fifth of the items is not sold before the test: three draws, the first seed
  fusion    every fusion where some items have a text alone and others a picture alone

It may be killed: asked for again it goes on where it was. Each finished run is kept in FOLDER as
JSON and Parquet by its digest. FOLDER/NAME.json, .md and .html tell of all parts that are done.
"""
PARTS = ("whole", "lacking", "cold", "fusion")
MINUTES = 10  # of a processor, for a training on Scientific


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stress tests.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.stress", DESCRIPTION)
    add_dataset(parser)
    add_seeds(parser, "docs/results/stress")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"default: {','.join(PARTS)}")
    parser.add_argument("--only", default="", metavar="PATTERN", help="labels, as re.search")
    args = parser.parse_args(argv)
    return report([args.folder / f"{args.dataset}.json"], lambda: run(args), summary)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train, evaluate, and write the pages.

    Args:
        args: of the command line.

    Returns:
        What the JSON holds.

    Raises:
        UsageError: a part that there is not, or a run failed.
    """
    for part in args.parts.split(","):
        if part not in PARTS:
            raise UsageError(f"--parts={args.parts}: no part '{part}'; {nearest(part, PARTS)}")
    plans = {part: plan(part, args) for part in PARTS}
    parts = args.parts.split(",")
    named = [run for part in parts for run in plans[part] if re.search(args.only, run.label)]
    left = [run for run in named if not result_path(args.folder, run).is_file()]
    hours = len(left) * MINUTES / 60
    say(f"{len(left)} of {len(named)} runs to train: about {hours:.1f} h of a core")
    train(named, args.folder, args, checkpoints=True)
    for done in finished(plans["whole"], args.folder):
        for condition in CONDITIONS:
            under(condition, done, args.folder)
    result = {
        **machine(args.threads),
        "dataset": args.dataset,
        "whole": whole_rows(plans["whole"], args.folder),
        "lacking": seed_rows(plans["lacking"], args.folder),
        "cold": cold_rows(plans["cold"], args.folder),
        "fusion": fusion_rows(plans["fusion"], args.folder),
        "left": [f"{run.label}, seed {run.seed}" for run in undone(plans, args.folder)],
    }
    write_pages(result, args.folder)
    return result


def plan(part: str, args: argparse.Namespace) -> list[Run]:
    """All runs of a part."""
    given = Path(args.data_path), args.dataset
    made = args.folder / "data" / args.dataset
    runs: list[Run] = []
    seeds = seeds_of(args)
    for seed in seeds[:1] if part == "cold" else seeds:
        if part == "whole":
            runs += trainings.whole(*given, seed, args.epochs)
        else:
            runs += getattr(trainings, part)(*given, seed, args.epochs, made)
    return runs


def finished(runs: Sequence[Run], folder: Path) -> list[Run]:
    """Runs that have a result."""
    return [run for run in runs if result_path(folder, run).is_file()]


def undone(plans: dict[str, list[Run]], folder: Path) -> list[Run]:
    """Runs of any part that have none."""
    return [run for runs in plans.values() for run in runs if run not in finished(runs, folder)]


def under(condition: str, run: Run, folder: Path) -> list[dict[str, Any]]:
    """Figures of a trained model under a condition; computed unless they are kept.

    Raises:
        UsageError: they are not, and neither is the checkpoint.
    """
    kept = folder / f"{run.digest}.{condition}.json"
    if kept.is_file():
        rows: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))["rows"]
        return rows
    checkpoint = checkpoint_path(folder, run)
    if not checkpoint.is_file():
        raise UsageError(
            f"{checkpoint}: is not kept; remove {result_path(folder, run)} to train again"
        )
    say(f"{run.label}, seed {run.seed}: {condition}")
    model = Trained(checkpoint)
    rows = [{"whole": True, **model.whole}, *CONDITIONS[condition](model)]
    write_json(kept, {"rows": rows})
    return rows


def whole_rows(runs: Sequence[Run], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Condition -> rows of all models and seeds."""
    return {
        condition: [
            {"model": run.label, "seed": run.seed, **row}
            for run in finished(runs, folder)
            for row in under(condition, run, folder)
        ]
        for condition in CONDITIONS
    }


def seed_rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """Accuracy of each run that is done."""
    return [
        {"model": run.label, "seed": run.seed, **means([read_result(folder, run) or {}])}
        for run in finished(runs, folder)
    ]


if __name__ == "__main__":
    sys.exit(main())
