"""The items that can be recommended, by raw token, and which of them are asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_missrec.errors import UsageError, nearest


class Catalogue:
    """Raw tokens of a model's items; a row is an item's internal id, row 0 is padding.

    A row never changes its meaning: added items come after the others, removed ones keep theirs
    and are offered no more. Memory: the tokens, a hash table over them, 9 bytes an item.

    Args:
        tokens: of the items, without padding, ``[items]``, unique.
        popularity: interactions of each row, long ``[rows]``; 0 for padding and added items.

    Attributes:
        tokens: object ``[rows]``, the first is empty.
        offered: which rows can be recommended, bool ``[rows]``.
        popularity: long ``[rows]``.
    """

    def __init__(self, tokens: Sequence[str], popularity: Tensor) -> None:
        self.tokens = np.array(["", *tokens], dtype=object)
        self.offered = torch.arange(len(self.tokens)) > 0
        self.popularity = popularity
        self._index = pd.Index(self.tokens[1:])

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, tokens: Sequence[str] | np.ndarray) -> np.ndarray:
        """Row of each token, int64 ``[tokens]``; 0 where it is unknown."""
        return self._index.get_indexer(pd.Index(tokens, dtype=object)) + 1

    def row(self, where: str, token: str) -> int:
        """Row of an item that must be there.

        Args:
            where: it is named, such as an option, for the message.
            token: of the item.

        Raises:
            UsageError: there is no such item.
        """
        row = int(self.rows([token])[0])
        if not row:
            raise UsageError(f"{where}={token}: no such item; {nearest(token, self.tokens[1:])}")
        return row

    def among(self, tokens: Sequence[str], where: str) -> Tensor:
        """Offered rows that have one of these tokens, bool ``[rows]``.

        Args:
            tokens: those not in the catalogue count for nothing.
            where: they come from, for the message.

        Raises:
            UsageError: none of them is offered.
        """
        rows = torch.from_numpy(self.rows(tokens))
        asked = torch.zeros(len(self), dtype=torch.bool)
        asked[rows] = True
        asked &= self.offered
        if not asked.any():
            example = next(iter(tokens), "")
            raise UsageError(
                f"{where}: none of its {len(tokens):,} items can be recommended; "
                f"it has '{example}', the catalogue '{self.tokens[1]}'"
            )
        return asked


def read_item_tokens(path: Path) -> list[str]:
    """Tokens of a text file, one a line.

    Raises:
        UsageError: the file cannot be read, or has none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UsageError(f"{path}: cannot be read: {reason}") from error
    tokens = [line.strip() for line in lines if line.strip()]
    if not tokens:
        raise UsageError(f"{path}: has no item tokens, one a line")
    return tokens


def with_value(table: Path, column: str, value: str, separator: str) -> list[str]:
    """Tokens of the items that have a value in a column of the data set's table of items.

    In a column of sequences (``name:token_seq``) it may stand among others. Time and memory grow as
    the two columns that are read.

    Args:
        table: ``NAME.item``, a RecBole atomic file whose first column is the item token.
        column: its name, without type.
        value: as it stands in the file.
        separator: between the values of a sequence.

    Raises:
        UsageError: no such file, column or value.
    """
    how: Mapping = {"sep": "\t", "dtype": str, "quoting": 3, "keep_default_na": False}
    try:
        header = pd.read_csv(table, nrows=0, **how).columns
        fields = {name.partition(":")[0]: name for name in header}
        if column not in fields:
            raise UsageError(
                f"--filter={column}={value}: no such column; {nearest(column, fields)}"
            )
        read = pd.read_csv(table, usecols=[header[0], fields[column]], **how)
    except OSError as error:
        raise UsageError(f"--filter: {table} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{table}: not a table of items: {error}") from error
    values = read[fields[column]]
    if fields[column].endswith("_seq"):
        values = values.str.split(separator).explode()
    found = values.index[values == value]
    if found.empty:
        raise UsageError(f"--filter={column}={value}: no such value; {nearest(value, set(values))}")
    return read[header[0]].iloc[found.unique()].tolist()
