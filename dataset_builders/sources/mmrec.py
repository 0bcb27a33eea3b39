"""A data set in the layout of the MMRec toolbox (https://github.com/enoche/MMRec).

DIR holds, one or both of the features being enough:

  ANY.inter        userID, itemID, timestamp and others, with tabs between; numbers from 0
  text_feat.npy    text features, a row for each itemID
  image_feat.npy   image features, likewise

The column x_label, a random split of each user's interactions, is not used: RecBole splits by time.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from dataset_builders.dataset_files import DatasetContent, ItemFeatures, Origin
from dataset_builders.downloads import fetch
from dataset_builders.filters import finish, sizes
from dataset_builders.tables import TOKEN, column_names, read_table, reading
from recbole_missrec.errors import UsageError

HELP = "interactions and features in the layout of the MMRec toolbox"
FEATURES = {"text": "text_feat.npy", "image": "image_feat.npy"}
COLUMNS = {"userID": TOKEN, "itemID": pa.int64(), "timestamp": pa.float64()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Folder and name."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of the files")
    parser.add_argument("--name", required=True, help="name of the data set to make")


def build(options: argparse.Namespace) -> DatasetContent:
    """The data set under its numbers as tokens; time and memory grow as its files.

    Raises:
        UsageError: a file is missing or damaged, has no times, or files do not fit together.
    """
    if not options.folder.is_dir():
        raise UsageError(f"DIR {options.folder}: no such folder")
    found = sorted(options.folder.glob("*.inter"))
    if len(found) != 1:
        raise UsageError(f"DIR {options.folder}: has {len(found)} files ANY.inter, not one")
    sources = [fetch(str(found[0]), options.cache)]
    rows = _read_rows(found[0])
    interactions, steps = finish(rows, core=0)
    features = {}
    for modality, name in FEATURES.items():
        path = options.folder / name
        if path.is_file():
            sources.append(fetch(str(path), options.cache))
            matrix = _read_matrix(path)
            if rows["item_id"].max() >= len(matrix):
                raise UsageError(
                    f"{path}: has {len(matrix):,} rows, but {found[0]} has itemID "
                    f"{rows['item_id'].max()}, which counts from 0"
                )
            tokens = [str(row) for row in range(len(matrix))]
            features[modality] = ItemFeatures(tokens, matrix, f"MMRec {name}")
    if not features:
        raise UsageError(f"DIR {options.folder}: no feature file, {' or '.join(FEATURES.values())}")
    items = interactions["item_id"].astype("category").cat
    return DatasetContent(
        options.name,
        interactions.assign(item_id=items.rename_categories(str)),
        features,
        origin=Origin(tuple(sources), (("interactions", sizes(rows)), *steps)),
    )


def _read_rows(path: Path) -> pd.DataFrame:
    if "timestamp" not in column_names(path):
        raise UsageError(f"{path}: no column 'timestamp', without which events have no order")
    rows = (
        read_table(path, COLUMNS).to_pandas().set_axis(["user_id", "item_id", "timestamp"], axis=1)
    )
    finite = np.isfinite(rows["timestamp"].to_numpy())
    if not finite.all():
        raise UsageError(f"{path}: row {finite.argmin() + 1:,} of data has no timestamp")
    if rows["item_id"].min() < 0:
        raise UsageError(f"{path}: has itemID {rows['item_id'].min()}; they count from 0")
    return rows


def _read_matrix(path: Path) -> np.ndarray:
    with reading(str(path)):
        matrix = np.load(path, allow_pickle=False)
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise UsageError(f"{path}: not a matrix of numbers, a row for each item")
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise UsageError(f"{path}: NaN or infinite values in row {finite.argmin():,}, from 0")
    return matrix.astype(np.float32, copy=False)
