"""RecBole's own flags for several processes, carried out by PyTorch's launcher."""

import os
import subprocess
import sys
from collections.abc import Mapping

from recbole_missrec.errors import UsageError

# RecBole's names: processes of this machine, of all, address and port of the first machine, number
# of processes on the machines before this one
FLAGS = ("nproc", "world_size", "ip", "port", "group_offset")


def launch(options: Mapping[str, str]) -> int:
    """Run a command line in several processes and wait for them.

    ``torchrun`` with the same options does the same.

    Args:
        options: of the command line, those of `FLAGS` among them.

    Returns:
        Exit status: that of the first process that failed, else 0.

    Raises:
        UsageError: a flag that is no number, or numbers that do not fit each other.
    """
    here = _number(options, "nproc", 1)
    world = max(here, _number(options, "world_size", -1))
    before = _number(options, "group_offset", 0)
    if here < 1 or world % here or before % here:
        raise UsageError(
            f"--nproc={here}: world_size {world} and group_offset {before} must be multiples of it"
        )
    words = ["--nproc_per_node", str(here)]
    if world > here:
        words += ["--nnodes", str(world // here), "--node_rank", str(before // here)]
        words += ["--master_addr", options.get("ip", "localhost")]
        words += ["--master_port", options.get("port", "5678")]
    else:
        words.append("--standalone")
    run = [f"--{key}={value}" for key, value in options.items() if key not in FLAGS]
    threads = max(1, (os.cpu_count() or 1) // here)
    return subprocess.call(
        [sys.executable, "-m", "torch.distributed.run", *words, "-m", "recbole_missrec", *run],
        env={"OMP_NUM_THREADS": str(threads)} | os.environ,
    )


def _number(options: Mapping[str, str], key: str, default: int) -> int:
    try:
        return int(options.get(key, default))
    except ValueError as error:
        raise UsageError(f"--{key}={options[key]}: must be a whole number") from error
