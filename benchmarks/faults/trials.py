"""One command, disturbed once: killed at a moment, or on a disk of a size."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.faults.jobs import Job, begin, command, digests, log_of
from benchmarks.faults.whole import broken_files, named_files
from recbole_missrec.errors import UsageError

ENOUGH = 2**28  # bytes of a disk on which every job has room


def undisturbed(job: Job, base: Path, folder: Path) -> tuple[Any, float]:
    """Result of a job, and the seconds that it takes.

    Raises:
        UsageError: it failed.
    """
    begin(job, base, folder)
    start = time.perf_counter()
    if status := _finish(job, folder):
        raise UsageError(f"{log_of(folder)}: undisturbed, it ended with status {status}")
    return job.result(folder), time.perf_counter() - start


def kill(job: Job, base: Path, folder: Path, seconds: float, expected: Any) -> dict[str, Any]:
    """Kill a job, all of its processes, some seconds after its start; then let it go on.

    Args:
        job: the job.
        base: see ``make_base``.
        folder: to run it in, made anew.
        seconds: until it is killed.
        expected: its result, undisturbed.

    Returns:
        A row: whether it was running still, the named files that were there, those that were
        broken or changed later, exit status and messages of the second start, same result or not.
    """
    begin(job, base, folder)
    process = command(job.module, job.words(folder), folder)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    return {"killed": status == -signal.SIGKILL, **_go_on(job, folder, expected)}


def fill(job: Job, base: Path, folder: Path, size: int, expected: Any) -> dict[str, Any]:
    """Run a job on a disk of so many bytes; then give it room and let it go on.

    Args:
        job: the job.
        base: see ``make_base``.
        folder: where the disk is mounted.
        size: of the disk, in bytes.
        expected: its result, undisturbed.

    Returns:
        A row like that of ``kill``, with what was said on the full disk.
    """
    with disk(folder, size):
        begin(job, base, folder)
        status = _finish(job, folder)
        row = {"full": status != 0, "status": status, "said": _said(folder)}
        subprocess.run(["mount", "-o", f"remount,size={ENOUGH}", folder], check=True)
        return row | _go_on(job, folder, expected)


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk in memory, for root.

    Args:
        folder: where it is mounted, made if need be.
        size: in bytes.

    Raises:
        UsageError: it cannot be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(words).returncode:
        raise UsageError(f"{folder}: a small disk cannot be mounted there; only root may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def room(job: Job, base: Path, folder: Path) -> tuple[int, int]:
    """Bytes that a job finds in its folder and, on a large disk, those in use at most."""
    with disk(folder, ENOUGH):
        begin(job, base, folder)
        used = [_used(folder)]
        process = command(job.module, job.words(folder), folder)
        while process.poll() is None:
            used.append(_used(folder))
            time.sleep(0.005)
    return used[0], max(used)


def _used(folder: Path) -> int:
    there = os.statvfs(folder)
    return (there.f_blocks - there.f_bfree) * there.f_bsize


def _finish(job: Job, folder: Path) -> int:
    return command(job.module, job.words(folder), folder).wait()


def _go_on(job: Job, folder: Path, expected: Any) -> dict[str, Any]:
    broken = broken_files(folder)
    finished = digests(*job.finished)(folder)
    there = len(list(named_files(folder)))
    status = _finish(job, folder)
    again = digests(*job.finished)(folder)
    return {
        "files": there,
        "broken": broken + broken_files(folder),
        "changed": [name for name, text in finished.items() if again.get(name) != text],
        "again": status,
        "traceback": "Traceback" in log_of(folder).read_text(encoding="utf-8"),
        "same": status == 0 and job.result(folder) == expected,
        "left_over": len(list(folder.rglob(".*.tmp"))),
    }


def _said(folder: Path) -> str:
    lines = log_of(folder).read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1].replace(f"{folder}/", "") if lines else ""
