"""Pre-training on a large corpus: ``python -m benchmarks.pretrain``."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks.measuring import (
    arguments,
    in_fresh_process,
    machine,
    positive,
    report,
)
from benchmarks.prepare_data import Size, check_size, tokens, write_interactions
from benchmarks.tokens import structured_tokens
from recbole_missrec.data.domains import Domain
from recbole_missrec.data.features import write_features
from recbole_missrec.errors import UsageError
from recbole_missrec.files import write_json
from recbole_missrec.words import say

DESCRIPTION = """\
Make a corpus (interactions, features of texts, pictures and augmented texts, of 512 dimensions) and
pre-train MISSRec on it by props/pretrain.yaml for some steps, in one process and in several:

  start-up    from the start of the program until the model is ready to train
  discovery   of the interests of all items; always by one process, measured in the first run and
              where --discover asks for it, since it takes minutes; else interests are at random
  a step      the mean of --steps after --warm_up, part by part
  an epoch    COMPUTED: as many steps as it has; and validation, from a batch of it

Sequences are training rows: a history and its next item. Memory is the highest resident memory of a
process, the pages of the feature files that it has read among it.
"""
NAME = "corpus"
DIM = 512
HELD_OUT = 3  # interactions of a user that are no training rows: the first and the last two
PARTS = {
    "batch": "histories, augmented copies, layout",
    "features": "features of the batch, from their files",
    "forward": "model and losses",
    "backward": "gradients",
    "exchange": "gradients of all processes",
    "optimiser": "Adam",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.pretrain", DESCRIPTION)
    add = parser.add_argument
    add("--users", type=positive, default=400_000, metavar="N", help="default: 400000")
    add("--items", type=positive, default=450_000, metavar="N", help="default: 450000")
    add("--interactions", type=positive, default=3_200_000, metavar="N", help="default: 3200000")
    add("--processes", type=positive, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    add("--batch", type=positive, default=4096, metavar="N", help="sequences; default: 4096")
    add("--discover", action="store_true", help="interests, once")
    add("--interest_ratio", type=float, default=0.02, metavar="R", help="default: 0.02")
    add("--warm_up", type=positive, default=3, metavar="N", help="default: 3")
    add("--steps", type=positive, default=24, metavar="N", help="default: 24")
    add("--folder", type=Path, metavar="DIR", help="keep the corpus here; default: a temporary one")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        return report([args.out], lambda: run(args, args.folder or Path(folder)), table)


def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make the corpus and measure.

    Raises:
        UsageError: too few interactions, too many steps, a corpus of another size in the folder or
            one that cannot be written, or a run failed.
    """
    size = Size(args.users, args.items, args.interactions)
    check_size(size, "interactions")
    check_steps(args, size)
    make_corpus(folder, size)
    rows: list[dict[str, Any]] = []
    for processes in args.processes:
        say(f"{processes} of {args.processes} processes")
        row = measure(args, folder, processes, discover=args.discover and not rows)
        rows.append(row | computed(row))
    corpus = size._asdict() | {"interest_ratio": args.interest_ratio}
    return {**machine(args.threads), "corpus": corpus, "rows": rows}


def check_steps(args: argparse.Namespace, size: Size) -> None:
    """See that an epoch has the steps that are asked for.

    Raises:
        UsageError: it has fewer.
    """
    there = -(-(size.interactions - HELD_OUT * size.users) // args.batch)
    if args.warm_up + args.steps > there:
        raise UsageError(
            f"--steps={args.steps}: with --warm_up={args.warm_up} more than the {there} of an "
            f"epoch by --batch={args.batch}"
        )


def make_corpus(folder: Path, size: Size) -> None:
    """Write the corpus, unless it is there; its size last, as a sign that all of it is.

    Raises:
        UsageError: one of another size is there, or it cannot be written.
    """
    file, asked = folder / NAME / "size.json", size._asdict()
    if not file.is_file():
        say("a corpus is made")
        in_fresh_process(write_corpus, folder, size)
        write_json(file, asked)
    elif (there := json.loads(file.read_text())) != asked:
        kept, wanted = (", ".join(f"{n} {kind}" for kind, n in s.items()) for s in (there, asked))
        raise UsageError(f"--folder={folder}: its corpus has {kept}, not {wanted}; name another")


def write_corpus(folder: Path, size: Size) -> None:
    """Write interactions and features."""
    domain = Domain(NAME, folder / NAME, "")
    names = tokens("B", np.arange(size.items), 9).to_pylist()
    files = domain.features("text"), domain.features("image"), domain.augmented("text")
    for seed, path in enumerate(files):
        encoder = "generated image" if seed == 1 else "generated text"
        write_features(path, names, structured_tokens(size.items, DIM, seed).half(), encoder)
    write_interactions(domain.folder / f"{NAME}.inter", size)


def measure(
    args: argparse.Namespace, folder: Path, processes: int, discover: bool
) -> dict[str, Any]:
    """Steps in a number of processes.

    Args:
        args: of the command line.
        folder: of the corpus.
        processes: their number.
        discover: interests, or have them at random.

    Raises:
        UsageError: the run failed.
    """
    options = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "use_gpu": False,
        "state": "error",
        "map_features": True,
        "train_batch_size": args.batch,
        "interest_ratio": args.interest_ratio,
    }
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    numbers = (str(number) for number in (args.warm_up, args.steps, int(discover)))
    out = folder / "figures.json"
    here = str(Path(__file__).resolve().parents[1])  # the benchmarks are not installed
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), "-m", "benchmarks.pretrain_steps"]
        + [NAME, json.dumps(options), *numbers, str(out)],
        env=os.environ | {"OMP_NUM_THREADS": str(args.threads), "PYTHONPATH": path},
    )
    if done.returncode:
        raise UsageError(f"--processes {processes}: the run failed, see above")
    return {"processes": processes, **json.loads(out.read_text())}


def computed(found: dict[str, Any]) -> dict[str, float]:
    """What follows from the figures of one row."""
    step = sum(found["step_seconds"].values())
    rounds = found["validation_batches"] / found["processes"]
    return {
        "sequences_per_second": found["batch"] / step,
        "computed_training_seconds": found["steps_per_epoch"] * step,
        "computed_validation_seconds": found["items_seconds"] + rounds * found["rank_seconds"],
    }


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    runs, corpus = result["rows"], result["corpus"]
    lines = {
        "start-up, s": "start_up_seconds",
        "discovery, s": "discovery_seconds",
        "sequences a second": "sequences_per_second",
        "peak memory of a process, MiB": "peak_memory_mib",
        "steps of an epoch, COMPUTED, s": "computed_training_seconds",
        "validation, COMPUTED, s": "computed_validation_seconds",
    }
    rows = [[words, *(run[key] for run in runs)] for words, key in lines.items()]
    steps = [sum(run["step_seconds"].values()) for run in runs]
    rows.append([f"a step of {runs[0]['batch']:,} sequences, s", *steps])
    for part, words in PARTS.items():
        taken = (run["step_seconds"][part] for run in runs)
        shares = (100 * seconds / step for seconds, step in zip(taken, steps, strict=True))
        rows.append([f"  {words}, %", *shares])
    return (
        f"\n{corpus['items']:,} items, {corpus['users']:,} users, {corpus['interactions']:,} "
        f"interactions, {runs[0]['sequences']:,} sequences; {result['cpu']}, threads of a process: "
        f"{result['threads']}, torch {result['torch']}\n\n"
        + tabulate(rows, ["processes", *(run["processes"] for run in runs)], floatfmt=",.1f")
    )


if __name__ == "__main__":
    sys.exit(main())
