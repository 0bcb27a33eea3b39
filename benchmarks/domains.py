"""Films with long histories, and a listening log: ``python -m benchmarks.domains``."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from benchmarks.measuring import arguments, machine, report
from benchmarks.studying import add_seeds, by_label, means, seeds_of, train
from dataset_builders.__main__ import main as build
from dataset_builders.pantry.catalogue import draw_catalogue
from dataset_builders.pantry.shoppers import simulate
from recbole_missrec.comparison.plan import Run, plan_run
from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing

DESCRIPTION = """\
Train models where things are not bought:

  long      ml-100k, histories of at most 50, 100 and 200 films; the last five rows of each user
  listened  a GENERATED log of 3,000 listeners and 600 artists with tags, by the builder of Last.fm
            logs; each seed generates one of its own

It may be killed: asked for again it goes on where it was. Results are kept in the folder FOLDER.
"""
LOG = "generated-log"
LISTENERS, ARTISTS = 3_000, 600
LENGTHS = (50, 100, 200)
MODELS = ("LastItem", "SASRec", "MISSRec")
PARTS = ("long", "listened")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.domains", DESCRIPTION)
    add_seeds(parser, "runs/domains")
    add = parser.add_argument
    add("--data_path", default="dataset", metavar="DIR", help="where ml-100k is; default: dataset")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="NAME")
    args = parser.parse_args(argv)
    return report([args.out], lambda: run(args), table)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Generate, train, and collect.

    Args:
        args: of the command line.

    Returns:
        What ``--out`` holds.

    Raises:
        UsageError: ml-100k is absent, or a run failed.
    """
    plans = {"long": long, "listened": listened}
    runs = [
        run for seed in seeds_of(args) for part in args.parts for run in plans[part](args, seed)
    ]
    train(runs, args.folder, args)
    rows = [
        {"row": label, "seeds": len(results), **means(results)}
        for label, results in by_label(runs, args.folder).items()
    ]
    return {**machine(args.threads), "rows": rows}


def long(args: argparse.Namespace, seed: int) -> Iterator[Run]:
    """Histories of ml-100k cut at several lengths."""
    for longest in LENGTHS:
        options = {"MAX_ITEM_LIST_LENGTH": str(longest), "max_train_prefixes": "5"}
        options |= {"data_path": args.data_path, "epochs": str(args.epochs)}
        for model in MODELS[1:]:
            label = f"ml-100k, at most {longest} films, {model}"
            yield plan_run(label, model, "ml-100k", seed, (), options)


def listened(args: argparse.Namespace, seed: int) -> Iterator[Run]:
    """Models on the log of the seed."""
    path = str(listening_log(seed, args.folder / f"log-{seed}"))
    for model in MODELS:
        options = {"data_path": path}
        options |= {} if model == "LastItem" else {"epochs": str(args.epochs)}
        options |= {"modalities": "[text]"} if model == "MISSRec" else {}
        yield plan_run(f"{LOG}, {model}", model, LOG, seed, (), options)


def listening_log(seed: int, out: Path) -> Path:
    """A GENERATED listening log, built by the builder of Last.fm logs as ``LOG``.

    Who listens has tastes that show in an artist's tags, as the shoppers of pantry-sample have.

    Args:
        seed: of all that is random.
        out: folder of the new one; nothing is written if it is there.

    Returns:
        What ``data_path`` is then.

    Raises:
        UsageError: it cannot be built; the reason has been printed.
    """
    if (out / LOG / f"{LOG}.inter").is_file():
        return out
    rng = np.random.default_rng(seed)
    artists = draw_catalogue(ARTISTS, rng)
    log = simulate(artists, LISTENERS, rng)
    times = pd.to_datetime(log["timestamp"], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = log["user_id"] + "\t" + times + "\t" + log["item_id"] + "\tArtist " + log["item_id"]
    tags = artists.index + "\t" + artists["text"]
    for name, lines in (
        ("log.tsv", rows + "\t\tTrack"),
        ("tags.tsv", pd.Series(["artist\ttags", *tags])),
    ):
        with replacing(out / name) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["lastfm", "--source", str(out / "log.tsv"), "--tags", str(out / "tags.tsv")]
    if build([*words, "--text", "tfidf", "--name", LOG, "--out", str(out)]):
        raise UsageError(f"{out}: the listening log was not built")
    return out


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    return tabulate(result["rows"], headers="keys", tablefmt="pipe", floatfmt=".4f")


if __name__ == "__main__":
    sys.exit(main())
