"""Time and memory to the first training batch: ``python -m benchmarks.prepare_data``."""

import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import recbole
import torch
from pyarrow import csv
from recbole.data import data_preparation
from recbole.data.dataset import SequentialDataset
from tabulate import tabulate

from benchmarks.measuring import (
    arguments,
    in_fresh_process,
    machine,
    positive,
    report,
)
from recbole_missrec.config import Config
from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing
from recbole_missrec.preparation import prepare
from recbole_missrec.registry import get_dataset_class
from recbole_missrec.words import say

DESCRIPTION = """\
Make a file of interactions, prepare SASRec's training on it, and stop at the first batch; each
measurement is in a process of its own, on Linux.

  whole run  from the start of the process: imports, data, model, trainer, first batch
  missrec    the data set, its split and the first batch, of fewer interactions
  recbole    the same by RecBole's loops, which give the same rows

Items are drawn by Zipf's law, each at least once; users have 5 interactions or more; rows are in
no order.
"""

SHORTEST = 5
NAME = "made"


class Size(NamedTuple):
    """Of a file of interactions."""

    users: int
    items: int
    interactions: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.prepare_data", DESCRIPTION)
    add = parser.add_argument
    add("--users", type=positive, default=1_360_000, metavar="N", help="default: 1360000")
    add("--items", type=positive, default=447_000, metavar="N", help="default: 447000")
    add("--interactions", type=positive, default=14_000_000, metavar="N", help="default: 14000000")
    compared_help = "interactions that RecBole's loops get, users and items in proportion"
    add(
        "--compared",
        type=positive,
        default=200_000,
        metavar="N",
        help=f"{compared_help}; default: 200000",
    )
    add("--folder", type=Path, metavar="DIR", help="keep the files here; default: a temporary one")
    args = parser.parse_args(argv)
    size = Size(args.users, args.items, args.interactions)
    with tempfile.TemporaryDirectory() as folder:
        return report(
            [args.out], lambda: run(size, args.compared, args.folder or Path(folder)), table
        )


def run(size: Size, compared: int, folder: Path) -> dict[str, Any]:
    """Make the files and measure.

    Args:
        size: of the file of the whole run.
        compared: interactions of the file that RecBole's loops get, too.
        folder: where files are made.

    Returns:
        What ``--out`` holds.

    Raises:
        UsageError: too few interactions, or the files cannot be written.
    """
    users, items = (count * compared // size.interactions for count in (size.users, size.items))
    small = Size(users, items, compared)
    for wanted, option in ((size, "interactions"), (small, "compared")):
        check_size(wanted, option)
    figures = {}
    for form, wanted in (("whole run", size), ("missrec", small), ("recbole", small)):
        data_path = folder / str(wanted.interactions)
        if form != "recbole":
            say(f"{wanted.interactions:,} interactions are made")
            write_interactions(data_path / NAME / f"{NAME}.inter", wanted)
        say(f"{form} is measured")
        figures[form] = in_fresh_process(measure, form, str(data_path))
    own, loops = figures["missrec"], figures["recbole"]
    return {
        **machine(torch.get_num_threads()),
        "recbole": recbole.__version__,
        "whole_run": size._asdict() | figures["whole run"],
        "compared": small._asdict() | {"missrec": own, "recbole": loops},
        "recbole_over_missrec": {key: loops[key] / own[key] for key in own},
    }


def check_size(size: Size, option: str) -> None:
    """See that a file of this size can be made.

    Raises:
        UsageError: too few interactions for the users and items.
    """
    users, items, interactions = size
    if not users or not items or interactions < max(SHORTEST * users, items):
        raise UsageError(
            f"--{option}={interactions}: too few for {users:,} users with {SHORTEST} or more each "
            f"and {items:,} items"
        )


def write_interactions(path: Path, size: Size) -> None:
    """Write interactions as RecBole reads them.

    Raises:
        UsageError: the file cannot be written.
    """
    users, items, interactions = size
    rng = np.random.default_rng(0)
    activity = rng.lognormal(size=users)
    more = rng.multinomial(interactions - SHORTEST * users, activity / activity.sum())  # [users]
    popularity = np.cumsum(1 / np.arange(1, items + 1))  # [items]
    drawn = rng.random(interactions - items) * popularity[-1]
    columns = [
        tokens("A", rng.permutation(np.repeat(np.arange(users), SHORTEST + more)), 13),
        tokens("B", np.concatenate([np.arange(items), np.searchsorted(popularity, drawn)]), 9),
        pa.array(rng.integers(1_400_000_000, 1_600_000_000, interactions)),
    ]
    as_written = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(b"user_id:token\titem_id:token\ttimestamp:float\n")
        csv.write_csv(pa.table(columns, ["user", "item", "time"]), file, as_written)


def tokens(letter: str, ids: np.ndarray, digits: int) -> pa.Array:
    """A letter and a number of so many digits for each id, ``[rows]``."""
    numbers = pc.utf8_lpad(pa.array(ids).cast(pa.string()), digits, "0")
    return pc.binary_join_element_wise(letter, numbers, "")


def whole_run(config: Config) -> Any:
    """Training batches of a run that is ready to train."""
    _, (train_data, _, _) = prepare(config)
    return train_data


def with_class(choose: Callable[[Config], type]) -> Callable[[Config], Any]:
    """Training batches of the data alone, by a data set class."""
    return lambda config: data_preparation(config, choose(config)(config))[0]


FORMS: dict[str, Callable[[Config], Any]] = {
    "whole run": whole_run,
    "missrec": with_class(get_dataset_class),
    "recbole": with_class(lambda _: SequentialDataset),
}


def measure(form: str, data_path: str) -> dict[str, float]:
    """Make the first training batch; to be called in a fresh process, on Linux.

    Returns:
        Seconds and highest resident memory: of the process for ``whole run``, else without what
        importing took.
    """
    start, imported = psutil.Process().create_time(), 0.0
    if form != "whole run":
        start, imported = time.time(), psutil.Process().memory_info().rss / 2**20
    warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
    options = {
        "data_path": data_path,
        "checkpoint_dir": data_path,
        "use_gpu": False,
        "state": "error",
    }
    batch = next(iter(FORMS[form](Config("SASRec", NAME, config_dict=options))))
    assert len(batch)
    seconds = time.time() - start
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    highest = int(peak[1]) / 2**10 if peak else float("nan")
    return {"seconds": seconds, "memory_mib": highest - imported}


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    whole, compared = result["whole_run"], result["compared"]
    rows: list[list[Any]] = [
        ["whole run", whole["interactions"], whole["seconds"], whole["memory_mib"]]
    ]
    for form in ("missrec", "recbole"):
        rows.append([form, compared["interactions"], *compared[form].values()])
    rows.append(["recbole / missrec", None, *result["recbole_over_missrec"].values()])
    return (
        f"\nSASRec to its first training batch; {result['cpu']}, recbole {result['recbole']}\n\n"
        + tabulate(
            rows,
            ["", "interactions", "seconds", "memory MiB"],
            floatfmt=",.1f",
            intfmt=",",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
