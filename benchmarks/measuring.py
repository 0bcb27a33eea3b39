"""Measure the two forms of MISSRec: are they equal, how long they take, how much memory."""

import ctypes
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from benchmarks.padded import padded_loss, padded_scores
from recbole_missrec.config import Config
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.quick_start import prepare

TOLERANCE = 1e-5
MEMORY_STEPS = 3


class Form(NamedTuple):
    """One way to compute the model."""

    loss: Callable[[MISSRec, Interaction], Tensor]
    scores: Callable[[MISSRec, Interaction], Tensor]


FORMS = {
    "padded": Form(padded_loss, padded_scores),
    "missrec": Form(MISSRec.calculate_loss, MISSRec.full_sort_predict),
}


class Bench(NamedTuple):
    """A model with its interests, its optimiser, and what it reads."""

    model: MISSRec
    optimizer: torch.optim.Optimizer
    train_data: Any
    test_batches: list[Interaction]


def build(dataset: str, data_path: str, threads: int) -> Bench:
    """Default MISSRec on a data set, interests discovered."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
    torch.set_num_threads(threads)
    options = {"data_path": data_path, "use_gpu": False, "state": "error"}
    trainer, (train_data, _, test_data) = prepare(Config("MISSRec", dataset, config_dict=options))
    trainer.model.discover_interests(0)
    test_batches = [batch for batch, *_ in test_data]
    return Bench(trainer.model, trainer.optimizer, train_data, test_batches)


def assert_equal(bench: Bench) -> None:
    """Compare the forms' loss and scores on a batch each, without dropout.

    Raises:
        AssertionError: they differ by more than ``TOLERANCE``.
    """
    train_batch, test_batch = next(iter(bench.train_data)), bench.test_batches[0]
    bench.model.eval()
    with torch.no_grad():
        padded, own = (
            (form.loss(bench.model, train_batch), form.scores(bench.model, test_batch))
            for form in FORMS.values()
        )
    torch.testing.assert_close(own, padded, rtol=TOLERANCE, atol=TOLERANCE)
    say(f"loss and scores of both forms are equal to {TOLERANCE:g}")


def time_round(bench: Bench, steps: int | None) -> dict[str, float]:
    """Seconds of each part; training is scaled to an epoch by its rows."""
    start = time.perf_counter()
    bench.model.discover_interests(0)
    discovered = time.perf_counter()
    batches = list(bench.train_data)
    seconds = {"discovery": discovered - start, "batches": time.perf_counter() - discovered}
    share = sum(map(len, batches[:steps])) / sum(map(len, batches))
    for phase, measure in (
        ("train", lambda form: train(bench, batches[:steps], form) / share),
        ("evaluate", lambda form: evaluate(bench, form)),
    ):
        for form in FORMS:
            seconds[f"{phase}, {form}"] = measure(form)
            say(f"  {phase}, {form}: {seconds[f'{phase}, {form}']:.2f} s")
    return seconds


def train(bench: Bench, batches: list[Interaction], form: str) -> float:
    """Seconds of a training step on each batch."""
    bench.model.train()
    start = time.perf_counter()
    for batch in batches:
        bench.optimizer.zero_grad()
        FORMS[form].loss(bench.model, batch).backward()
        bench.optimizer.step()
    return time.perf_counter() - start


@torch.no_grad()
def evaluate(bench: Bench, form: str) -> float:
    """Seconds of an evaluation pass."""
    start = time.perf_counter()
    bench.model.eval()
    for batch in bench.test_batches:
        FORMS[form].scores(bench.model, batch)
    return time.perf_counter() - start


def memory_mib(form: str, dataset: str, data_path: str, threads: int) -> float:
    """Memory that a form takes beside the model; to be called in a fresh process, on Linux.

    Memory that building the model freed is given back to the system first, and the process's
    high-water mark is set back, so that neither hides what the form takes.

    Returns:
        Highest resident memory over that of the built model, MiB.
    """
    bench = build(dataset, data_path, threads)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    built = psutil.Process().memory_info().rss / 2**20
    train(bench, list(bench.train_data)[:MEMORY_STEPS], form)
    evaluate(bench._replace(test_batches=bench.test_batches[:1]), form)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak[1]) / 2**10 - built if peak else float("nan")


def say(line: str) -> None:
    """Report progress."""
    print(line, file=sys.stderr, flush=True)
