"""Time and memory as catalogue and histories grow: ``python -m benchmarks.scaling``."""

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

from benchmarks.generated import MEAN_LENGTH, batches, generated_model
from benchmarks.measuring import (
    Bench,
    PeakMemory,
    arguments,
    machine,
    measure_each,
    positive,
    report,
    seconds,
    train_step,
)
from benchmarks.parts import step_parts, with_backward
from recbole_missrec.evaluation.ranking import count_ranks
from recbole_missrec.preparation import evaluation_rows

DESCRIPTION = f"""\
Train and evaluate on generated catalogues (two modalities of 512 dimensions, all present), on the
processor, each point in a process of its own:

  items    growing catalogues; batch 512, histories of {MEAN_LENGTH} items on average, at most 50
  lengths  growing histories, all of full length; batch 16, 10,000 items

Models at their defaults: MISSRec, the same with a sampled softmax, and SASRec of RecBole. MISSRec's
interests, a twentieth of the tokens, are assigned at random: discovery is timed by
benchmarks.discovery. As histories grow, the parts of a step of MISSRec are measured apart. A
training step is the median of --steps after one to warm up, or of as many as fit in --limit
seconds, at least one; an evaluation of 10,000 users is scaled up from some batches. What is in
--out is not measured again, whatever --steps and --limit, so that an interrupted run goes on.
"""
ITEMS = (10**3, 10**4, 10**5, 10**6)
LENGTHS = (50, 100, 200, 500, 1000)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "MISSRec": ("MISSRec", {}),
    "MISSRec, sampled": ("MISSRec", {"softmax": "sampled"}),
    "SASRec": ("SASRec", {"train_neg_sample_args": None}),
}
USERS = 10_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.scaling", DESCRIPTION)
    add = parser.add_argument
    add("--items", type=positive, nargs="*", default=ITEMS, metavar="N", help=f"default: {ITEMS}")
    lengths_help = f"default: {LENGTHS}"
    add("--lengths", type=positive, nargs="*", default=LENGTHS, metavar="N", help=lengths_help)
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME")
    add("--steps", type=positive, default=20, metavar="N", help="default: 20")
    add("--limit", type=positive, default=120, metavar="S", help="seconds; default: 120")
    args = parser.parse_args(argv)
    points = [{"sweep": "items", "items": items, "longest": 50} for items in args.items]
    points += [{"sweep": "lengths", "items": 10_000, "longest": length} for length in args.lengths]
    return report([args.out], lambda: run(points, args), table)


def run(points: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Measure each model at each point, in a process of its own."""
    asked = [point | {"model": model} for point in points for model in args.models]
    measuring = partial(measure, args.threads, args.steps, args.limit)
    return measure_each(args.out, machine(args.threads), asked, measuring)


def measure(threads: int, steps: int, limit: int, point: dict[str, Any]) -> dict[str, Any]:
    """One model at one point.

    Args:
        threads: of torch.
        steps: training steps, at most.
        limit: seconds for them and for the evaluation, each.
        point: the model, a name of ``MODELS``, sweep, number of items, longest history.
    """
    name, options = MODELS[point["model"]]
    items, longest = point["items"], point["longest"]
    size: dict[str, Any] = {"interest_ratio": 0.05} if name == "MISSRec" else {}
    built = generated_model(name, items, threads, MAX_ITEM_LIST_LENGTH=longest, **size, **options)
    long = point["sweep"] == "lengths"
    rows, mean = (16, longest) if long else (512, MEAN_LENGTH)
    optimizer = torch.optim.Adam(built.parameters(), fused=True)
    for parameter in built.parameters():  # gradients and state are there before a step
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    memory = psutil.Process().memory_info().rss / 2**20
    built.train()
    taken: list[float] = []
    with PeakMemory() as training:
        for batch in islice(batches(items, rows, longest, mean), steps + 1):
            start = time.perf_counter()
            train_step(built, optimizer, batch)
            taken.append(time.perf_counter() - start)
            if len(taken) > 1 and sum(taken) > limit:
                break
    own_parts = {}
    if long and point["model"] == "MISSRec":
        bench = Bench(built, optimizer, None, [])
        own_parts = parts(bench, next(batches(items, rows, longest, mean)))
    users = min(2048, evaluation_rows(items, longest))
    built.eval()
    rounds: list[float] = []
    with PeakMemory() as evaluation:
        for batch in islice(batches(items, users, longest, mean), 1 + -(-USERS // users)):
            start = time.perf_counter()
            count_ranks(built.full_sort_predict(batch), batch["item_id"])
            rounds.append(time.perf_counter() - start)
            if len(rounds) > 1 and sum(rounds) > limit:
                break
    return {
        "rows": rows,
        "step_seconds": median(taken[1:]),
        "steps_measured": len(taken) - 1,
        "step_memory_mib": training.mib,
        "parts": own_parts,
        "evaluation_seconds": median(rounds[1:]) * USERS / users,
        "users_measured": (len(rounds) - 1) * users,
        "evaluation_memory_mib": evaluation.mib,
        "held_mib": memory,
    }


def parts(bench: Bench, batch: Any) -> dict[str, dict[str, float]]:
    """Milliseconds, median of three, and MiB of each part of a training step, backward included."""
    found = {}
    for name, part in step_parts(bench, batch).items():
        with PeakMemory() as memory:
            taken = seconds(with_backward(part), 3)
        found[name] = {"ms": taken * 1e3, "mib": memory.mib}
    return found


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    columns = {
        "items": "items",
        "longest": "longest",
        "model": "model",
        "step_seconds": "step s",
        "steps_measured": "steps",
        "step_memory_mib": "step MiB",
        "evaluation_seconds": "10,000 users s",
        "users_measured": "users",
        "evaluation_memory_mib": "evaluation MiB",
        "held_mib": "held MiB",
    }
    rows = [[row[key] for key in columns] for row in result["rows"]]
    lengths = {row["longest"]: row["parts"] for row in result["rows"] if row.get("parts")}
    by_part = [
        [f"{part}, {unit}", *(at_length[part][key] for at_length in lengths.values())]
        for part in next(iter(lengths.values()), {})
        for key, unit in (("ms", "ms"), ("mib", "MiB"))
    ]
    return (
        f"\n{result['cpu']}, threads: {result['threads']}, torch {result['torch']}\n"
        "MiB of a step and of an evaluation: beyond what is held, features, parameters, gradients "
        "and optimiser state\n\n"
        + tabulate(
            rows,
            list(columns.values()),
            floatfmt=("", "", "", ".3f", "", ".0f", ".1f", "", ".0f", ".0f"),
        )
        + "\n\n"
        + tabulate(by_part, ["MISSRec, items of a history", *lengths], floatfmt=".1f")
    )


if __name__ == "__main__":
    sys.exit(main())
