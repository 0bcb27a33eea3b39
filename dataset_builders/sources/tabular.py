"""Anybody's data: interactions in a CSV, TSV or Parquet file, and items in that or another one.

A time is a number, or a date as ISO 8601 writes it (2024-05-31, 2024-05-31T10:30:00Z); dates
become seconds since 1970, without a zone in UTC. A picture is an http or https address, or the path
of a file in the folder of its table; paths that lead out of that folder are refused.
"""

import argparse
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from dataset_builders.dataset_files import DatasetContent, Origin
from dataset_builders.downloads import fetch
from dataset_builders.filters import Steps, add_core_option, finish, sizes
from dataset_builders.tables import TEXT, TOKEN, column_names, read_table, reading
from recbole_missrec.errors import UsageError, nearest

Pictures = dict[str, Path | str | bytes]
# Of the last two, one takes dates with a zone, the other those without.
TIMES = (pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC"), pa.timestamp("us"))
HELP = "your own CSV, TSV or Parquet files: say which columns are user, item, time, text and others"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files and columns."""
    parser.add_argument("file", metavar="FILE", help="interactions: .csv, .tsv or .parquet")
    for role in ("user", "item", "time"):
        parser.add_argument(f"--{role}", required=True, metavar="COLUMN", help=f"of the {role}")
    parser.add_argument("--items", metavar="TABLE", help="a row for each item (FILE itself)")
    parser.add_argument("--item-key", metavar="COLUMN", help="of the item in TABLE (as --item)")
    parser.add_argument(
        "--text-columns", metavar="COLUMN,...", help="joined to the text of the item"
    )
    parser.add_argument(
        "--picture-column", metavar="COLUMN", help="path or address of the item's picture"
    )
    parser.add_argument(
        "--category-column", metavar="COLUMN", help="of the item, by which figures are sliced"
    )
    add_core_option(parser, default=0)
    parser.add_argument("--name", help="of the data set (the name of FILE)")


def build(options: argparse.Namespace) -> DatasetContent:
    """The data set of the files.

    Time and memory grow as the columns that are named.

    Raises:
        UsageError: no such file or column, an unreadable value, or a path that leads elsewhere.
    """
    of_items = options.text_columns or options.category_column or options.picture_column
    if options.items is not None and not of_items:
        raise UsageError(
            f"--items {options.items}: name its --text-columns, --category-column or "
            "--picture-column"
        )
    sources = [fetch(options.file, options.cache)]
    interactions = _read_interactions(sources[0].path, options)
    kept, last_steps = finish(interactions, options.core)
    steps: Steps = [("rows", sizes(interactions)), *last_steps]
    texts: dict[str, str] = {}
    categories: dict[str, str] = {}
    pictures: Pictures = {}
    if of_items:
        if options.items is not None:
            sources.append(fetch(options.items, options.cache))
        table = sources[-1].path
        items = _read_items(table, options, kept["item_id"].unique())
        steps.append((f"items of {table}", f"{len(items):,} of {kept['item_id'].nunique():,}"))
        if options.text_columns:
            texts = _texts(items, options.text_columns.split(","))
        if options.category_column:
            categories = _texts(items, [options.category_column])
        if options.picture_column:
            pictures, missing = _pictures(items[options.picture_column], table)
            steps.append((f"pictures of {table}", f"{len(pictures):,}; {missing:,} files missing"))
    return DatasetContent(
        options.name or Path(options.file).name.partition(".")[0],
        kept,
        texts=texts,
        categories=categories,
        pictures=pictures,
        origin=Origin(tuple(sources), tuple(steps)),
    )


def _read_interactions(path: Path, options: argparse.Namespace) -> pd.DataFrame:
    roles = {"user": options.user, "item": options.item, "time": options.time}
    _check_columns(roles, path)
    if len(set(roles.values())) < len(roles):
        raise UsageError("--user, --item and --time: must be three different columns")
    table = read_table(path, {options.user: TOKEN, options.item: TOKEN, options.time: None})
    if not table.num_rows:
        raise UsageError(f"{path}: no rows of data")
    rows = (
        table.select([options.user, options.item])
        .to_pandas()
        .set_axis(["user_id", "item_id"], axis=1)
    )
    for name, column in zip(rows, (options.user, options.item), strict=True):
        empty = (rows[name] == "").to_numpy()
        if empty.any():
            raise UsageError(f"{path}: row {empty.argmax() + 1:,} of data has no '{column}'")
    return rows.assign(timestamp=_seconds(table.column(options.time), f"--time {options.time}"))


def _check_columns(roles: Mapping[str, str], path: Path) -> None:
    names = column_names(path)
    for option, column in roles.items():
        if column not in names:
            raise UsageError(f"--{option} {column}: no column of {path}; {nearest(column, names)}")


def _seconds(times: pa.ChunkedArray, where: str) -> np.ndarray:
    """Numbers as they are, dates as seconds since 1970."""
    with reading(where):
        if pa.types.is_dictionary(times.type):
            times = times.cast(times.type.value_type)
        if pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
            times = _parse_times(times)
        if pa.types.is_date(times.type):
            times = times.cast(pa.timestamp("us"))
        dates = pa.types.is_timestamp(times.type)
        if dates:
            times = times.cast(pa.timestamp("us", tz=times.type.tz)).cast(pa.int64())
        if not pa.types.is_integer(times.type):
            times = times.cast(pa.float64())
    numbers = times.to_numpy()
    if times.null_count or not np.isfinite(numbers).all():
        row = (~np.isfinite(numbers.astype(np.float64))).argmax() + 1
        raise UsageError(f"{where}: row {row:,} of data has no time")
    return numbers / 1e6 if dates else numbers


def _parse_times(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """What the first value is, all others must be: whole numbers, numbers, or dates.

    Other spellings of dates are ambiguous, as 1/2/2024 is, and refused.
    """
    wrong = 0  # number of the row that does not fit
    for kind in TIMES:
        if not _fits(texts[:1], kind):
            continue
        if _fits(texts, kind):
            return texts.cast(kind)
        wrong = _first_wrong(texts, kind)
    like = f"as '{texts[0]}' of row 1" if wrong else "as 2024-05-31T10:30:00Z"
    raise ValueError(f"row {wrong + 1:,} of data, '{texts[wrong]}', is no number or date {like}")


def _fits(texts: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _first_wrong(texts: pa.ChunkedArray, kind: pa.DataType) -> int:
    """Number of the first text that is not of a kind, if not all are; found by halving."""
    start, length = 0, len(texts)
    while length > 1:
        half = length // 2
        if _fits(texts.slice(start, half), kind):
            start, length = start + half, length - half
        else:
            length = half
    return start


def _read_items(path: Path, options: argparse.Namespace, wanted: Iterable[str]) -> pd.DataFrame:
    """The columns of the wanted items that were named; of several rows the first counts."""
    key = options.item_key or options.item
    columns = options.text_columns.split(",") if options.text_columns else []
    for column in columns:
        _check_columns({"text-columns": column}, path)
    for role in ("category", "picture"):
        if column := getattr(options, f"{role}_column"):
            _check_columns({f"{role}-column": column}, path)
            columns.append(column)
    _check_columns({"item-key": key}, path)
    items = read_table(path, dict.fromkeys((key, *columns), TEXT)).to_pandas()
    items = items.drop_duplicates(key).set_index(key, drop=False)
    items = items[items.index.isin(wanted)]
    if items.empty:
        raise UsageError(f"{path}: '{key}' has no item of the interactions; choose its --item-key")
    return items


def _texts(items: pd.DataFrame, columns: list[str]) -> dict[str, str]:
    values = zip(*(items[column] for column in columns), strict=True)
    texts = (" ".join(" ".join(parts).split()) for parts in values)
    return {item: text for item, text in zip(items.index, texts, strict=True) if text}


def _pictures(column: pd.Series, table: Path) -> tuple[Pictures, int]:
    """Address or file of each item that has one, and how many files are not there."""
    folder = table.parent.resolve()
    pictures: Pictures = {}
    missing = 0
    for item, value in column[column != ""].items():
        if re.match("(?i)(https?:)?//", value):
            pictures[item] = f"https:{value}" if value.startswith("//") else value
            continue
        with reading(f"{table}: '{value}'"):
            path = Path(os.path.realpath(folder / value))
        if not path.is_relative_to(folder):
            raise UsageError(f"{table}: the picture '{value}' of item '{item}' is not in {folder}")
        if os.path.isfile(path):  # False for a name that is too long, too
            pictures[item] = path
        else:
            missing += 1
    if not pictures:
        raise UsageError(
            f"--picture-column {column.name}: no address, and none of {missing:,} files is in "
            f"{folder}"
        )
    return pictures, missing
