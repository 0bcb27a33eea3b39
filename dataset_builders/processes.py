"""The processes that ``torchrun`` starts: which one this is, its device, waiting for the others.

Started in any other way there is one process, and waiting costs nothing.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

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


def device() -> torch.device:
    """This process's GPU, shared if processes are more than GPUs; else the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def threads() -> int:
    """How many threads of this process may read pictures: its share of the machine's cores."""
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
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


def _wait(shared: list[T | None] | None = None) -> None:
    try:
        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=LONGEST_WAIT)
        dist.barrier() if shared is None else dist.broadcast_object_list(shared)
    except RuntimeError as error:
        raise UsageError(f"process {rank()}: another process has failed, see there") from error
