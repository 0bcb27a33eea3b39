"""The machine of this process: what it is, the peak of memory, giving back what is free."""

import ctypes
import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from recbole_missrec import __version__

PACKAGES = ("recbole", "torch", "numpy", "scipy", "pandas", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of Python, this project and the packages that compute."""
    return {"python": platform.python_version(), "recbole-missrec": __version__} | {
        package: version(package) for package in PACKAGES
    }


def machine() -> dict[str, Any]:
    """What seconds and last decimals depend on beside code and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    if torch.cuda.is_available():
        processor += f", {torch.cuda.get_device_name()}"
    return {"cpu": processor, "threads": torch.get_num_threads()}


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


def memory_limit_mib(device: torch.device) -> float:
    """Memory of the GPU, or of the machine or the container that this process runs in, in MiB."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 2**20
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = Path("/sys/fs/cgroup/memory.max")
    if group.is_file() and (text := group.read_text().strip()).isdecimal():
        limit = min(limit, int(text))
    return limit / 2**20
