"""Listening logs of Last.fm in the formats of the sets LFM-1K and LFM-360K, without headers:

  1k     user, time, artist id, artist, track id, track
  360k   user, artist id, artist, number of plays

Ids are those of MusicBrainz, and many are missing; the item is then name:NAME. Its text is its
name, for a track after that of the artist, and after it the tags that --tags has for it.

The 360k format has NO TIMES. Its rows are kept in the order of the file, in LFM-360K the artist
played most first, with the time 0: what comes next there says nothing of what was heard next.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from dataset_builders.archives import open_log
from dataset_builders.dataset_files import DatasetContent, Origin
from dataset_builders.downloads import fetch
from dataset_builders.filters import (
    add_core_option,
    by_user_and_time,
    finish,
    repeats,
    sizes,
)
from dataset_builders.tables import TOKEN, read_csv, read_pairs
from recbole_missrec.errors import UsageError

HELP = "listening logs of Last.fm (LFM-1K, LFM-360K); tags from a table"
MODALITIES = ("text",)
# Address, MD5 and file inside as https://zenodo.org/records/6090214 and the READMEs state.
ADDRESS = "https://zenodo.org/records/6090214/files/lastfm-dataset-{}.tar.gz"
MD5 = {"1k": "a79a6808f54f73354789a9fb02cb1e41", "360k": "635e6ed3fc873aa4ba33aba0ebce02b1"}
MEMBER = {
    "1k": "userid-timestamp-artid-artname-traid-traname.tsv",
    "360k": "usersha1-artmbid-artname-plays.tsv",
}
COLUMNS = {
    "1k": ["user_id", "timestamp", "artist_id", "artist", "track_id", "track"],
    "360k": ["user_id", "artist_id", "artist", "plays"],
}
ITEMS = {"artist": ["artist_id", "artist"], "track": ["track_id", "artist", "track"]}  # id, names
NO_TIMES = "NO TIMES: a user's items are in the order of the file"
BROKEN = 1_000  # a log of a live service may have a broken row in so many
UNSAFE = str.maketrans({character: f"%{ord(character):02X}" for character in '%"\t\r\n'})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Log, kind of items, tags and filters."""
    parser.add_argument("--format", choices=list(COLUMNS), default="1k", help="(1k)")
    parser.add_argument(
        "--source", metavar="PATH|URL", help="the log, plain or .gz, or the archive (Zenodo's)"
    )
    parser.add_argument(
        "--items", choices=list(ITEMS), default="artist", help="what the items are (artist)"
    )
    parser.add_argument(
        "--tags",
        metavar="TABLE",
        help="CSV, TSV or Parquet table of item, by its token or its name, and tag or tags",
    )
    parser.add_argument(
        "--merge-repeats",
        action="store_true",
        help="count an item once that comes several times in a row: an album is a dozen times the "
        "same artist, and to repeat the last one is then right most of the time",
    )
    add_core_option(parser, default=5)
    parser.add_argument("--name", help="of the data set (lastfm-1k, lastfm-360k)")


def addresses(options: argparse.Namespace) -> list[str]:
    """URL of the log that :func:`build` fetches; none for a local one."""
    address = options.source or ADDRESS.format(options.format.upper())
    return [address] if "://" in address else []


