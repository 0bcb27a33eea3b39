"""RecBole's own flags for several processes, carried out by PyTorch's launcher."""

import logging
import os
from collections.abc import Mapping

from torch.distributed import DistError
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from recbole_missrec.errors import UsageError

# RecBole's names: processes of this machine, of all, address and port of the first machine, number
# of processes on the machines before this one
FLAGS = ("nproc", "world_size", "ip", "port", "group_offset")


def launch(options: Mapping[str, str]) -> int:
    """Run a command line in several processes and wait for them.

    ``torchrun`` with the same options does the same, and writes a traceback of its own after the
    message of a process that fails.

    Args:
        options: of the command line, those of `FLAGS` among them.

    Returns:
        Exit status: that of the first process that failed, 130 if interrupted, else 0.

    Raises:
        UsageError: a flag that is no number, numbers that do not fit each other, or machines that
            do not find each other.
    """
    here = _number(options, "nproc", 1)
    world = max(here, _number(options, "world_size", -1))
    before = _number(options, "group_offset", 0)
    if here < 1 or world % here or before % here:
        raise UsageError(
            f"--nproc={here}: world_size {world} and group_offset {before} must be multiples of it"
        )
    ip, port = options.get("ip", "localhost"), options.get("port", "5678")
    words = ["--nproc_per_node", str(here)]
    if world > here:
        words += ["--nnodes", str(world // here), "--node_rank", str(before // here)]
        words += ["--master_addr", ip, "--master_port", port]
    else:
        words.append("--standalone")
    run = [f"--{key}={value}" for key, value in options.items() if key not in FLAGS]
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // here)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        torchrun.run(torchrun.parse_args([*words, "-m", "recbole_missrec", *run]))
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        return status if status > 0 else 128 - status  # killed by a signal
    except DistError as error:
        reason = str(error).splitlines()[0]
        where = f"--ip={ip} --port={port}" if world > here else f"--nproc={here}"
        raise UsageError(f"{where}: the processes do not meet: {reason}") from error
    except SignalException:
        return 130
    return 0


def _number(options: Mapping[str, str], key: str, default: int) -> int:
    try:
        return int(options.get(key, default))
    except ValueError as error:
        raise UsageError(f"--{key}={options[key]}: must be a whole number") from error
