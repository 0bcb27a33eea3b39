"""The command line: ``python -m benchmarks.stress``."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import add_dataset, arguments, machine, report
from benchmarks.stress import trainings
from benchmarks.stress.cold import cold_rows
from benchmarks.stress.fusion import fusion_rows
from benchmarks.stress.pages import summary, write_pages
from benchmarks.stress.trained import CONDITIONS, Trained
from benchmarks.stress.unseen import raised
from benchmarks.studying import add_seeds, means, seeds_of, train
from recbole_missrec.comparison.execution import checkpoint_path, read_result, result_path
from recbole_missrec.comparison.plan import Run
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.evaluation.slices import slices
from recbole_missrec.files import write_json
from recbole_missrec.words import say

DESCRIPTION = """\
Train models and see what they are worth under stress, part by part:

  whole     trained with everything; then items lack texts or pictures, features are noisy or of
            other items, histories are short: nothing is trained for that
  lacking   half of the items, or all, lack a modality in training, too
  cold      a fifth of the items is not sold before the test: three draws, the first seed; also
            where these have a first sentence alone (texts by MiniLM: pip install '.[offline]')
  unseen    by how much scores of new items are to be raised, chosen without the test rows
  fusion    every fusion where some items have a text alone and others a picture alone

It may be killed: asked for again it goes on where it was. Each finished run is kept in FOLDER as
JSON and Parquet by its digest. FOLDER/NAME.json, .md and .html tell of the parts that are asked
for, and what they told before of the others.
"""
LAYOUT = "benchmarks.stress 2"
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
        UsageError: a part that there is not, pages of another layout, or a run failed.
    """
    for part in args.parts.split(","):
        if part not in PARTS:
            raise UsageError(f"--parts={args.parts}: no part '{part}'; {nearest(part, PARTS)}")
    try:
        wanted = re.compile(args.only)
    except re.error as error:
        raise UsageError(f"--only={args.only}: no regular expression: {error}") from error
    result = before(args.folder / f"{args.dataset}.json", args.dataset)
    parts = args.parts.split(",")
    plans = {part: plan(part, args) for part in parts}
    named = [run for part in parts for run in plans[part] if wanted.search(run.label)]
    left = [run for run in named if not result_path(args.folder, run).is_file()]
    hours = sum(run.model != "LastItem" for run in left) * MINUTES / 60
    say(f"{len(left)} of {len(named)} runs are left: about {hours:.1f} h of a core")
    train(named, args.folder, args, checkpoints=True)
    for part, runs in plans.items():
        result["machines"][part] = machine(args.threads)
        result[part] = ROWS[part](runs, args.folder)
        result["left"][part] = [
            f"{run.label}, seed {run.seed}" for run in undone(runs, args.folder)
        ]
    write_pages(result, args.folder)
    return result


def before(told: Path, dataset: str) -> dict[str, Any]:
    """What was told of a data set before, part by part.

    Raises:
        UsageError: the file is not what this module writes.
    """
    nothing: dict[str, Any] = {part: [] for part in PARTS}
    if not told.is_file():
        return {"layout": LAYOUT, "dataset": dataset, "machines": {}, "left": {}} | nothing
    try:
        result: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{told}: damaged: {error}; remove it to tell of all anew") from error
    if not isinstance(result, dict) or result.get("layout") != LAYOUT:
        raise UsageError(f"{told}: of another layout; remove it to tell of all anew")
    return nothing | result


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


def undone(runs: Sequence[Run], folder: Path) -> list[Run]:
    """Runs that have none."""
    return [run for run in runs if not result_path(folder, run).is_file()]


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
    rows = [{"whole": True, **model.whole}, *MEASURES[condition](model)]
    write_json(kept, {"rows": rows})
    return rows


def whole_rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """Rows of all models, seeds and conditions, and of all models by popularity of the target."""
    done = finished(runs, folder)
    rows = [
        {"model": run.label, "seed": run.seed, "condition": condition, **row}
        for run in done
        for condition in CONDITIONS
        for row in under(condition, run, folder)
    ]
    for label in dict.fromkeys(run.label for run in done):
        own = [run for run in done if run.label == label]
        frames = [read_per_user(folder / f"{run.digest}.parquet") for run in own]
        found = slices(frames, "popularity", "recall", 10).to_dict("records")
        rows += [{"model": label, "condition": "popularity", **row} for row in found]
    return rows


def unseen_rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """Rows of all models, seeds and values of ``unseen_bias``."""
    return [
        {"model": run.label, "seed": run.seed, **row}
        for run in finished(runs, folder)
        for row in under("raised", run, folder)[1:]
    ]


def seed_rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """Accuracy of each run that is done."""
    return [
        {"model": run.label, "seed": run.seed, **means([read_result(folder, run) or {}])}
        for run in finished(runs, folder)
    ]


MEASURES = CONDITIONS | {"raised": raised}
ROWS = {"whole": whole_rows, "lacking": seed_rows, "cold": cold_rows}
ROWS |= {"unseen": unseen_rows, "fusion": fusion_rows}
PARTS = tuple(ROWS)


if __name__ == "__main__":
    sys.exit(main())
