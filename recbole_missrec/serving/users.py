"""Whom to recommend to: users of the data set, or histories in a file, read part by part."""

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from pyarrow import json as arrow_json
from pyarrow import parquet

from recbole_missrec.data.groups import Groups
from recbole_missrec.errors import UsageError
from recbole_missrec.serving.catalogue import Catalogue
from recbole_missrec.serving.histories import Histories, look_up, pad

SCHEMA = pa.schema({"user": pa.string(), "history": pa.list_(pa.string())})
BLOCK = 2**22  # bytes of text that are read at a time
ROWS = 4096  # of a part


class Users:
    """Histories of the users of a data set, all of their interactions by time.

    Memory: 8 bytes an interaction, and the tokens of the users.

    Args:
        tokens: raw tokens of the users.
        items: rows of the items, user by user, oldest first, int64 ``[interactions]``.
        sizes: interactions of each user, int64 ``[users]``.
    """

    def __init__(self, tokens: np.ndarray, items: np.ndarray, sizes: np.ndarray) -> None:
        self.items, self.sizes = items, sizes
        self.ends = sizes.cumsum()
        self.place = Catalogue(tokens.tolist(), torch.zeros(len(tokens) + 1))

    def histories(self, users: Sequence[str], longest: int) -> Histories:
        """The last items of some users, nothing for those that are unknown."""
        place = self.place.rows(users) - 1  # [users]
        sizes = np.where(place < 0, 0, self.sizes[place])
        starts = np.where(place < 0, 0, self.ends[place] - sizes)
        within = np.arange(sizes.sum()) - np.repeat(sizes.cumsum() - sizes, sizes)
        items = self.items[np.repeat(starts, sizes) + within]
        return pad(items, sizes, np.zeros_like(sizes), longest)


def users_of(dataset: Any) -> Users:
    """Of a RecBole data set, before its split."""
    frame = dataset.inter_feat
    if dataset.time_field in frame:
        frame = frame.sort_values(dataset.time_field, kind="stable")
    groups = Groups(frame[dataset.uid_field].to_numpy())
    items = frame[dataset.iid_field].to_numpy()[groups.order]
    first = groups.order[groups.sizes.cumsum() - 1]
    ids = frame[dataset.uid_field].to_numpy()[first]  # [users]
    return Users(dataset.field2id_token[dataset.uid_field][ids], items, groups.sizes)


def read_users(path: Path) -> Iterator[pa.Table]:
    """Rows of a file in parts of at most ``ROWS``; memory is that of a part or of some MiB of text.

    Args:
        path: Parquet (``.parquet``) or JSON lines (``.jsonl``) with a column ``user``, one
            ``history`` (lists of raw item tokens, oldest first), or both; or any other text file
            of users of the data set, one a line.

    Yields:
        Tables of `SCHEMA`; what is not there is null.

    Raises:
        UsageError: the file cannot be read, or is no such file.
    """
    kinds = {".parquet": _parquet_parts, ".jsonl": _json_parts}
    rows = 0
    try:
        with path.open("rb") as file:
            for table in kinds.get(path.suffix, _text_parts)(file):
                missing = [
                    pa.nulls(len(table), field.type)
                    if field.name not in table.column_names
                    else table[field.name].cast(field.type)
                    for field in SCHEMA
                ]
                if all(column.null_count == len(table) for column in missing):
                    raise UsageError(f"{path}: has no column 'user' and no column 'history'")
                whole = pa.table(missing, schema=SCHEMA).combine_chunks()
                for first in range(0, len(whole), ROWS):
                    rows += len(part := whole.slice(first, ROWS))
                    yield part
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{path}: not a file of users and histories of text tokens: {reason}"
        ) from error
    if not rows:
        raise UsageError(f"{path}: has no rows")


def _parquet_parts(file: Any) -> Iterator[pa.Table]:
    source = parquet.ParquetFile(file)
    there = [name for name in SCHEMA.names if name in source.schema_arrow.names]
    for batch in source.iter_batches(ROWS, columns=there):
        yield pa.Table.from_batches([batch])


def _lines(file: Any) -> Iterator[bytes]:
    """Blocks of whole lines, none empty, without a byte order mark."""
    rest = file.read(len(BOM_UTF8)).removeprefix(BOM_UTF8)
    while block := file.read(BLOCK):
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline and whole.strip():
            yield whole + newline
    if rest.strip():
        yield rest + b"\n"


def _json_parts(file: Any) -> Iterator[pa.Table]:
    how = arrow_json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore")
    reading = arrow_json.ReadOptions(use_threads=False, block_size=2 * BLOCK)
    for lines in _lines(file):
        yield arrow_json.read_json(pa.BufferReader(lines), reading, how)


def _text_parts(file: Any) -> Iterator[pa.Table]:
    for lines in _lines(file):
        users = map(str.strip, lines.decode().splitlines())
        yield pa.table({"user": pa.array(filter(None, users), pa.string())})


def requested(part: pa.Table, catalogue: Catalogue, users: Users, longest: int) -> Histories:
    """Histories of some rows: those that are given, else those of the users in the data set.

    Args:
        part: of `SCHEMA`.
        catalogue: of the items.
        users: of the data set.
        longest: items of a history that are read, at most.
    """
    history = part["history"].combine_chunks()
    sizes = history.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    tokens = history.flatten().to_numpy(zero_copy_only=False)
    found = look_up(catalogue, tokens, sizes.astype(np.int64), longest)
    by_user = history.is_null().to_numpy(zero_copy_only=False)
    own = users.histories(part["user"].to_numpy()[by_user], longest)
    width = max(found.items.shape[1], own.items.shape[1])
    items = F.pad(found.items, (0, width - found.items.shape[1]))
    rows = torch.from_numpy(by_user.nonzero()[0])
    items[rows] = F.pad(own.items, (0, width - own.items.shape[1]))
    return Histories(items, found.lengths.index_copy(0, rows, own.lengths), found.unknown)
