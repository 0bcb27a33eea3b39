"""Discovery's share of the training of large catalogues: ``python -m benchmarks.discovery``."""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import islice
from statistics import median
from typing import Any

import psutil
import torch
from tabulate import tabulate

from benchmarks.generated import batches, generated_model
from benchmarks.measuring import (
    PeakMemory,
    arguments,
    machine,
    measure_each,
    positive,
    report,
    train_step,
)
from benchmarks.tokens import structured_tokens

ROWS, LONGEST = 512, 50  # of a batch; items of a history
AN_ITEM = 7  # training rows, as on Scientific
DESCRIPTION = f"""\
Discover interests of generated catalogues (two modalities of 512 dimensions, all present; features
in groups within topics, benchmarks/tokens.py) and train MISSRec on them for some steps, on the
processor, each catalogue and way in a process of its own: sampled softmax, batch {ROWS}, histories
of at most {LONGEST} items, interest_method auto, interests .02 of the tokens
searched, 20 neighbours.

An epoch is COMPUTED from the steps that were measured, for {AN_ITEM} training rows an item;
discovery, once an epoch, is measured whole. MiB are those beyond features, parameters and optimiser
state. What is in --out is not measured again.
"""
ITEMS = (10**5, 10**6)
LARGE = {"interest_method": "auto", "interest_ratio": 0.02, "knn_neighbours": 20}
WAYS: dict[str, dict[str, Any]] = {
    "all tokens": {},
    "a sample of 100,000": {"interest_sample": 100_000},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.discovery", DESCRIPTION)
    add = parser.add_argument
    add("--items", type=positive, nargs="+", default=ITEMS, metavar="N", help=f"default: {ITEMS}")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="NAME")
    add("--steps", type=positive, default=20, metavar="N", help="default: 20")
    args = parser.parse_args(argv)
    return report([args.out], lambda: run(args), table)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure each way at each size, in a process of its own."""
    identity = {**machine(args.threads), "steps": args.steps}
    points = [{"items": items, "way": way} for items in args.items for way in args.ways]
    measuring = partial(measure, args.threads, args.steps)
    return measure_each(args.out, identity, points, measuring)


def measure(threads: int, steps: int, point: dict[str, Any]) -> dict[str, Any]:
    """One way at one size.

    Args:
        threads: of torch.
        steps: of training.
        point: items of the catalogue, and the way, a name of ``WAYS``.
    """
    items, way = point["items"], point["way"]
    features = {
        modality: torch.cat([torch.zeros(1, 512), structured_tokens(items, 512, seed)])
        for seed, modality in enumerate(("text", "image"))
    }
    options = LARGE | WAYS[way] | {"softmax": "sampled", "MAX_ITEM_LIST_LENGTH": LONGEST}
    model = generated_model("MISSRec", items, threads, features, **options)
    del features
    with PeakMemory() as discovery:
        start = time.perf_counter()
        model.discover_interests(0)
        seconds = time.perf_counter() - start
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for parameter in model.parameters():  # gradients and state are there before a step
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    model.train()
    taken = []
    with PeakMemory() as training:
        for batch in islice(batches(items, ROWS, LONGEST), steps + 1):
            start = time.perf_counter()
            train_step(model, optimizer, batch)
            taken.append(time.perf_counter() - start)
    epoch = median(taken[1:]) * items * AN_ITEM / ROWS
    return {
        "interests": len(model.centroids) - 1,
        "used": model.health["used"],
        "discovery_seconds": seconds,
        "discovery_mib": discovery.mib,
        "step_seconds": median(taken[1:]),
        "step_mib": training.mib,
        "held_mib": psutil.Process().memory_info().rss / 2**20,
        "computed_epoch_seconds": epoch,
        "share": seconds / (seconds + epoch),
    }


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    columns = {
        "items": "items",
        "way": "searched",
        "interests": "interests",
        "discovery_seconds": "discovery s",
        "discovery_mib": "MiB",
        "step_seconds": "step s",
        "step_mib": "step MiB",
        "computed_epoch_seconds": "epoch s, computed",
        "share": "share of discovery",
    }
    rows = [[row[key] for key in columns] for row in result["rows"]]
    formats = ("", "", "", ".1f", ".0f", ".3f", ".0f", ".0f", ".3f")
    return (
        f"\n{result['cpu']}, threads: {result['threads']}, torch {result['torch']}\n\n"
        + tabulate(rows, list(columns.values()), floatfmt=formats)
    )


if __name__ == "__main__":
    sys.exit(main())
