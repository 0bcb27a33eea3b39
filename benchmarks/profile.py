"""Where the time of MISSRec goes: ``python -m benchmarks.profile``."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile

from benchmarks.measuring import (
    Bench,
    add_dataset,
    arguments,
    build,
    machine,
    positive,
    report,
    seconds,
    train_step,
)
from benchmarks.parts import step_parts, with_backward
from recbole_missrec.words import say

DESCRIPTION = """\
Time each part of a run of MISSRec at its default options, on the processor: from the start of the
program to the first batch, a training step part by part, discovery of interests, and an
evaluation pass. Milliseconds are medians.
"""
TRACED_STEPS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.profile", DESCRIPTION)
    add_dataset(parser)
    add = parser.add_argument
    add("--repeats", type=positive, default=7, metavar="N", help="default: 7")
    trace_help = f"write a trace of {TRACED_STEPS} steps here, for chrome://tracing or Perfetto"
    add("--trace", type=Path, metavar="PATH", help=trace_help)
    args = parser.parse_args(argv)
    return report([args.out, args.trace], lambda: run(args), tables)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Build, measure and, if asked for, trace."""
    say("building")
    start = time.perf_counter()
    bench = build("MISSRec", args.dataset, args.threads, data_path=args.data_path)
    batch = next(iter(bench.train_data))
    ready = time.perf_counter() - start
    result = {"dataset": args.dataset, **machine(args.threads), "seconds_to_first_batch": ready}
    result |= measure(bench, batch, args.repeats)
    if args.trace:
        print(trace(bench, batch, args.trace))
    return result


def measure(bench: Bench, batch: Any, repeats: int) -> dict[str, Any]:
    """Milliseconds of each part."""
    rows = {"data loading": {"forward_ms": loading_ms(bench), "backward_ms": None}}
    for name, part in step_parts(bench, batch).items():
        say(name)
        forward = seconds(part, repeats) * 1e3
        both = seconds(with_backward(part), repeats) * 1e3
        has_backward = name not in ("packing", "optimiser")
        rows[name] = {
            "forward_ms": forward,
            "backward_ms": both - forward if has_backward else None,
        }
    say("whole step, discovery, evaluation")
    step = seconds(lambda: train_step(bench.model, bench.optimizer, batch), repeats) * 1e3
    discovery = seconds(lambda: bench.model.discover_interests(0), 3)
    evaluation = seconds(lambda: evaluate(bench), 3)
    return {
        "parts": rows,
        "step_ms": step,
        "steps_per_epoch": len(bench.train_data),
        "discovery_seconds": discovery,
        "evaluation_seconds": evaluation,
    }


def loading_ms(bench: Bench) -> float:
    """Milliseconds to load a batch, over an epoch."""
    start = time.perf_counter()
    count = sum(1 for _ in bench.train_data)
    return (time.perf_counter() - start) / count * 1e3


def evaluate(bench: Bench) -> None:
    """Score all items for the test rows."""
    bench.model.eval()
    for batch in bench.test_batches:
        bench.model.full_sort_predict(batch)
    bench.model.train()


def trace(bench: Bench, batch: Any, path: Path) -> str:
    """Write a trace; gives the operators that take most."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        for _ in range(TRACED_STEPS):
            train_step(bench.model, bench.optimizer, batch)
    recorded.export_chrome_trace(str(path))
    return recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=12)


def tables(result: dict[str, Any]) -> str:
    """The figures as text."""
    step = result["step_ms"]
    rows = []
    for name, row in result["parts"].items():
        whole = row["forward_ms"] + (row["backward_ms"] or 0)
        rows.append([name, row["forward_ms"], row["backward_ms"], whole, whole / step * 100])
    rows.append(["whole step, in one", None, None, step, 100])
    epoch = result["steps_per_epoch"] * step / 1e3
    return (
        f"\nMISSRec on {result['dataset']}; {result['cpu']}, threads: {result['threads']}, "
        f"torch {result['torch']}\n\n"
        + tabulate(rows, ["part", "forward ms", "backward ms", "ms", "% of step"], floatfmt=".1f")
        + "\n\nfrom reading the data to the first batch "
        f"{result['seconds_to_first_batch']:.1f} s, "
        f"{result['steps_per_epoch']} steps an epoch {epoch:.1f} s,\n"
        f"discovery {result['discovery_seconds']:.2f} s, "
        f"scores of the test rows {result['evaluation_seconds']:.2f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
