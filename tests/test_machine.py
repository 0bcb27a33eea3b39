"""Memory of freed tensors goes back to the system."""

import re
from pathlib import Path

import torch

from recbole_missrec.machine import peak_memory_mib, release_free_memory


def resident_mib() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 2**10


def test_gaps_between_live_tensors_are_given_back() -> None:
    tensors = [torch.ones(25_000) for _ in range(1_000)]  # 95 KiB each, from the heap
    full = resident_mib()
    kept = tensors[::2]
    del tensors
    with_gaps = resident_mib()
    release_free_memory()
    assert full - with_gaps < 10
    assert 40 < full - resident_mib() < 60
    assert full - 10 < peak_memory_mib()
    assert sum(float(tensor.sum()) for tensor in kept) == 25_000 * 500
