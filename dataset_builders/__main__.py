"""Command line: ``python -m dataset_builders SOURCE ...``, a sub-command for each source."""

import argparse
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import NoReturn

from dataset_builders.building import Settings, build_dataset
from dataset_builders.card import without_passwords
from dataset_builders.dataset_files import check_name
from dataset_builders.downloads import cached, default_cache, remote_size
from dataset_builders.encoders import ENCODERS, choose, default_encoder
from dataset_builders.encoders.interface import Encoder
from dataset_builders.inspection import inspect
from dataset_builders.pictures import Limits
from dataset_builders.sources import (
    amazon,
    corpus,
    lastfm,
    mmrec,
    movielens,
    released,
    sample,
    tabular,
)
from dataset_builders.word_drop import RATE, check_rate
from recbole_missrec.errors import UsageError, nearest

SOURCES: dict[str, ModuleType] = {
    "amazon": amazon,
    "corpus": corpus,
    "movielens": movielens,
    "lastfm": lastfm,
    "tabular": tabular,
    "released": released,
    "mmrec": mmrec,
    "sample": sample,
}
NONE = "none"
ENCODER_OPTIONS = ("model", "pretrained", "pooling")

DESCRIPTION = """\
Make a data set that run_recbole_missrec.py can train on, in the folder OUT/NAME:

  NAME.inter                  interactions: user, item, time (a RecBole atomic file)
  NAME.MODALITY.safetensors   one feature matrix per modality, text or image
  augmented/                  that of texts with words dropped, for pre-training, where asked for
  NAME.text.tsv               the texts of the items, where there are any
  NAME.item                   their categories, where there are any, by which figures are sliced
  NAME.pictures.tsv           where their pictures lie, where there are any
  README.md, card.json        what it is made of, counts, coverage, digests

An older data set of that name is replaced file by file, after the new one is complete. What only
the older one had is removed; files that no build made stay. Features that were made of the same
texts or pictures by the same encoder are kept. An interrupted build goes on when the same command
is given again.
"""

