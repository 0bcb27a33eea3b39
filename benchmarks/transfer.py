"""What a pre-training gives to another catalogue: ``python -m benchmarks.transfer``."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import arguments, machine, report
from benchmarks.studying import add_seeds, by_label, means, paired, seeds_of, train
from benchmarks.transfer_data import films, halves
from recbole_missrec.comparison.plan import Run, plan_run
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.options import CHOICES
from recbole_missrec.paths import props_dir
from recbole_missrec.words import names, say

DESCRIPTION = """\
Pre-train MISSRec on one catalogue and tune it on another, whose items and users it has not seen:

  category  from all other products of Scientific to those for 3D printing, texts and pictures
  ml-100k   from films to Scientific, texts by MiniLM; the last 20 rows and 50 items of a film user

Against SASRec and MISSRec from scratch, with item ids and without, and with a part of the training
users. Each row's N@10 on the test rows is compared with that from scratch, user by user (p by
Holm's correction). It may be killed: asked for again it goes on where it was. Results are kept in
FOLDER/SOURCE.
"""
SOURCES: dict[str, Any] = {"category": halves, "ml-100k": films}  # what writes the data
# of pre-training: chosen by N@10 on validation of the target, docs/results/transfer/tries
SMALL = {"train_batch_size": "512"}
SHORT = {"MAX_ITEM_LIST_LENGTH": "50", "max_train_prefixes": "20"}  # as many items as the target's
# of pre-training; of every run
OPTIONS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "category": (SMALL, {}),
    "ml-100k": (SMALL | SHORT, {"modalities": "[text]"}),
}
WAYS = "scratch,adapters,full,bias,lora"
SHARES = "1,0.3,0.1"  # of the training users
WHOLE = ("bias", "lora")  # ways that are compared with all users alone
IDS = {"with ids": "True", "without ids": "False"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.transfer", DESCRIPTION)
    add = parser.add_argument
    add_seeds(parser, "runs/transfer")
    add("--data_path", type=Path, default=Path("dataset"), help="where data sets are")
    add("--source", choices=SOURCES, default="category", help="default: category")
    add("--ways", default=WAYS, help=f"how models are tuned; default: {WAYS}")
    add("--shares", default=SHARES, help=f"of the users trained on; default: {SHARES}")
    add(
        "--pretraining", nargs="+", type=pair, default=[], metavar="OPTION=VALUE",
        help="options of the pre-training; default: train_batch_size=512, and props/pretrain.yaml",
    )  # fmt: skip
    args = parser.parse_args(argv)
    return report([args.out], lambda: run(args), table)


def pair(word: str) -> tuple[str, str]:
    """An option and its value, for argparse."""
    option, equals, value = word.partition("=")
    if not option or not equals:
        raise argparse.ArgumentTypeError(f"'{word}' is not like train_batch_size=512")
    return option, value


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Pre-train, tune, and collect.

    Args:
        args: of the command line.

    Returns:
        What ``--out`` holds.

    Raises:
        UsageError: a word of the command line is wrong, a data set is absent, or a run failed.
    """
    seeds, folder = seeds_of(args), args.folder / args.source
    ways, shares = ways_of(args.ways), shares_of(args.shares)
    SOURCES[args.source](args.data_path, folder / "dataset")
    first, common = OPTIONS[args.source]
    common = common | {"data_path": str(folder / "dataset"), "epochs": str(args.epochs)}
    common["valid_metric"] = "NDCG@10"
    first = common | first | dict(args.pretraining)
    checkpoints = {seed: pretrain(folder, seed, first, args.threads) for seed in seeds}
    runs = [run for seed in seeds for run in plan(seed, checkpoints[seed], common, ways, shares)]
    train(runs, folder / "runs", args)
    identity = {**machine(args.threads), "source": args.source}
    identity["pretraining"] = dict(args.pretraining)
    return identity | {"rows": rows(runs, folder / "runs")}


def ways_of(text: str) -> list[str]:
    """Ways of tuning of the command line.

    Raises:
        UsageError: there is no such way, or one is there twice.
    """
    known, ways = ["scratch", *CHOICES["tune"]], names("ways", text)
    for way in ways:
        if way not in known:
            raise UsageError(f"--ways={text}: no way '{way}'; {nearest(way, known)}")
    return ways


def shares_of(text: str) -> list[float]:
    """Shares of the training users of the command line.

    Raises:
        UsageError: one is no number above 0 and at most 1, or there twice.
    """
    try:
        shares = [float(share) for share in names("shares", text)]
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares):
        raise UsageError(f"--shares={text}: must be numbers above 0 and at most 1, like {SHARES}")
    return shares


def pretrain(within: Path, seed: int, options: dict[str, str], threads: int) -> Path:
    """Checkpoint of a pre-training on the source; made now unless that very one is there."""
    files = (str(props_dir() / "pretrain.yaml"),)
    planned = plan_run("pre-training", "MISSRec", "source", seed, files, options)
    folder = within / f"pretrained-{seed}-{planned.digest}"
    done = folder / "result.json"
    if not done.is_file():
        say(f"pre-training, seed {seed}")
        begun = sorted(folder.glob("*.resume"))
        anew = [*planned.words, f"--checkpoint_dir={folder}"]
        words = [f"--resume={begun[-1]}"] if begun else anew
        command = [sys.executable, "-m", "recbole_missrec", *words, f"--result_file={done}"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        if subprocess.run(command, env=environment).returncode:
            raise UsageError(f"{folder}: the pre-training failed, see above")
    return max(folder.glob("*.pth"), key=lambda path: path.stat().st_mtime)


def plan(
    seed: int,
    pretrained: Path,
    common: dict[str, str],
    ways: Sequence[str],
    shares: Sequence[float],
) -> Iterator[Run]:
    """Every run of a seed on the target."""
    given = {key: value for key, value in common.items() if key != "modalities"}
    yield plan_run("SASRec", "SASRec", "target", seed, (), given)
    for ids, value in IDS.items():
        options = common | {"item_ids": value}
        started = options | {"pretrained": str(pretrained)}
        if value == "False":
            zero = started | {"tune": "none"}
            yield plan_run(f"zero-shot, {ids}, 100%", "MISSRec", "target", seed, (), zero)
        for way in ways:
            for share in shares[: 1 if way in WHOLE else None]:
                given = options if way == "scratch" else started | {"tune": way}
                given = given | {"train_share": str(share)}
                label = f"{way}, {ids}, {share:.0%}"
                yield plan_run(label, "MISSRec", "target", seed, (), given)


def rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """Means over the seeds, and N@10 beside that from scratch, row by row."""
    results = by_label(runs, folder)
    scratch = {
        label: "scratch, with ids, 100%"
        if label == "SASRec"
        else f"scratch,{label.partition(',')[2]}"
        for label in results
    }
    others = {own: other for own, other in scratch.items() if other in results and own != other}
    compared = paired(runs, folder, others)
    return [
        {
            "row": label,
            "seeds": len(own),
            **means(own),
            "epochs to the best": mean(result["best_epoch"] + 1 for result in own),
            "trainable": own[0]["parameters"]["trainable"],
            "seconds": mean(result["seconds"] for result in own),
        }
        | dict(zip(("over scratch", "p"), compared.get(label, ()), strict=False))
        for label, own in results.items()
    ]


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    return tabulate(result["rows"], headers="keys", floatfmt=".4f")


if __name__ == "__main__":
    sys.exit(main())
