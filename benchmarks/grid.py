"""What the grid adds to the time of its runs: ``python -m benchmarks.grid``."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import add_dataset, arguments, machine, positive, report
from recbole_missrec.comparison.execution import MEMORY
from recbole_missrec.words import say

DESCRIPTION = """\
Run models bare, one command after the other, and the same by `compare`, its report included; in
turns, medians. The file of results and the per-user file are written in both.
"""
MODELS = "MISSRec,SASRec"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.grid", DESCRIPTION)
    add_dataset(parser)
    add = parser.add_argument
    add("--models", default=MODELS, metavar="A,B", help=f"default: {MODELS}")
    add("--epochs", type=positive, default=10, metavar="N", help="of each run; default: 10")
    add("--repeats", type=positive, default=3, metavar="N", help="default: 3")
    args = parser.parse_args(argv)
    options = [f"--epochs={args.epochs}", f"--data_path={args.data_path}", "--show_progress=False"]
    models = args.models.split(",")
    return report(
        [args.out], lambda: run(models, args.dataset, options, args.repeats, args.threads), table
    )


def run(
    models: Sequence[str], dataset: str, options: Sequence[str], repeats: int, threads: int
) -> dict[str, Any]:
    """Measure both ways in turns.

    Args:
        models: names of models.
        dataset: name of a data set.
        options: of every run.
        repeats: of each way.
        threads: of each process.

    Returns:
        What ``--out`` holds.
    """
    taken: dict[str, list[float]] = {"bare": [], "grid": []}
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            ways = {
                "bare": [bare_words(model, dataset, folder, options) for model in models],
                "grid": [grid_words(models, dataset, folder, options)],
            }
            for way in list(ways)[:: 1 if repeat % 2 == 0 else -1]:
                say(f"{way}, {repeat + 1} of {repeats}")
                start = time.perf_counter()
                for words in ways[way]:
                    execute(words, threads)
                taken[way].append(time.perf_counter() - start)
    medians = {way: median(seconds) for way, seconds in taken.items()}
    return {
        **machine(threads),
        "dataset": dataset,
        "models": list(models),
        "options": list(options),
        "seconds": taken,
        "grid_over_bare": medians["grid"] / medians["bare"],
    }


def bare_words(model: str, dataset: str, folder: str, options: Sequence[str]) -> list[str]:
    """Words of one run."""
    outputs = [f"--result_file={folder}/{model}.json", f"--per_user={folder}/{model}.parquet"]
    given = [f"--model={model}", f"--dataset={dataset}", f"--checkpoint_dir={folder}/saved"]
    return [*given, "--seed=2020", *outputs, *options]


def grid_words(
    models: Sequence[str], dataset: str, folder: str, options: Sequence[str]
) -> list[str]:
    """Words of the grid of the same runs."""
    given = [f"--models={','.join(models)}", f"--datasets={dataset}", "--seeds=2020"]
    return ["compare", *given, f"--out={folder}/grid", *options]


def execute(words: Sequence[str], threads: int) -> None:
    """Run a command of this project; both ways have as many threads and keep freed memory.

    Raises:
        CalledProcessError: it failed.
    """
    environment = MEMORY | os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "recbole_missrec", *words]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        (way, median(seconds), min(seconds), max(seconds))
        for way, seconds in result["seconds"].items()
    ]
    shown = tabulate(rows, headers=["", "seconds", "least", "most"], floatfmt=".1f")
    return f"{shown}\ngrid over bare: {result['grid_over_bare']:.3f}"


if __name__ == "__main__":
    sys.exit(main())
