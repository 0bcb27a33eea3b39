"""Memory of this process: its peak, and giving back what is free."""

import ctypes
import resource
import sys

import torch


def peak_memory_mib() -> float:
    """Highest memory of this process so far, on the GPU if one is used, in MiB."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def release_free_memory() -> None:
    """Give the free pages between live tensors back to the system, where the C library is glibc.

    Each batch has other sizes, so that freed tensors leave gaps that later ones do not fit: without
    this the memory of a run grows from epoch to epoch.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
