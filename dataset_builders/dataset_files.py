"""What every source hands over, and the files that it becomes."""

import csv
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES

from dataset_builders.downloads import SourceFile
from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable

CARD = "card.json"
ATOMIC_HEADER = ["user_id:token", "item_id:token", "timestamp:float"]


@dataclass(frozen=True)
class ItemFeatures:
    """Features of one modality.

    Attributes:
        tokens: raw item token of each row.
        matrix: float32 ``[rows, dim]``; an all-zero row counts as absent.
        encoder: name of the encoder.
    """

    tokens: list[str]
    matrix: np.ndarray
    encoder: str


@dataclass(frozen=True)
class Origin:
    """Where the data comes from, for the data set's card.

    Attributes:
        sources: the files that were read.
        steps: what was done, in order, each with what it left: ``("5-core", "8,442 users, ...")``.
        published: users, items and interactions that a publication states, by these names.
        publication: what they are stated in.
    """

    sources: tuple[SourceFile, ...] = ()
    steps: tuple[tuple[str, str], ...] = ()
    published: dict[str, int] = field(default_factory=dict)
    publication: str = ""


@dataclass(frozen=True)
class DatasetContent:
    """What a source hands over.

    Attributes:
        name: name of the data set.
        interactions: columns user_id, item_id (raw tokens) and timestamp (a number). Where a user's
            timestamps are equal, the order of the rows is the order of events.
        features: modality -> features that come ready-made, or made by the source.
        texts: raw item token -> text, of each item that has one.
        categories: raw item token -> category, of each item that has one, by which figures of a
            comparison are sliced.
        pictures: raw item token -> a file, or the address (http, https) of one, or the content of
            a PNG file, of each item that may have one.
        origin: where the data comes from and what was done to it.
        files: path inside the data set's folder -> content, of any further file.
        label: a word on the nature of the data, printed with the name.
        about: a paragraph for the data set's card.
    """

    name: str
    interactions: pd.DataFrame
    features: dict[str, ItemFeatures] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Path | str | bytes] = field(default_factory=dict)
    origin: Origin = field(default_factory=lambda: Origin())
    files: dict[str, bytes] = field(default_factory=dict)
    label: str = ""
    about: str = ""


def check_content(content: DatasetContent, out: Path) -> None:
    """See that a data set can be written, before any long work.

    Args:
        content: the data set.
        out: folder of data sets.

    Raises:
        UsageError: a name or a token that cannot be written, or nothing to write.
    """
    check_name(content.name)
    if content.interactions.empty:
        raise UsageError(f"{content.name}: no interactions")
    for column in ("user_id", "item_id"):
        _check_tokens(column, content.interactions[column].unique())
    target = out / content.name
    if target.exists() and not target.is_dir():
        raise UsageError(f"--out {out}: {target} is not a folder")
    if target.is_dir():
        check_writable(target / f"{content.name}.inter")


def check_name(name: str) -> None:
    """See that a data set may have a name.

    Raises:
        UsageError: it cannot be that of a folder.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        valid = re.sub(r"\W+", "-", name).strip("-") or "my-shop"
        raise UsageError(f"--name '{name}': not a folder's name; try '{valid}'")


def _check_tokens(column: str, tokens: np.ndarray) -> None:
    """RecBole reads tokens through pandas, which would take these for something else."""
    values = pd.Series(tokens, dtype=object)
    lost = values.str.contains(r'[\t\r\n\0"]').to_numpy() | values.isin(STR_NA_VALUES).to_numpy()
    if lost.any():
        raise UsageError(f"{column} {tokens[lost.argmax()]!r}: RecBole cannot read this token back")


def write_tables(content: DatasetContent, folder: Path) -> None:
    """Write interactions, texts, categories and further files into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    content.interactions[["user_id", "item_id", "timestamp"]].to_csv(
        folder / f"{content.name}.inter",
        sep="\t",
        header=ATOMIC_HEADER,
        index=False,
        quoting=csv.QUOTE_NONE,
    )
    for ending, columns, values in (
        ("text.tsv", ("item_id", "text"), content.texts),
        ("item", ("item_id:token", "category:token"), content.categories),
    ):
        if values:
            lines = ((item, " ".join(value.split())) for item, value in values.items())
            write_pairs(folder / f"{content.name}.{ending}", columns, lines)
    for name, data in content.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def write_pairs(path: Path, columns: tuple[str, str], rows: Iterable[tuple[str, object]]) -> None:
    """Write a table of two columns: raw item token and something without tabs or line breaks."""
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(columns) + "\n")
        file.writelines(f"{item}\t{value}\n" for item, value in rows)


def move_files(built: Path, target: Path, older: Iterable[str] = ()) -> list[str]:
    """Put the files of a folder in place, each by one rename; the card is the last.

    The interactions go first and come after all but the card: whoever interrupts this leaves a
    data set that cannot be read, and none of the files of two builds.

    Args:
        built: the folder that is complete.
        target: where its files go; a new data set appears by one rename.
        older: names of files in ``target`` that an older build made; those that this one did not
            make are removed.

    Returns:
        Names of the files that were in ``target`` before and stay.
    """
    if not target.exists():
        built.rename(target)
        return []
    new = {path.relative_to(built) for path in built.rglob("*") if path.is_file()}
    before = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    stale = (before & set(map(Path, older))) - new
    replaced = {name for name in before & new if _interactions(name)}
    for name in sorted(stale | replaced, key=_interactions, reverse=True):
        (target / name).unlink()
    for name in sorted(new, key=lambda name: (name == Path(CARD), _interactions(name))):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(built / name, target / name)
    return sorted(map(str, before - new - stale))


def _interactions(name: Path) -> bool:
    return name.suffix == ".inter"
