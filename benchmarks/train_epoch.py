"""Time and memory of MISSRec against its padded form: ``python -m benchmarks.train_epoch``."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from recbole.data.interaction import Interaction
from tabulate import tabulate

from benchmarks.guard import WORST, comparison, ratios, read_ratios
from benchmarks.measuring import (
    Bench,
    PeakMemory,
    add_dataset,
    arguments,
    build,
    in_fresh_process,
    machine,
    positive,
    report,
    seconds,
    train_step,
)
from benchmarks.padded import PaddedMISSRec
from benchmarks.parts import least_products, product_seconds, step_parts, with_backward
from recbole_missrec.words import say

DESCRIPTION = """\
Compare MISSRec with its padded form (benchmarks/padded.py), on the processor, at the default
options, but no modality left out: the same parameters, batches, loss, optimiser and threads. Loss
and scores of the two are shown equal first, without dropout. Then they are timed in turn, round
after round.

  train s     a training epoch: forward, backward, optimiser
  evaluate s  a pass over the test rows: scores of all items, without their ranks
  memory MiB  highest of a process of its own over what it held when the model was built

Seconds are medians over the rounds. Loading batches and discovering interests are the same for
both forms, and timed apart. The second table shows a step part by part: the least time that its
matrix products take alone (benchmarks/parts.py), and what it takes, forward and backward.
"""
FORMS = ("padded", "missrec")
TOLERANCE = 1e-5
MEMORY_STEPS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.train_epoch", DESCRIPTION)
    add_dataset(parser)
    add = parser.add_argument
    add("--repeats", type=positive, default=3, metavar="N", help="rounds; default: 3")
    steps_help = "training steps timed in a round and scaled to an epoch, or all; default: 6"
    add(
        "--steps",
        type=lambda word: None if word == "all" else positive(word),
        default=6,
        metavar="N",
        help=steps_help,
    )
    against_help = (
        "compare the ratios with this file, an earlier --out; exit status 1 if one is lost"
    )
    add("--against", type=Path, metavar="PATH", help=against_help)
    args = parser.parse_args(argv)
    lost: list[str] = []

    def measure() -> dict[str, Any]:
        earlier = read_ratios(args.against) if args.against else None
        result = run(args.dataset, args.data_path, args.threads, args.repeats, args.steps)
        if earlier:
            table, worse = comparison(ratios(result), earlier)
            print(table)
            lost.extend(worse)
        return result

    status = report([args.out], measure, tables)
    for name in lost:
        print(f"{name}: below {WORST:g} of the earlier ratio", file=sys.stderr)
    return status or int(bool(lost))


def run(
    dataset: str, data_path: str, threads: int, repeats: int, steps: int | None
) -> dict[str, Any]:
    """Measure both forms.

    Args:
        dataset: name of a data set.
        data_path: the folder that holds it.
        threads: of torch.
        repeats: rounds.
        steps: training steps timed in a round; a whole epoch if None.

    Returns:
        What ``--out`` holds.

    Raises:
        UsageError: the data set is missing or damaged.
    """
    memory = {}
    for form in FORMS:
        say(f"memory: {form}, {MEMORY_STEPS} training steps and an evaluation batch")
        memory[form] = in_fresh_process(memory_mib, form, dataset, data_path, threads)
    bench = build("MISSRec", dataset, threads, data_path=data_path, modality_dropout=0.0)
    models = forms(bench)
    assert_equal(bench, models)
    rounds = []
    for index in range(repeats):
        say(f"round {index + 1} of {repeats}")
        rounds.append(time_round(bench, models, steps))
    middle = {part: median(measured[part] for measured in rounds) for part in rounds[0]}
    figures = {
        form: {f"{phase}_seconds": middle[f"{phase}, {form}"] for phase in ("train", "evaluate")}
        | {"memory_mib": memory[form]}
        for form in FORMS
    }
    padded, own = figures["padded"], figures["missrec"]
    epoch_steps = len(bench.train_data)
    say("a step part by part")
    return {
        "dataset": dataset,
        **machine(threads),
        "repeats": repeats,
        "epoch_steps": epoch_steps,
        "timed_steps": min(steps or epoch_steps, epoch_steps),
        "forms": figures,
        "padded_over_missrec": {key: padded[key] / own[key] for key in own},
        "batches_seconds": middle["batches"],
        "discovery_seconds": middle["discovery"],
        "step": time_step(bench),
        "seconds_by_round": rounds,
    }


def forms(bench: Bench) -> dict[str, Any]:
    """The two forms of one model."""
    return {"padded": PaddedMISSRec(bench.model), "missrec": bench.model}


def assert_equal(bench: Bench, models: dict[str, Any]) -> None:
    """Compare the forms' loss and scores on a batch each, without dropout.

    Raises:
        AssertionError: they differ by more than ``TOLERANCE``.
    """
    train_batch, test_batch = next(iter(bench.train_data)), bench.test_batches[0]
    with torch.no_grad():
        padded, own = (
            (
                models[form].eval().calculate_loss(train_batch),
                models[form].full_sort_predict(test_batch),
            )
            for form in FORMS
        )
    torch.testing.assert_close(own, padded, rtol=TOLERANCE, atol=TOLERANCE)
    say(f"loss and scores of both forms are equal to {TOLERANCE:g}")


def time_round(bench: Bench, models: dict[str, Any], steps: int | None) -> dict[str, float]:
    """Seconds of each part; training is scaled to an epoch by its rows."""
    start = time.perf_counter()
    bench.model.discover_interests(0)
    discovered = time.perf_counter()
    batches = list(bench.train_data)
    taken = {"discovery": discovered - start, "batches": time.perf_counter() - discovered}
    share = sum(map(len, batches[:steps])) / sum(map(len, batches))
    for form in FORMS:
        taken[f"train, {form}"] = train(bench, models[form], batches[:steps]) / share
    for form in FORMS:
        taken[f"evaluate, {form}"] = evaluate(models[form], bench.test_batches)
    for part, value in taken.items():
        say(f"  {part}: {value:.2f} s")
    return taken


def train(bench: Bench, model: Any, batches: list[Interaction]) -> float:
    """Seconds of a training step on each batch."""
    model.train()
    start = time.perf_counter()
    for batch in batches:
        train_step(model, bench.optimizer, batch)
    return time.perf_counter() - start


@torch.no_grad()
def evaluate(model: Any, batches: list[Interaction]) -> float:
    """Seconds of an evaluation pass."""
    model.eval()
    start = time.perf_counter()
    for batch in batches:
        model.full_sort_predict(batch)
    return time.perf_counter() - start


def memory_mib(form: str, dataset: str, data_path: str, threads: int) -> float:
    """Highest resident memory of a form over that of the built model, in MiB."""
    bench = build("MISSRec", dataset, threads, data_path=data_path, modality_dropout=0.0)
    model = forms(bench)[form]
    batches = list(bench.train_data)[:MEMORY_STEPS]
    with PeakMemory() as peak:
        train(bench, model, batches)
        evaluate(model, bench.test_batches[:1])
    return peak.mib


def time_step(bench: Bench, repeats: int = 7) -> dict[str, dict[str, float | None]]:
    """A training step part by part, and whole: GFLOP, floor and measured milliseconds."""
    batch = next(iter(bench.train_data))
    floor = least_products(bench.model, bench.model.packed(batch).packed, len(batch))
    rows: dict[str, dict[str, float | None]] = {}
    for part, function in step_parts(bench, batch).items():
        products = floor.get(part)
        rows[part] = {
            "gflop": sum(product.flop for product in products) / 1e9 if products else None,
            "floor_ms": product_seconds(products, repeats) * 1e3 if products else None,
            "measured_ms": seconds(with_backward(function), repeats) * 1e3,
        }
    whole = seconds(lambda: train_step(bench.model, bench.optimizer, batch), repeats) * 1e3
    sums = {key: sum(row[key] or 0.0 for row in rows.values()) for key in ("gflop", "floor_ms")}
    rows["whole step"] = {**sums, "measured_ms": whole}
    return rows


def tables(result: dict[str, Any]) -> str:
    """The figures as text."""
    headers = ["", "train s", "evaluate s", "memory MiB"]
    rows = [[form, *figures.values()] for form, figures in result["forms"].items()]
    rows.append(["padded / missrec", *result["padded_over_missrec"].values()])
    step = [
        [
            part,
            row["gflop"],
            row["floor_ms"],
            row["measured_ms"],
            row["measured_ms"] / row["floor_ms"] if row["floor_ms"] else None,
            row["gflop"] / row["measured_ms"] * 1e3 if row["gflop"] else None,
        ]
        for part, row in result["step"].items()
    ]
    return (
        f"\nMISSRec on {result['dataset']}; {result['cpu']}, threads: {result['threads']}, "
        f"torch {result['torch']}; medians of {result['repeats']} rounds\n\n"
        + tabulate(rows, headers, floatfmt=".2f")
        + f"\n\ntraining: {result['timed_steps']} of {result['epoch_steps']} steps were timed and "
        "scaled to an epoch by their rows\n"
        f"apart, the same for both: {result['batches_seconds']:.2f} s to load the batches of an "
        f"epoch, {result['discovery_seconds']:.2f} s to discover interests\n\n"
        + tabulate(
            step,
            ["part of a step", "GFLOP", "floor ms", "ms", "ms / floor", "GFLOP/s"],
            floatfmt=".1f",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