def build(options: argparse.Namespace) -> DatasetContent:
    """The data set of a log.

    Time grows as the bytes; memory as the rows, 40 bytes each, and as the distinct names.

    Raises:
        UsageError: no such file, a damaged one, another format, or nothing left.
    """
    timed = options.format == "1k"
    if not timed and (options.items == "track" or options.merge_repeats):
        raise UsageError("--format 360k: has neither tracks nor times")
    official = options.source is None
    address = ADDRESS.format(options.format.upper()) if official else options.source
    checksum = f"md5:{MD5[options.format]}" if official else None
    sources = [fetch(address, options.cache, checksum=checksum)]
    log, broken = _read_log(sources[0].path, options.format, ITEMS[options.items])
    interactions, names = _listens(log, *ITEMS[options.items])
    steps = [
        (
            "rows",
            f"{len(log):,}" + (f"; {broken:,} without all columns left out" if broken else ""),
        ),
        (f"rows with the name of the {options.items}", sizes(interactions)),
    ]
    if timed:
        interactions = by_user_and_time(interactions)
        again = repeats(interactions)
        steps.append(("rows that repeat the item before", f"{again.mean():.1%}"))
        if options.merge_repeats:
            interactions = interactions[~again]
            steps.append(("repeats left out", sizes(interactions)))
    interactions, last_steps = finish(interactions, options.core)
    steps += last_steps if timed else last_steps[:-1] + [("order", NO_TIMES)]
    texts = {item: names[item] for item in interactions["item_id"].unique()}
    if options.tags is not None:
        sources.append(fetch(options.tags, options.cache))
        texts, tagged = _with_tags(texts, read_pairs(sources[-1].path))
        if not tagged:
            raise UsageError(
                f"--tags {options.tags}: none of it is for an item of the data set, "
                f"such as '{min(texts)}'"
            )
        steps.append((f"--tags {options.tags}", f"{tagged:,} of {len(texts):,} items"))
    return DatasetContent(
        options.name or f"lastfm-{options.format}",
        interactions,
        texts=texts,
        origin=Origin(tuple(sources), tuple(steps)),
        label="" if timed else NO_TIMES,
    )


def _read_log(path: Path, kind: str, item: list[str]) -> tuple[pd.DataFrame, int]:
    """User, time and the columns of the item; and how many broken rows were left out."""
    types: dict[str, pa.DataType] = {"user_id": TOKEN} | dict.fromkeys(item, TOKEN)
    if "timestamp" in COLUMNS[kind]:
        types["timestamp"] = pa.timestamp("s", tz="UTC")
    skipped: list[int] = []
    table = read_csv(
        lambda: open_log(path, MEMBER[kind]),
        str(path),
        types,
        names=COLUMNS[kind],
        delimiter="\t",
        quoted=False,
        skipped=skipped,
    )
    if len(skipped) * BROKEN > len(table):
        raise UsageError(
            f"{path}: row {skipped[0]:,} has not the columns of --format {kind}, "
            + ", ".join(COLUMNS[kind])
        )
    timed = "timestamp" in types
    times = table.column("timestamp").cast(pa.int64()).to_numpy() if timed else 0
    return table.to_pandas().assign(timestamp=times), len(skipped)


def _listens(log: pd.DataFrame, key: str, *names: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """User, item and time of the rows that say what was heard; item -> name.

    Tokens are made once for each distinct item, not for each row.
    """
    parts = [log[column].cat for column in (key, *names)]
    combined = np.ravel_multi_index(
        [part.codes.to_numpy(np.int64) for part in parts],
        [max(1, len(part.categories)) for part in parts],
    )
    numbers, _ = pd.factorize(combined)
    distinct = log.iloc[np.unique(numbers, return_index=True)[1]].astype(
        dict.fromkeys((key, *names), str)
    )
    text = distinct[names[0]].str.cat(distinct[list(names[1:])], sep=" ").str.strip()
    token = distinct[key].where(distinct[key] != "", "name:" + text.str.translate(UNSAFE))
    nameless = (distinct[key] == "") & (distinct[names[-1]].str.strip() == "")
    codes, tokens = pd.factorize(token.mask(nameless))
    items = pd.Categorical.from_codes(codes[numbers], tokens)
    listens = log[["user_id", "timestamp"]].assign(item_id=items)
    by_token = dict(zip(token.iloc[::-1], text.iloc[::-1], strict=True))  # the first name counts
    return listens[codes[numbers] >= 0], by_token


def _with_tags(names: dict[str, str], pairs: list[tuple[str, str]]) -> tuple[dict[str, str], int]:
    """Names with their tags after them, and how many have any."""
    tags = defaultdict(list)
    for item, tag in pairs:
        tags[item].append(tag)
    texts = {
        item: " ".join([name, *(tags.get(item) or tags.get(name, []))])
        for item, name in names.items()
    }
    return texts, sum(texts[item] != name for item, name in names.items())
