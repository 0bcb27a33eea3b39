"""Execute planned runs, each in a process of its own, several at a time.

``python -m recbole_missrec.comparison.execution RUN OUT THREADS`` executes one, given as JSON: what
the machines of a cluster are told to do.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import psutil

from recbole_missrec.comparison.plan import Run
from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable, replacing
from recbole_missrec.trainer.checkpoint import LEAVES_TRAINING

INTERRUPTED = 130
# glibc keeps what is freed, in large pages, instead of giving it back and fetching it anew at each
# step: padded models take less time and more memory, their figures are the same
MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
OF_WORK = ("checkpoint_dir", "result_file", "per_user", "resume")  # options that name its files
_ENDING = threading.Event()  # this process was told to end: no run is begun any more
LINES = 5  # of a failed run's messages that are recorded


def result_path(out: Path, run: Run) -> Path:
    """Where the result of a finished run is; its per-user results are beside it, as Parquet."""
    return out / f"{run.digest}.json"


def error_path(out: Path, run: Run) -> Path:
    """Where the error of a failed run is, until it is run again."""
    return out / f"{run.digest}.error.json"


def read_result(out: Path, run: Run) -> dict[str, Any] | None:
    """Result of a run, None if it has not finished.

    Raises:
        UsageError: the file is damaged.
    """
    path = result_path(out, run)
    if not path.is_file():
        return None
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path}: damaged: {error}; remove it to run it again") from error
    return result


def work_path(out: Path, run: Run) -> Path:
    """Where the files of a run that has not finished are."""
    return out / "work" / run.digest


def checkpoint_path(out: Path, run: Run) -> Path:
    """Where the best checkpoint of a finished run is, if it was to be kept."""
    return out / f"{run.digest}.pth"


def execute(run: Run, out: Path, threads: int, folder: Path, checkpoint: bool = False) -> int:
    """Execute a run unless it is done; go on with it if it was begun.

    The result is renamed to its place last, so that it stands for the whole run. Two processes may
    be given one run: the second waits and finds it done. The lock is the child's, too, which may
    outlive its parent.

    Args:
        run: the run.
        out: folder of results.
        threads: of the process.
        folder: where the process runs, which paths in options are relative to.
        checkpoint: keep the best one.

    Returns:
        Its exit status, 0 if it was done before.
    """
    work = work_path(out, run)
    check_writable(work / "lock")
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if result_path(out, run).is_file():
            shutil.rmtree(work, ignore_errors=True)
            return 0
        error_path(out, run).unlink(missing_ok=True)
        if _ENDING.is_set():
            return INTERRUPTED
        start = time.perf_counter()
        with (work / "log").open("ab") as log:
            before = log.tell()  # of earlier tries
            status = subprocess.run(
                [sys.executable, "-m", "recbole_missrec", *_words(run, work)],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=MEMORY | os.environ | {"OMP_NUM_THREADS": str(threads)},
                pass_fds=(lock.fileno(),),
            ).returncode
        if status == 0:
            _keep(run, out, work, time.perf_counter() - start, checkpoint)
        elif status != INTERRUPTED and not _ENDING.is_set():
            _record_failure(run, out, work, status, before)
    return status


def _words(run: Run, work: Path) -> list[str]:
    outputs = [
        f"--result_file={work / 'result.json'}",
        f"--per_user={work / 'per_user.parquet'}",
        f"--checkpoint_dir={work}",
    ]
    options = dict(run.options)
    if "show_progress" not in options:
        outputs.append("--show_progress=False")
    begun = sorted(work.glob("*.resume"), key=lambda path: path.stat().st_mtime)
    if begun:  # what may be otherwise than it was, as where the data are now
        free = [f"--{key}={value}" for key, value in options.items() if key in LEAVES_TRAINING]
        return [f"--resume={begun[-1]}", *free, *outputs]
    return run.words + outputs


def _keep(run: Run, out: Path, work: Path, seconds: float, checkpoint: bool) -> None:
    result = json.loads((work / "result.json").read_text(encoding="utf-8"))
    if checkpoint:
        os.replace(result["checkpoint"], checkpoint_path(out, run))
    result |= {"label": run.label, "digest": run.digest, "seconds": seconds, "checkpoint": None}
    result["config"] |= dict.fromkeys(OF_WORK)
    os.replace(work / "per_user.parquet", out / f"{run.digest}.parquet")
    with replacing(result_path(out, run)) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(work, ignore_errors=True)  # or by another grid that found the result


def _record_failure(run: Run, out: Path, work: Path, status: int, before: int) -> None:
    said = (work / "log").read_bytes()[before:].decode(errors="replace").splitlines()[-LINES:]
    if status < 0:  # it could not say why; out of memory, the kernel kills
        said.append(f"killed by {signal.Signals(-status).name}")
    failure = asdict(run) | {"status": status, "error": "\n".join(said)}
    with replacing(error_path(out, run)) as temporary:
        temporary.write_text(json.dumps(failure, indent=1) + "\n", encoding="utf-8")


def execute_all(
    runs: Sequence[Run],
    out: Path,
    parallel: int,
    cluster: str | None,
    checkpoints: bool = False,
) -> Generator[tuple[Run, int], None, None]:
    """Execute runs, several at a time. ``SIGTERM`` ends them as Ctrl-C does.

    Args:
        runs: the runs.
        out: folder of results; on a cluster, one that all machines share.
        parallel: processes at a time on this machine, which share its processors unless
            ``OMP_NUM_THREADS`` says how many threads each has.
        cluster: address of a Ray cluster, or ``auto``; None for this machine.
        checkpoints: keep the best of each run; not on a cluster.

    Yields:
        A run and its exit status, in the order in which they end.

    Raises:
        KeyboardInterrupt: the process was told to end.
        UsageError: there is no such cluster.
    """
    if cluster is not None:
        yield from _on_cluster(runs, out, cluster)
        return
    before = signal.signal(signal.SIGTERM, _end)
    share = max(1, (os.cpu_count() or 1) // parallel)
    threads = int(os.environ.get("OMP_NUM_THREADS", share))
    with ThreadPoolExecutor(parallel) as pool:
        given = out.resolve(), threads, Path.cwd(), checkpoints
        pending = {pool.submit(execute, run, *given): run for run in runs}
        try:
            for done in as_completed(pending):
                yield pending[done], done.result()
        finally:  # by Ctrl-C, which reaches the children too, or by a signal to this process alone
            pool.shutdown(wait=False, cancel_futures=True)
            while _ENDING.is_set() and not all(run.done() for run in pending):
                for child in psutil.Process().children():
                    with suppress(psutil.NoSuchProcess):
                        child.terminate()
                time.sleep(0.1)
            pool.shutdown(wait=True)
            _ENDING.clear()
            signal.signal(signal.SIGTERM, before)


def _end(*_: object) -> NoReturn:
    _ENDING.set()
    raise KeyboardInterrupt


def _on_cluster(runs: Sequence[Run], out: Path, cluster: str) -> Iterator[tuple[Run, int]]:
    """A task is a command of one thread, so that Ray's workers need not import this project."""
    import ray

    host, _, port = cluster.removeprefix("ray://").rpartition(":")
    try:
        if host:  # Ray itself looks for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=cluster, log_to_driver=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--cluster={cluster}: no Ray cluster there: {error}") from error
    call = ray.remote(num_cpus=1)(subprocess.call)
    program = [sys.executable, "-m", "recbole_missrec.comparison.execution"]
    pending = {}
    for run in runs:
        words = [*program, json.dumps(asdict(run)), str(out.resolve()), "1"]
        pending[call.remote(words, cwd=str(Path.cwd()))] = run
    while pending:
        (done, *_), _ = ray.wait(list(pending))
        yield pending.pop(done), ray.get(done)


if __name__ == "__main__":
    _run, _out, _threads = sys.argv[1:]
    sys.exit(execute(Run.of(json.loads(_run)), Path(_out), int(_threads), Path.cwd()))
