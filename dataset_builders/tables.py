"""Columns out of tables that others wrote: CSV, TSV and Parquet, with errors that name the row."""

import csv
import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
from pyarrow import compute, parquet
from pyarrow import csv as arrow_csv

from recbole_missrec.errors import UsageError, nearest

# A token is kept as a number of 4 bytes, and each distinct one as text once.
TOKEN = pa.dictionary(pa.int32(), pa.string())
TEXT = pa.string()
GZIP = b"\x1f\x8b"
DELIMITERS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t"}
DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    NotImplementedError,  # an archive whose compression zipfile does not know
)
Open = Callable[[], AbstractContextManager[IO[bytes]]]


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what can go wrong in reading a file into one message that names it.

    Raises:
        UsageError: the file is damaged, cut short, or not of the format.
    """
    try:
        yield
    except (pa.ArrowException, ValueError) as error:  # does not parse or convert, or is not UTF-8
        raise UsageError(f"{where}: {' '.join(str(error).split())}") from error
    except csv.Error as error:
        raise UsageError(
            f"{where}: its header is no line of text ({error}); end lines by LF, not by CR alone"
        ) from error
    except DAMAGE as error:
        raise UsageError(
            f"{where}: damaged or cut short ({error}); remove it and fetch it again"
        ) from error


def open_plain(path: Path) -> IO[bytes]:
    """Open a file to read, gzip or not."""
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
    return cast(IO[bytes], gzip.open(path) if zipped else path.open("rb"))


def read_csv(
    open_file: Open,
    where: str,
    columns: Mapping[str, pa.DataType],
    names: list[str] | None = None,
    delimiter: str = ",",
    quoted: bool = True,
    skipped: list[int] | None = None,
) -> pa.Table:
    """Some columns of a table in text.

    One thread parses, so that an error can name its row; time grows as the bytes. Memory holds the
    columns asked for, 4 bytes a row for a token, and a block's distinct tokens for each block.

    Args:
        open_file: opens the file at its beginning.
        where: its name in messages.
        columns: name -> type.
        names: of all its columns, if it has no header.
        delimiter: one character.
        quoted: whether quotes can hold a value together; else they are characters as any other.
        skipped: takes the numbers of the rows without the right number of columns, counted from 1,
            header included and blank lines not; without it such a row is an error.

    Raises:
        UsageError: no such column, a row or a value that does not fit, a damaged file.
    """

    def wrong_width(row: arrow_csv.InvalidRow) -> str:
        if skipped is None:
            return "error"
        skipped.append(row.number)
        return "skip"

    with reading(where):
        if names is None:
            with open_file() as file:
                require(columns, _header(file, delimiter), where)
        with open_file() as file:
            return arrow_csv.read_csv(
                file,
                arrow_csv.ReadOptions(use_threads=False, column_names=names),
                arrow_csv.ParseOptions(
                    delimiter=delimiter,
                    quote_char='"' if quoted else False,
                    newlines_in_values=quoted,
                    invalid_row_handler=wrong_width,
                ),
                arrow_csv.ConvertOptions(
                    column_types=dict(columns),
                    include_columns=list(columns),
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )


def column_names(path: Path) -> list[str]:
    """Names of the columns of a CSV, TSV (or .inter, .item) or Parquet file.

    Raises:
        UsageError: it is none of these, or damaged.
    """
    with reading(str(path)):
        if path.suffix == ".parquet":
            return parquet.read_schema(path).names
        with open_plain(path) as file:
            return _header(file, _delimiter(path))


def read_table(path: Path, columns: Mapping[str, pa.DataType | None]) -> pa.Table:
    """Some columns of a CSV, TSV or Parquet file with a header.

    Time and memory grow as the columns asked for.

    Args:
        path: the file; its ending tells the format, and text may be gzipped.
        columns: name -> type; None leaves the type that Parquet has, and is text otherwise. What
            Parquet does not have is empty text.

    Raises:
        UsageError: no such column, a value that does not fit, a damaged file.
    """
    if path.suffix != ".parquet":
        types = {name: kind or TEXT for name, kind in columns.items()}
        delimiter = _delimiter(path)
        return read_csv(
            lambda: open_plain(path), str(path), types, delimiter=delimiter, quoted=delimiter == ","
        )
    with reading(str(path)):
        require(columns, column_names(path), str(path))
        table = parquet.read_table(path, columns=list(columns)).select(list(columns))
        for number, (name, kind) in enumerate(columns.items()):
            if kind is not None:
                column = _as_written(table.column(name)).cast(TEXT).fill_null("")
                column = column.dictionary_encode() if kind == TOKEN else column
                table = table.set_column(number, name, column)
        return table


def _as_written(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole numbers kept as floats, as where some are missing: 12000000000, not 1.2e+10."""
    if pa.types.is_floating(column.type):
        whole = compute.less(compute.abs(column), 2.0**53)
        whole = compute.and_(whole, compute.equal(compute.floor(column), column))
        if compute.all(whole).as_py():
            return column.cast(pa.int64())
    return column


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The first two columns of a CSV, TSV or Parquet file with a header, row by row.

    Time and memory grow as the rows.

    Raises:
        UsageError: fewer columns, two of one name, a damaged file.
    """
    names = column_names(path)
    if len(names) < 2:
        raise UsageError(f"{path}: has one column, '{''.join(names)}', not two")
    if names[0] == names[1]:
        raise UsageError(f"{path}: both of its columns are named '{names[0]}'; rename one")
    table = read_table(path, {name: TEXT for name in names[:2]})
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def require(columns: Mapping[str, Any], names: list[str], where: str) -> None:
    """See that a table has the columns.

    Raises:
        UsageError: it lacks one, with the nearest that it has.
    """
    for name in columns:
        if name not in names:
            raise UsageError(f"{where}: no column '{name}'; {nearest(name, names)}")


def _delimiter(path: Path) -> str:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in DELIMITERS:
        raise UsageError(f"{path}: must end in .csv, .tsv (also .gz of these) or .parquet")
    return DELIMITERS[suffix]


def _header(file: IO[bytes], delimiter: str) -> list[str]:
    line = file.readline().decode("utf-8-sig")
    return next(csv.reader([line], delimiter=delimiter), [])