EXAMPLES = """\
examples:
  python -m dataset_builders sample
  python -m dataset_builders movielens --set 100k --posters posters --abstracts abstracts.tsv
  python -m dataset_builders amazon --set Pantry
  python -m dataset_builders amazon --set Pantry --encoder clip
  python -m dataset_builders tabular orders.csv --user customer --item sku --time date --name shop
  torchrun --nproc_per_node=2 -m dataset_builders amazon --set Office
  python -m dataset_builders inspect dataset/Pantry
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Build one data set, or look at one.

    Args:
        argv: words of the command line; those of the process if not given.

    Returns:
        Exit status: 0, or 2 after bad input, with one message on stderr.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        options = _parse(words)
        print(options.run(options, words), end="")
    except (UsageError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


def _inspect(options: argparse.Namespace, words: list[str]) -> str:
    return inspect(options.folder, options.items) + "\n"


def _build(options: argparse.Namespace, words: list[str]) -> str:
    command = ("python", "-m", "dataset_builders", *words)
    source = SOURCES[options.command]
    if getattr(options, "name", None) is not None:
        check_name(options.name)
    if options.augmented_text is not None:
        check_rate(options.augmented_text)
    names = {modality: getattr(options, modality) or options.encoder for modality in ENCODERS}
    left_out = {modality for modality, name in names.items() if name == NONE}
    encoders = {
        m: _choose(m, name, options) for m, name in names.items() if name not in (None, NONE)
    }
    if hasattr(source, "addresses"):
        _announce(source.addresses(options), options, command)

    def choose_defaults(modalities: Iterable[str]) -> None:
        for modality in modalities:
            if modality not in encoders.keys() | left_out:
                name = default_encoder(modality, getattr(source, "LIGHT", False))
                encoders[modality] = _choose(modality, name, options)

    choose_defaults(getattr(source, "MODALITIES", ()))  # before the long work, if known
    content = source.build(options)
    ready = {m: features for m, features in content.features.items() if m not in left_out}
    inputs = {"text": content.texts, "image": content.pictures}
    if not content.features:
        choose_defaults(modality for modality, given in inputs.items() if given)
    content = replace(content, features=ready)
    for modality, name in names.items():
        if name is None and not inputs[modality]:
            encoders.pop(modality, None)
        _check_used(modality, modality in encoders, options)
    limits = replace(Limits(), private_addresses=options.private_addresses)
    in_order = tuple(encoders[modality] for modality in ENCODERS if modality in encoders)
    settings = Settings(
        in_order, options.cache, limits, not options.no_rebuild, options.augmented_text, command
    )
    summary = build_dataset(content, options.out, settings)
    return f"{summary}\n" if summary else ""


def _choose(modality: str, name: str, options: argparse.Namespace) -> Encoder:
    given = {key: getattr(options, f"{modality}_{key}") for key in ENCODER_OPTIONS}
    return choose(modality, name, options.autocast, **given)


def _check_used(modality: str, used: bool, options: argparse.Namespace) -> None:
    for key in ENCODER_OPTIONS:
        if not used and getattr(options, f"{modality}_{key}") is not None:
            raise UsageError(f"--{modality}-{key}: nothing is encoded as {modality}")


def _announce(addresses: list[str], options: argparse.Namespace, command: tuple[str, ...]) -> None:
    """Say what will be fetched and how large it is, before anything is.

    Raises:
        UsageError: no network, with the command for files that were fetched elsewhere.
    """
    for address in addresses:
        if cached(address, options.cache) is not None:
            continue
        try:
            size = remote_size(address)
        except UsageError as error:
            if options.source is not None:
                raise
            place = "FILE" if len(addresses) == 1 else "FOLDER"
            files = ", ".join(PurePosixPath(address).name for address in addresses)
            elsewhere = shlex.join((*command, "--source", place))
            raise UsageError(f"{error}; with {files} fetched elsewhere: {elsewhere}") from error
        told = "size not known" if size is None else f"{size / 1e6:,.1f} MB"
        print(f"to fetch: {without_passwords(address)} ({told})", file=sys.stderr)


def _parse(words: list[str]) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m dataset_builders",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        dest="command", metavar="SOURCE", title="sources", required=True
    )
    for name, source in SOURCES.items():
        command = commands.add_parser(
            name,
            help=source.HELP,
            description=source.__doc__,
            formatter_class=raw,
            allow_abbrev=False,
        )
        source.add_arguments(command)
        _add_common_arguments(command)
        command.set_defaults(run=_build)
    command = commands.add_parser(
        "inspect", help="look at a data set: card, digests of its files, some items"
    )
    command.add_argument("folder", metavar="DIR", type=Path, help="folder of the data set")
    command.add_argument("--items", type=int, default=5, help="number of items to show (5)")
    command.set_defaults(run=_inspect)
    known = commands.choices
    if not words or (words[0] not in known and not words[0].startswith("-")):
        given = words[0] if words else ""
        raise UsageError(f"SOURCE '{given}': no such source; {nearest(given, known)}")
    options, unknown = parser.parse_known_args(words)
    if unknown:
        wrong = unknown[0].partition("=")[0]
        usage = re.findall(r"--[\w-]+", known[options.command].format_usage())
        raise UsageError(f"{wrong}: not an option of {options.command}; {nearest(wrong, usage)}")
    return options


def _add_common_arguments(command: argparse.ArgumentParser) -> None:
    making = command.add_argument_group("features")
    for modality, names in ENCODERS.items():
        making.add_argument(
            f"--{modality}", metavar="ENCODER", help=f"{', '.join(names)}, or {NONE}"
        )
        making.add_argument(
            f"--{modality}-model", metavar="NAME|DIR", help="of bert, vit and clip, which model"
        )
        making.add_argument(
            f"--{modality}-pretrained", metavar="TAG|FILE", help="of clip, which weights"
        )
    making.add_argument("--text-pooling", choices=["cls", "mean"], help="of bert (cls)")
    making.add_argument("--image-pooling", choices=["cls", "pooler"], help="of vit (cls)")
    making.add_argument("--encoder", choices=["clip"], help="one for texts and pictures")
    making.add_argument("--autocast", action="store_true", help="compute in bfloat16")
    making.add_argument(
        "--augmented-text",
        metavar="RATE",
        nargs="?",
        type=float,
        const=RATE,
        help=f"also encode the texts with this share of their words dropped ({RATE})",
    )
    making.add_argument(
        "--no-rebuild",
        action="store_true",
        help="refuse to make features again that were made of something else",
    )
    making.add_argument(
        "--private-addresses",
        action="store_true",
        help="fetch pictures from this machine and its own network, too",
    )
    command.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="folder for what is fetched (%(default)s)",
    )
    command.add_argument(
        "--out", type=Path, default=Path("dataset"), help="folder of data sets (dataset)"
    )


if __name__ == "__main__":
    sys.exit(main())
