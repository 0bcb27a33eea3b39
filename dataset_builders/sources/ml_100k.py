"""MovieLens-100K as it comes with RecBole, with text features of title, year and genres.

The interactions are those of the installed recbole package, in their order.
"""

import argparse
from importlib.resources import files
from pathlib import Path

import pandas as pd

from dataset_builders.dataset_files import DatasetContent, ItemFeatures
from dataset_builders.encoders import tfidf

HELP = "MovieLens-100K as bundled with RecBole, features of titles, years and genres"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def build(options: argparse.Namespace) -> DatasetContent:
    """The data set ``ml-100k``."""
    folder = Path(str(files("recbole"))) / "dataset_example" / "ml-100k"
    inter = _read(folder / "ml-100k.inter")
    items = _read(folder / "ml-100k.item").set_index("item_id")
    texts = items["movie_title"].str.cat([items["release_year"], items["class"]], sep=" ")
    features = ItemFeatures(list(texts.index), tfidf.encode(list(texts)), tfidf.NAME)
    return DatasetContent("ml-100k", inter, {"text": features}, texts.to_dict())


def _read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return frame.rename(columns=lambda column: column.partition(":")[0])
