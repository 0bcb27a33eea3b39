"""The files of a data set: what every source hands over, and the one place that writes them."""

import csv
import os
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES

from dataset_builders.downloads import SourceFile
from recbole_missrec.data.features import write_features
from recbole_missrec.errors import UsageError

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
        pictures: raw item token -> a file, or the address (http, https) of one, of each item that
            may have one.
        origin: where the data comes from and what was done to it.
        files: path inside the data set's folder -> content, of any further file.
        label: a word on the nature of the data, printed with the name.
    """

    name: str
    interactions: pd.DataFrame
    features: dict[str, ItemFeatures] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Path | str] = field(default_factory=dict)
    origin: Origin = field(default_factory=lambda: Origin())
    files: dict[str, bytes] = field(default_factory=dict)
    label: str = ""


def write_dataset(content: DatasetContent, out: Path) -> str:
    """Write a data set into ``out/NAME``, complete or not at all.

    Everything is written into a folder beside it first. A new data set appears by one rename; of an
    older one each file is replaced by one rename, and files that this build does not make stay.

    Args:
        content: the data set.
        out: folder of data sets, made if need be.

    Returns:
        Summary to print: sizes, coverage of each modality, and the next command.

    Raises:
        UsageError: a name or a token that cannot be written, or a modality without any features.
    """
    if not re.fullmatch(r"\w[\w.-]*", content.name):
        valid = re.sub(r"\W+", "-", content.name).strip("-") or "my-shop"
        raise UsageError(f"--name '{content.name}': not a folder's name; try '{valid}'")
    if content.interactions.empty:
        raise UsageError(f"{content.name}: no interactions")
    for column in ("user_id", "item_id"):
        _check_tokens(column, content.interactions[column].unique())
    target = out / content.name
    if target.exists() and not target.is_dir():
        raise UsageError(f"--out {out}: {target} is not a folder")
    unfinished = out / f".{content.name}.{os.getpid()}"
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot make a folder there: {error.strerror}") from error
    try:
        _write_files(content, unfinished)
        coverage = _write_features(content, unfinished)
        kept = _move(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    inter = content.interactions
    data_path = "" if out == Path("dataset") else f" --data_path={shlex.quote(str(out))}"
    return "\n".join(
        [
            str(target) + (f" ({content.label})" if content.label else ""),
            f"  {inter.user_id.nunique():,} users, {inter.item_id.nunique():,} items, "
            f"{len(inter):,} interactions",
            *coverage,
            *(
                f"  kept {len(kept):,} other files in the folder, such as {name}"
                for name in kept[:1]
            ),
            f"next: python run_recbole_missrec.py --dataset={content.name}{data_path}",
        ]
    )


def _check_tokens(column: str, tokens: np.ndarray) -> None:
    """RecBole reads tokens through pandas, which would take these for something else."""
    values = pd.Series(tokens, dtype=object)
    lost = values.str.contains(r'[\t\r\n"]').to_numpy() | values.isin(STR_NA_VALUES).to_numpy()
    if lost.any():
        raise UsageError(f"{column} {tokens[lost.argmax()]!r}: RecBole cannot read this token back")


def _write_files(content: DatasetContent, folder: Path) -> None:
    columns = content.interactions[["user_id", "item_id", "timestamp"]]
    columns.to_csv(
        folder / f"{content.name}.inter",
        sep="\t",
        header=ATOMIC_HEADER,
        index=False,
        quoting=csv.QUOTE_NONE,
    )
    if content.texts:
        rows = (f"{item}\t{' '.join(text.split())}\n" for item, text in content.texts.items())
        path = folder / f"{content.name}.text.tsv"
        path.write_text("item_id\ttext\n" + "".join(rows), encoding="utf-8")
    for name, data in content.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _write_features(content: DatasetContent, folder: Path) -> list[str]:
    """Write the feature files; a line for each on the items that it covers."""
    lines = []
    items = pd.Index(content.interactions.item_id.unique())
    for modality, features in content.features.items():
        present = features.matrix.any(axis=1)
        if not present.any():
            raise UsageError(f"{content.name}: no item has {modality} features")
        tokens = np.array(features.tokens, dtype=object)[present].tolist()
        path = folder / f"{content.name}.{modality}.safetensors"
        write_features(path, tokens, features.matrix[present], features.encoder)
        covered, absent = items.isin(tokens).sum(), len(present) - len(tokens)
        lines.append(
            f"  {modality}: {covered:,} of {len(items):,} items ({covered / len(items):.1%}), "
            f"dim {features.matrix.shape[1]}, {features.encoder}"
            + (f"; {absent:,} all-zero rows left out" if absent else "")
        )
    return lines


def _move(built: Path, target: Path) -> list[str]:
    """Put the files of a new folder in place; names of the target's other files."""
    if not target.exists():
        built.rename(target)
        return []
    names = [path.relative_to(built) for path in built.rglob("*") if path.is_file()]
    before = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(built / name, target / name)
    return sorted(map(str, before - set(names)))
