"""What it saves to discover interests less often, or warm: ``python -m benchmarks.refresh``."""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from statistics import mean
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import (
    add_dataset,
    arguments,
    build,
    machine,
    measure_each,
    positive,
    report,
    train_step,
)

DESCRIPTION = """\
Train MISSRec on the processor for some epochs, with each way to refresh its interests, each in a
process of its own. Seconds of discovery include those in which tokens are found not to have moved;
movement and changes are means over the refreshes after the first. Whether fewer refreshes cost
accuracy is not measured here. What is in --out is not measured again.
"""
WAYS: dict[str, dict[str, Any]] = {
    "dpc_knn": {},
    "dpc_knn, every fifth epoch": {"interest_every": 5},
    "dpc_knn, moved by 0.1": {"interest_moved": 0.1},
    "kmeans": {"interest_method": "kmeans"},
    "kmeans, warm": {"interest_method": "kmeans", "interest_warm_start": True},
    "kmeans, warm, moved by 0.1": {
        "interest_method": "kmeans",
        "interest_warm_start": True,
        "interest_moved": 0.1,
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.refresh", DESCRIPTION)
    add_dataset(parser)
    add = parser.add_argument
    add("--epochs", type=positive, default=10, metavar="N", help="default: 10")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="NAME")
    args = parser.parse_args(argv)
    return report([args.out], lambda: run(args), table)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure each way, in a process of its own."""
    identity = {**machine(args.threads), "dataset": args.dataset, "epochs": args.epochs}
    measuring = partial(measure, args.dataset, args.data_path, args.threads, args.epochs)
    return measure_each(args.out, identity, [{"way": way} for way in args.ways], measuring)


def measure(
    dataset: str, data_path: str, threads: int, epochs: int, point: dict[str, str]
) -> dict[str, Any]:
    """Train with one way to refresh interests.

    Args:
        dataset: name of a data set.
        data_path: the folder that holds it.
        threads: of torch.
        epochs: number of epochs.
        point: the way, a name of ``WAYS``.
    """
    options = WAYS[point["way"]]
    bench = build("MISSRec", dataset, threads, data_path=data_path, **options)
    model = bench.model.train()
    discovery, training = 0.0, 0.0
    refreshes: list[dict[str, float]] = []
    for epoch in range(epochs):
        start = time.perf_counter()
        if epoch % options.get("interest_every", 1) == 0:
            model.discover_interests(epoch)
            if not refreshes or model.health is not refreshes[-1]:
                refreshes.append(model.health)
        discovered = time.perf_counter()
        bench.train_data.transform = model.training_packer(epoch)  # as the trainer does
        for batch in bench.train_data:
            train_step(model, bench.optimizer, batch)
        discovery += discovered - start
        training += time.perf_counter() - discovered
    later = refreshes[1:]
    return {
        "refreshes": len(refreshes),
        "discovery_seconds": discovery,
        "training_seconds": training,
        "moved": mean(health["moved"] for health in later) if later else None,
        "changed_share": mean(health["changed_share"] for health in later) if later else None,
    }


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        [
            row["way"],
            row["refreshes"],
            row["discovery_seconds"],
            row["discovery_seconds"] / (row["discovery_seconds"] + row["training_seconds"]) * 100,
            row["moved"],
            row["changed_share"],
        ]
        for row in result["rows"]
    ]
    headers = ["interests", "refreshes", "discovery s", "% of training", "moved", "changed"]
    return (
        f"\nMISSRec on {result['dataset']}, {result['epochs']} epochs; {result['cpu']}, threads: "
        f"{result['threads']}, torch {result['torch']}\n\n"
        + tabulate(rows, headers, floatfmt=("", "", ".2f", ".1f", ".3f", ".3f"))
    )


if __name__ == "__main__":
    sys.exit(main())
