"""What a data set, or a file beside it, has to show of its items: titles and pictures."""

import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from pyarrow import parquet

from recbole_missrec.errors import UsageError
from recbole_missrec.picture_files import open_picture

SIDE = 96  # pixels of a thumbnail's longer side
QUALITY = 75  # of its JPEG: about 2 KiB


def find_titles(given: str, dataset: str, folder: Path, tokens: Sequence[str]) -> list[str]:
    """Titles of items: of the file that is given, or the texts that a builder has written.

    Time and memory grow as the rows of the file.

    Args:
        given: a table whose first two columns are raw item token and title: TSV (``.tsv``,
            ``.item``) with a header, or Parquet; empty for ``NAME.text.tsv``, if it is there.
        dataset: name of the data set.
        folder: of the data set.
        tokens: raw item tokens, ``[items]``.

    Returns:
        ``[items]``, in one line each; empty where nothing is known.

    Raises:
        UsageError: the file cannot be read, or has no title for any of the items.
    """
    path = Path(given) if given else folder / f"{dataset}.text.tsv"
    if not given and not path.is_file():
        return [""] * len(tokens)
    found = read_pairs(path)
    titles = found.reindex(tokens).fillna("")
    if not titles.any():
        raise UsageError(
            f"{path}: has no title for any of the {len(tokens):,} items; it has "
            f"'{next(iter(found.index), '')}', the data set '{tokens[0]}'"
        )
    return [" ".join(title.split()) for title in titles]


def read_pairs(path: Path) -> pd.Series:
    """The second column of a table by the first; of rows with the same first the first counts.

    Args:
        path: TSV with a header, or Parquet.

    Raises:
        UsageError: the file cannot be read, or is no such table.
    """
    how: dict[str, Any] = {"sep": "\t", "dtype": str, "quoting": csv.QUOTE_NONE}
    how |= {"keep_default_na": False, "index_col": False, "usecols": [0, 1]}
    try:
        with path.open("rb") as file:
            if path.suffix == ".parquet":
                names = parquet.ParquetFile(file).schema_arrow.names[:2]
                table = parquet.read_table(file, columns=names).to_pandas(ignore_metadata=True)
            else:
                table = pd.read_csv(file, **how)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # of pandas and of Arrow
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: not a table of item tokens and a column: {reason}") from error
    if table.shape[1] < 2:
        raise UsageError(f"{path}: has one column; a second one is needed")
    table.columns = pd.Index(["item", "value"])
    pairs = table.dropna().astype(str).drop_duplicates("item")
    return pairs.set_index("item")["value"]


def find_pictures(given: str, dataset: str, folder: Path, tokens: Sequence[str]) -> dict[int, Path]:
    """Picture files of items: in the folder that is given, or where a builder says they lie.

    Args:
        given: a folder of files whose names are raw item tokens before the ending; empty for the
            files that ``NAME.pictures.tsv`` names, if it is there.
        dataset: name of the data set.
        folder: of the data set.
        tokens: raw item tokens, ``[items]``.

    Returns:
        Item, by its place among the tokens -> file.

    Raises:
        UsageError: no such folder, nothing in it is of an item, or a table is damaged.
    """
    if given:
        try:
            inside = [path for path in Path(given).iterdir() if path.is_file()]
        except OSError as error:
            raise UsageError(f"--pictures={given}: cannot be read: {error.strerror}") from error
        inside.sort(key=lambda path: (path.suffix.lower() in Image.registered_extensions(), path))
        files = {path.stem: path for path in inside}  # a picture rather than a file beside it
        found = {item: files[token] for item, token in enumerate(tokens) if token in files}
        if not found:
            raise UsageError(
                f"--pictures={given}: no file there is named like an item, such as {tokens[0]}.jpg"
            )
        return found
    path = folder / f"{dataset}.pictures.tsv"
    if not path.is_file():
        return {}
    named = read_pairs(path)
    paths = named.reindex(tokens)
    return {item: folder / path for item, path in enumerate(paths) if isinstance(path, str)}


def thumbnails(files: Mapping[int, Path], items: Iterable[int], most: int) -> dict[int, str]:
    """Small pictures of some items as ``data:`` addresses; files that do not decode are left out.

    Time grows as the pictures read: ``most``, and those that do not decode.

    Args:
        files: item -> file.
        items: those to show, the most wanted first.
        most: pictures.

    Returns:
        Item -> address.
    """
    shown: dict[int, str] = {}
    for item in dict.fromkeys(items):
        if len(shown) == most:
            break
        if item in files:
            try:
                small = thumbnail(files[item])
            except ValueError:
                continue
            shown[item] = f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"
    return shown


def thumbnail(path: Path) -> bytes:
    """A small picture as JPEG.

    Raises:
        ValueError: the reason why there is none, see ``open_picture``.
    """
    picture = open_picture(path)
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
