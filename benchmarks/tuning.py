"""What tuning a part of the weights saves: ``python -m benchmarks.tuning``."""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import islice
from statistics import median
from typing import Any

from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import (
    Bench,
    add_dataset,
    arguments,
    build,
    machine,
    positive,
    report,
    train_step,
)
from recbole_missrec.trainer.freezing import count_parameters
from recbole_missrec.words import say

DESCRIPTION = """\
Time a training step of MISSRec with all weights and with a part of them trainable, on the same
batches, in turn, so that a machine that slows down does so for all; and count the floating-point
operations of these steps, forward and backward. A step is the median over --rounds of the mean over
--batches. What is trainable at the start of a tuning does not depend on where it starts from, so
that no pre-trained model is needed.

The target: adapters alone take at most 80 % of the time of full tuning, and at most 1.15 times what
the operations allow.
"""
WAYS = ("full", "adapters", "bias", "lora")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.tuning", DESCRIPTION)
    add_dataset(parser)
    add = parser.add_argument
    add("--batches", type=positive, default=5, metavar="N", help="default: 5")
    add("--rounds", type=positive, default=15, metavar="N", help="default: 15")
    args = parser.parse_args(argv)
    return report([args.out], lambda: run(args), table)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure with item ids and without."""
    rows = []
    for item_ids in (True, False):
        ids = "with ids" if item_ids else "without ids"
        benches = {}
        for way in WAYS:
            say(f"building: {way}, {ids}")
            options = {"tune": way, "item_ids": item_ids, "data_path": args.data_path}
            benches[way] = build("MISSRec", args.dataset, args.threads, **options)
        rows += [{"ids": ids, **row} for row in compare(benches, args.batches, args.rounds)]
    return {"dataset": args.dataset, **machine(args.threads), "rows": rows}


def compare(benches: dict[str, Bench], batches: int, rounds: int) -> list[dict[str, Any]]:
    """Steps of each way, in turn.

    Args:
        benches: way of tuning -> model, the first of them that of full tuning.
        batches: of a round.
        rounds: of each way.
    """
    first = next(iter(benches.values()))
    given = list(islice(first.train_data, batches))
    taken: dict[str, list[float]] = {way: [] for way in benches}
    for bench in benches.values():
        bench.model.train()
        steps(bench, given)
    for _ in range(rounds):
        for way, bench in benches.items():
            start = time.perf_counter()
            steps(bench, given)
            taken[way].append((time.perf_counter() - start) / batches)
    flop = {way: flop_of(bench, given[0]) for way, bench in benches.items()}
    whole, most = median(taken["full"]), flop["full"]
    return [
        {
            "tune": way,
            "trainable": count_parameters(bench.model)[0],
            "step_ms": median(taken[way]) * 1e3,
            "of_full": median(taken[way]) / whole,
            "gflop": flop[way] / 1e9,
            "flop_of_full": flop[way] / most,
            "time_over_flop": median(taken[way]) / whole / (flop[way] / most),
        }
        for way, bench in benches.items()
    ]


def steps(bench: Bench, batches: Sequence[Any]) -> None:
    """A training step on each batch."""
    for batch in batches:
        train_step(bench.model, bench.optimizer, batch)


def flop_of(bench: Bench, batch: Any) -> int:
    """Floating-point operations of a step, forward and backward; those of the optimiser are not
    matrix products and do not count."""
    with FlopCounterMode(display=False) as counter:
        train_step(bench.model, bench.optimizer, batch)
    return counter.get_total_flops()


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    columns = {
        "ids": "",
        "tune": "tune",
        "trainable": "trainable",
        "step_ms": "step ms",
        "of_full": "of full",
        "gflop": "GFLOP",
        "flop_of_full": "of full",
        "time_over_flop": "time over FLOP",
    }
    rows = [[row[key] for key in columns] for row in result["rows"]]
    return (
        f"\nMISSRec on {result['dataset']}; {result['cpu']}, threads: {result['threads']}, "
        f"torch {result['torch']}\n\n"
        + tabulate(
            rows,
            list(columns.values()),
            floatfmt=("", "", "", ".1f", ".3f", ".2f", ".3f", ".3f"),
            intfmt=",",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
