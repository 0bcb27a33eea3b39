"""What the benchmarks share: a built model, medians of repeated timings, memory, progress."""

import argparse
import ctypes
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
import torch
from recbole.data.interaction import Interaction

from recbole_missrec.config import Config
from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable, write_json
from recbole_missrec.machine import machine as processor
from recbole_missrec.preparation import prepare
from recbole_missrec.words import say


class Bench(NamedTuple):
    """A model, its interests discovered, its optimiser, and what it reads."""

    model: Any
    optimizer: torch.optim.Optimizer
    train_data: Any
    test_batches: list[Interaction]


def build(model: str, dataset: str, threads: int, **options: Any) -> Bench:
    """A model on a data set, on the processor.

    Args:
        model: name of a model.
        dataset: name of a data set.
        threads: of torch.
        options: as on the command line.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
    torch.set_num_threads(threads)
    options = {"use_gpu": False, "state": "error", **options}
    trainer, (train_data, _, test_data) = prepare(Config(model, dataset, config_dict=options))
    if hasattr(trainer.model, "discover_interests"):
        trainer.model.discover_interests(0)
    test_batches = [batch for batch, *_ in test_data]
    return Bench(trainer.model, trainer.optimizer, train_data, test_batches)


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median of the seconds that a call takes, after one to warm up."""
    function()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return median(taken)


def train_step(model: Any, optimizer: torch.optim.Optimizer, batch: Interaction) -> None:
    """Forward, backward, optimiser."""
    optimizer.zero_grad()
    model.calculate_loss(batch).backward()
    optimizer.step()


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Result of a function in a process of its own, forked from one that has done the imports.

    They take seconds, and happen once.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=context) as fresh:
        return fresh.submit(function, *arguments).result()


class PeakMemory:
    """Highest resident memory of this process within a block, over that at its start; Linux.

    Memory that was freed before is given back to the system first, and the high-water mark is set
    back, so that neither hides what the block takes.

    Attributes:
        mib: MiB, once the block has ended.
    """

    mib = float("nan")

    def __enter__(self) -> "PeakMemory":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        self._before = psutil.Process().memory_info().rss / 2**20
        return self

    def __exit__(self, *error: object) -> None:
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if peak:
            self.mib = int(peak[1]) / 2**10 - self._before


def positive(word: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is not a whole number from 1 on")
    return int(word)


def arguments(module: str, description: str) -> argparse.ArgumentParser:
    """Parser of a benchmark's command line, with what all of them share.

    Args:
        module: name of the benchmark's module.
        description: for ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--threads", type=positive, default=torch.get_num_threads(), metavar="N")
    parser.add_argument("--out", type=Path, metavar="PATH", help="write the figures as JSON, too")
    return parser


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Options that say which data set is read."""
    parser.add_argument(
        "--dataset", default="Scientific", metavar="NAME", help="default: Scientific"
    )
    parser.add_argument(
        "--data_path", default="dataset", metavar="DIR", help="its folder; default: dataset"
    )


def report(
    outputs: Sequence[Path | None],
    run: Callable[[], dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
) -> int:
    """Run a benchmark, print its figures, write them into the first output.

    Args:
        outputs: files that it writes, or None; seen to be writable before the work.
        run: gives the figures.
        table: shows them.

    Returns:
        Exit status: 0, 2 after a message about bad input, or 130 if it was interrupted.
    """
    try:
        for output in filter(None, outputs):
            check_writable(output)
        result = run()
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("interrupted; the same command goes on with what it keeps")
        return 130
    print(table(result))
    if outputs[0]:
        write_json(outputs[0], result)
    return 0


def kept_rows(out: Path | None, identity: dict[str, Any]) -> dict[str, Any]:
    """What a run that was interrupted has written, to go on with, or a result without rows.

    Args:
        out: where it was written, if anywhere.
        identity: the result without rows, with what all of them have in common.

    Raises:
        UsageError: the file is another one, or rows of it have other things in common.
    """
    if not out or not out.is_file():
        return identity
    try:
        kept = json.loads(out.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"--out={out}: is not what --out writes") from error
    if not isinstance(kept, dict) or {**kept, "rows": []} != identity:
        raise UsageError(f"--out={out}: of another machine or version; name another file")
    return kept


def measure_each(
    out: Path | None,
    identity: dict[str, Any],
    points: Iterable[dict[str, Any]],
    measure: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Measure some points, one after the other, each in a process of its own.

    Args:
        out: where each is written as it is done, if anywhere; what is there is not measured again.
        identity: of ``kept_rows``.
        points: what each is; part of its row.
        measure: gives the rest of the row; as pickle can send it.

    Returns:
        The identity, and ``rows``.

    Raises:
        UsageError: as ``kept_rows``.
    """
    result = kept_rows(out, {**identity, "rows": []})
    for point in points:
        if any(point.items() <= row.items() for row in result["rows"]):
            continue
        say(", ".join(f"{name} {value}" for name, value in point.items()))
        result["rows"].append(point | in_fresh_process(measure, point))
        if out:
            write_json(out, result)
    return result


def machine(threads: int) -> dict[str, Any]:
    """What figures depend on beside the code."""
    return {**processor(), "threads": threads, "torch": torch.__version__}
