"""The processes that ``torchrun`` starts: which one this is, its device, what they tell each other.

Started in any other way there is one process, and nothing here costs anything.
"""

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from recbole_missrec.errors import UsageError

T = TypeVar("T")
LONGEST_WAIT = timedelta(days=30)  # torchrun ends all processes when one fails
MOST_THREADS = 4  # each holds a picture in full size


def rank() -> int:
    """Number of this process, from 0 on."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_world_size() -> int:
    """Number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def device() -> torch.device:
    """This process's GPU, shared if processes are more than GPUs; else the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def threads() -> int:
    """How many threads of this process may read pictures: its share of the machine's cores."""
    cores = (os.cpu_count() or 1) // local_world_size()
    return min(max(cores, 1), MOST_THREADS)


def from_first(function: Callable[[], T]) -> T:
    """Wait for all processes; then the first one alone calls a function, and all get its result.

    All processes must call this as often and in the same order.

    Raises:
        UsageError: another process has ended; and what the function raises, in the first process.
    """
    if world_size() == 1:
        return function()
    _wait()
    shared = [function() if rank() == 0 else None]
    _wait(shared)
    return shared[0]  # type: ignore[return-value]


def of_all(value: T) -> list[T]:
    """What each process has, by its rank; picklable."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _together():
        dist.all_gather_object(values, value)
    return values


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give each tensor the values that it has in the first process."""
    if world_size() > 1:
        with _together():
            for tensor in tensors:
                dist.broadcast(tensor, 0)


@torch.no_grad()
def total(value: Tensor) -> Tensor:
    """Sum over the processes, without gradient."""
    summed = value.detach().clone()
    if world_size() > 1:
        with _together():
            dist.all_reduce(summed)
    return summed


@torch.no_grad()
def average_gradients(weights: Iterable[Tensor]) -> None:
    """Replace gradients by their mean over the processes, all in one message.

    Args:
        weights: the same in each process; one without gradient counts as zero.
    """
    if world_size() == 1:
        return
    weights = list(weights)
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    flat = torch.cat([gradient.flatten() for gradient in gradients])  # [weights]
    with _together():
        dist.all_reduce(flat)
    parts = (flat / world_size()).split([gradient.numel() for gradient in gradients])
    for weight, part in zip(weights, parts, strict=True):
        weight.grad = part.view_as(weight)


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        with _together():
            dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = total(gradient)
        return summed.chunk(world_size())[rank()]


def joined(rows: Tensor) -> Tensor:
    """Rows of all processes, one process after the other; gradients flow back to each.

    Args:
        rows: as many in each process, ``[rows, ...]``.

    Returns:
        ``[processes * rows, ...]``.
    """
    return rows if world_size() == 1 else _Joined.apply(rows)


def _wait(shared: list[T | None] | None = None) -> None:
    with _together():
        dist.barrier() if shared is None else dist.broadcast_object_list(shared)


@contextmanager
def _together() -> Iterator[None]:
    """Begin the group if need be; say so where another process has ended."""
    try:
        if not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, timeout=LONGEST_WAIT)
            if backend == "gloo":  # its threads abort a process that ends before them
                atexit.register(dist.destroy_process_group)
        yield
    except RuntimeError as error:
        raise UsageError(f"process {rank()}: another process has failed, see there") from error
