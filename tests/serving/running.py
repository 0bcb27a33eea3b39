"""The command ``demo`` in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def demo(*words: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Address of the service of some checkpoints, and its process, for as long as the block runs.

    Args:
        words: of the command line after ``demo``.
    """
    command = [sys.executable, str(ROOT / "run_recbole_missrec.py"), "demo", *map(str, words)]
    with subprocess.Popen(
        [*command, "--port=0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert line.startswith("http://127.0.0.1:"), line + process.stderr.read()
            yield line.split()[0].rstrip("/"), process
        finally:
            process.terminate()
