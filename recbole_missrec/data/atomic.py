"""A RecBole atomic file of interactions, read whole or refused with the line at fault."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_missrec.errors import UsageError

_BLOCK = 1 << 24  # bytes


def read_interactions(
    path: Path,
    types: Mapping[str, Any],
    required: Sequence[str],
    separator: str,
    encoding: str | None = None,
) -> pd.DataFrame:
    """Read columns by pandas' C parser.

    Time and memory grow as the rows; the tokens, as strings, are most of the memory.

    Args:
        path: the file, its first line naming the columns.
        types: dtype of each column to read, by name as in the first line.
        required: those of them in which no value may be missing.
        separator: between columns.
        encoding: UTF-8 if not given.

    Returns:
        The rows in the order of the file, columns in that of the file.

    Raises:
        UsageError: a row of another number of columns, one without a required value, one whose
            number is none, or one with a quotation mark that takes in the next; names the line.
    """
    _check_lines(path, separator, encoding)
    how: dict[str, Any] = {"sep": separator, "usecols": list(types), "encoding": encoding}
    try:
        frame = pd.read_csv(path, dtype=dict(types), **how)
    except ValueError as error:
        with suppress(ValueError):  # not a matter of a number alone
            _refuse_numbers(pd.read_csv(path, dtype=str, **how), types, path)
        raise UsageError(f"{path}: {error}") from error
    for name in required:
        missing = frame[name].isna().to_numpy()  # [rows]
        if missing.any():
            raise UsageError(f"{path}: line {missing.argmax() + 2}: no {name.partition(':')[0]}")
    return frame


def _refuse_numbers(texts: pd.DataFrame, types: Mapping[str, Any], path: Path) -> None:
    for name, dtype in types.items():
        if pd.api.types.is_numeric_dtype(dtype):
            wrong = (pd.to_numeric(texts[name], "coerce").isna() & texts[name].notna()).to_numpy()
            if wrong.any():
                row = int(wrong.argmax())
                raise UsageError(
                    f"{path}: line {row + 2}: {name.partition(':')[0]} is "
                    f"'{texts[name].iloc[row]}', not a number"
                )


def _check_lines(path: Path, separator: str, encoding: str | None) -> None:
    """Compare the separators with those of as many first lines; look closer where they differ.

    The C parser would fill a short row, cut a long one where it is asked for some columns, and
    take rows as one value from a quotation mark at the beginning of a value to the next mark.
    """
    mark = separator.encode(encoding or "utf-8")
    lines = marks = quotes = 0
    last = b""
    with path.open("rb") as file:
        expected = file.readline().count(mark)
        while block := file.read(_BLOCK):
            lines, marks, last = lines + block.count(b"\n"), marks + block.count(mark), block[-1:]
            quotes += block.count(b'"')
        lines += last not in (b"", b"\n")
        if marks == lines * expected and not quotes:
            return
        value = rb'(?:"(?:[^"]|"")*")?(?!")[^%b]*' % re.escape(mark)
        closed = re.compile(rb"%b(?:%b%b)*" % (value, re.escape(mark), value))
        file.seek(0)
        for number, line in enumerate(file, 1):
            text = line.rstrip(b"\r\n")
            if b'"' in text:
                if not closed.fullmatch(text):
                    raise UsageError(
                        f"{path}: line {number}: a quotation mark is not closed; leave it out"
                    )
            elif text and line.count(mark) != expected:
                raise UsageError(
                    f"{path}: line {number} has {line.count(mark) + 1} columns, "
                    f"not the {expected + 1} of the first line"
                )
