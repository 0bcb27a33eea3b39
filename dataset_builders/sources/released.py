"""A data set in the layout of the MISSRec authors' release.

DIR holds, with any one PREFIX:

  PREFIX.{train,valid,test}.inter   user_id, item_id_list, item_id: numbers
  PREFIX.user2index, .item2index    raw token and number, without a header
  PREFIX.feat1CLS, .feat3CLS        text and image features, one or both: float32, one row an item
  PREFIX.text                       item token and text (may be missing)

Each user's whole sequence is put together again from the rows of the three .inter files.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from dataset_builders.chaining import Row, chain_rows
from dataset_builders.dataset_files import DatasetContent, ItemFeatures
from recbole_missrec.errors import UsageError

HELP = "the files that the MISSRec authors released (Scientific, Pantry, Instruments, ...)"
FEATURES = {"text": "feat1CLS", "image": "feat3CLS"}
ROW_HEADER = ["user_id:token", "item_id_list:token_seq", "item_id:token"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Folder and name."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of the released files")
    parser.add_argument("--name", required=True, help="name of the data set to make")


def build(options: argparse.Namespace) -> DatasetContent:
    """The data set under its raw tokens; a timestamp is the position in the user's sequence.

    Raises:
        UsageError: a file is missing or damaged, or files do not fit together.
    """
    prefix = _find_prefix(options.folder)
    users, items = (_read_index(_file(prefix, f"{kind}2index")) for kind in ("user", "item"))
    sequences = _read_sequences(prefix)
    lengths = [len(sequence) for sequence in sequences.values()]
    interactions = pd.DataFrame(
        {
            "user_id": np.repeat(_raw_tokens(users, sequences), lengths),
            "item_id": _raw_tokens(items, chain(*sequences.values())),
            "timestamp": np.concatenate([np.arange(length) for length in lengths]),
        }
    )
    rows = _raw_tokens(items, map(str, range(len(items))))
    features = {
        modality: ItemFeatures(rows, _read_matrix(path, rows), f"released {suffix}")
        for modality, suffix in FEATURES.items()
        if (path := _file(prefix, suffix)).is_file()
    }
    if not features:
        names = " or ".join(_file(prefix, suffix).name for suffix in FEATURES.values())
        raise UsageError(f"DIR {options.folder}: no feature file, {names}")
    return DatasetContent(options.name, interactions, features, _read_texts(_file(prefix, "text")))


def _find_prefix(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"DIR {folder}: no such folder")
    found = sorted(folder.glob("*.train.inter"))
    if len(found) != 1:
        raise UsageError(f"DIR {folder}: has {len(found)} files PREFIX.train.inter, not one")
    return found[0].with_name(found[0].name.removesuffix(".train.inter"))


def _file(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(f"{prefix.name}.{suffix}")


def _read_table(path: Path, columns: int, header: int | None = 0) -> pd.DataFrame:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            header=header,
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
        )
    except ValueError as error:  # pandas' parser errors are among them
        raise UsageError(f"{path}: not a tab-separated table ({error})") from error
    if table.shape[1] != columns:
        raise UsageError(f"{path}: has {table.shape[1]} columns, not {columns}")
    return table


def _read_index(path: Path) -> pd.Series:
    table = _read_table(path, columns=2, header=None)
    for column in table:
        repeated = table[column].duplicated()
        if repeated.any():
            raise UsageError(f"{path}: '{table[column][repeated.idxmax()]}' occurs twice")
    return pd.Series(table[0].to_numpy(), index=table[1], name=str(path))  # number -> raw token


def _raw_tokens(index: pd.Series, numbers: Iterable[str]) -> list[str]:
    wanted = list(numbers)
    positions = index.index.get_indexer(wanted)
    if (positions < 0).any():
        raise UsageError(f"{index.name}: no line for number '{wanted[positions.argmin()]}'")
    return index.to_numpy()[positions].tolist()


def _read_sequences(prefix: Path) -> dict[str, list[str]]:
    train, valid, test = (
        _read_rows(_file(prefix, f"{part}.inter")) for part in ("train", "valid", "test")
    )
    every = (row for part in (train, valid, test) for rows in part.values() for row in rows)
    cut = max((len(window) for window, _ in every), default=0)
    if not cut:
        raise UsageError(f"{_file(prefix, 'train.inter')}: no rows")
    sequences = {}
    for user in train | valid | test:
        rows = train.get(user, []), valid.get(user, []), test.get(user, [])
        sequence = chain_rows(*rows, cut)
        if sequence is None:
            raise UsageError(
                f"{_file(prefix, 'train.inter')}: with those of .valid.inter and .test.inter, "
                f"the rows of user '{user}' are not the rows of one sequence"
            )
        sequences[user] = sequence
    return sequences


def _read_rows(path: Path) -> dict[str, list[Row]]:
    table = _read_table(path, columns=3)
    if list(table.columns) != ROW_HEADER:
        raise UsageError(f"{path}: its header must be {' '.join(ROW_HEADER)}")
    empty = (table == "").any(axis=1)
    if empty.any():
        raise UsageError(f"{path}: line {empty.idxmax() + 2} has an empty column")
    rows = defaultdict(list)
    for user, window, target in table.itertuples(index=False):
        rows[user].append((tuple(window.split()), target))
    return dict(rows)


def _read_matrix(path: Path, tokens: list[str]) -> np.ndarray:
    size = path.stat().st_size
    dim, rest = divmod(size, 4 * len(tokens))
    if rest or not dim:
        raise UsageError(
            f"{path}: its {size:,} bytes are not {len(tokens):,} rows of float32, "
            "one for each item of the .item2index file"
        )
    matrix = np.fromfile(path, dtype="<f4").reshape(len(tokens), dim)
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise UsageError(f"{path}: NaN or infinite values for item '{tokens[finite.argmin()]}'")
    return matrix


def _read_texts(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    table = _read_table(path, columns=2)
    return dict(zip(table.iloc[:, 0], table.iloc[:, 1], strict=True))
