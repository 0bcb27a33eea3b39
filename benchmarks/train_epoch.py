"""Time and memory of MISSRec against its padded form: ``python -m benchmarks.train_epoch``."""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.measuring import (
    FORMS,
    MEMORY_STEPS,
    assert_equal,
    build,
    memory_mib,
    say,
    time_round,
)
from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable, replacing

DESCRIPTION = """\
Compare MISSRec with its padded form (benchmarks/padded.py), on the processor, at the default
options: the same parameters, batches, loss, optimiser and threads. Loss and scores of the two are
shown equal first, without dropout. Then they are timed in turn, round after round.

  train s     a training epoch: forward, backward, optimiser
  evaluate s  a pass over the test rows: scores of all items, without their ranks
  memory MiB  highest of a process of its own over what it held when the model was built

Seconds are medians over the rounds. Making the batches and discovering interests are the same for
both forms, and timed apart.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train_epoch",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--dataset", default="Scientific", metavar="NAME", help="default: Scientific")
    add("--data_path", default="dataset", metavar="DIR", help="its folder; default: dataset")
    add("--threads", type=positive, default=torch.get_num_threads(), metavar="N")
    add("--repeats", type=positive, default=3, metavar="N", help="rounds; default: 3")
    steps_help = "training steps timed in a round and scaled to an epoch, or all; default: 6"
    add(
        "--steps",
        type=lambda word: None if word == "all" else positive(word),
        default=6,
        metavar="N",
        help=steps_help,
    )
    add("--out", type=Path, metavar="PATH", help="write the figures here as JSON, too")
    args = parser.parse_args(argv)
    try:
        if args.out:
            check_writable(args.out)
        result = run(args.dataset, args.data_path, args.threads, args.repeats, args.steps)
        print(table(result))
        if args.out:
            with replacing(args.out) as temporary:
                temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def positive(word: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is not a whole number from 1 on")
    return int(word)


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
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            memory[form] = fresh.submit(memory_mib, form, dataset, data_path, threads).result()
    bench = build(dataset, data_path, threads)
    assert_equal(bench)
    rounds = []
    for index in range(repeats):
        say(f"round {index + 1} of {repeats}")
        rounds.append(time_round(bench, steps))
    seconds = {part: median(measured[part] for measured in rounds) for part in rounds[0]}
    forms = {
        form: {f"{phase}_seconds": seconds[f"{phase}, {form}"] for phase in ("train", "evaluate")}
        | {"memory_mib": memory[form]}
        for form in FORMS
    }
    padded, own = forms["padded"], forms["missrec"]
    epoch_steps = len(bench.train_data)
    return {
        "dataset": dataset,
        "cpu": cpu_name(),
        "threads": threads,
        "torch": torch.__version__,
        "repeats": repeats,
        "epoch_steps": epoch_steps,
        "timed_steps": min(steps or epoch_steps, epoch_steps),
        "forms": forms,
        "padded_over_missrec": {key: padded[key] / own[key] for key in own},
        "batches_seconds": seconds["batches"],
        "discovery_seconds": seconds["discovery"],
        "seconds_by_round": rounds,
    }


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    headers = ["", "train s", "evaluate s", "memory MiB"]
    rows = [[form, *figures.values()] for form, figures in result["forms"].items()]
    rows.append(["padded / missrec", *result["padded_over_missrec"].values()])
    return (
        f"\nMISSRec on {result['dataset']}; {result['cpu']}, threads: {result['threads']}, "
        f"torch {result['torch']}; medians of {result['repeats']} rounds\n\n"
        + tabulate(rows, headers, floatfmt=".2f")
        + f"\n\ntraining: {result['timed_steps']} of {result['epoch_steps']} steps were timed and "
        "scaled to an epoch by their rows\n"
        f"apart, the same for both: {result['batches_seconds']:.2f} s to make the batches of an "
        f"epoch, {result['discovery_seconds']:.2f} s to discover interests"
    )


def cpu_name() -> str:
    """Model of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
