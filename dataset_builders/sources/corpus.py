"""Several categories of the Amazon reviews as one data set, to pre-train on.

Each category is read and filtered alone, as `amazon` does it. Users and items of different ones
stay apart: their tokens begin with the category, such as Food:B0001234XY.
"""

import argparse
from dataclasses import replace

import pandas as pd

from dataset_builders.amazon_files import category_of
from dataset_builders.dataset_files import DatasetContent, Origin
from dataset_builders.sources import amazon
from recbole_missrec.errors import UsageError

HELP = "several Amazon categories in one, to pre-train on: Food, Home, CDs, Kindle and Movies"
MODALITIES = ("text", "image")
SETS = "Food,Home,CDs,Kindle,Movies"
PUBLISHED = {"users": 1_361_408, "items": 446_975, "interactions": 14_029_229}  # 2018, 5-core


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Categories, files and filters."""
    parser.add_argument("--sets", default=SETS, metavar="CATEGORY,...", help=f"({SETS})")
    amazon.add_file_options(parser)
    parser.add_argument("--name", help="of the data set (the first letters: FHCKM)")


def addresses(options: argparse.Namespace) -> list[str]:
    """URLs of the files that :func:`build` fetches.

    Raises:
        UsageError: no such category, one that is named twice, or no such folder.
    """
    files = (file for name in _names(options) for file in amazon.locate(name, options))
    return [address for address in files if "://" in address]


def build(options: argparse.Namespace) -> DatasetContent:
    """The categories one after the other; time and memory grow as their sum.

    Raises:
        UsageError: as for each category, or one that is named twice.
    """
    names = _names(options)
    parts = {name: _apart(name, amazon.read_category(name, options)) for name in names}
    published = (
        PUBLISHED
        if sorted(names) == sorted(SETS.split(","))
        and (options.release, options.core) == ("2018", 5)
        else {}
    )
    return DatasetContent(
        options.name or "".join(name[:1] for name in names),
        _together([part.interactions for part in parts.values()]),
        texts={item: text for part in parts.values() for item, text in part.texts.items()},
        categories={
            item: kind for part in parts.values() for item, kind in part.categories.items()
        },
        pictures={item: url for part in parts.values() for item, url in part.pictures.items()},
        origin=Origin(
            tuple(source for part in parts.values() for source in part.origin.sources),
            tuple(
                (f"{name}: {step}", left)
                for name, part in parts.items()
                for step, left in part.origin.steps
            ),
            published,
            amazon.PUBLICATION if published else "",
        ),
    )


def _names(options: argparse.Namespace) -> list[str]:
    names = options.sets.split(",")
    full = [category_of(name, options.release) for name in names]
    for name, category in zip(names, full, strict=True):
        if full.count(category) > 1:
            raise UsageError(f"--sets {options.sets}: '{name}' is named twice")
    return names


def _apart(domain: str, content: DatasetContent) -> DatasetContent:
    """The same with the domain in front of each token."""
    inter = content.interactions
    for column in ("user_id", "item_id"):
        inter[column] = inter[column].cat.rename_categories(lambda token: f"{domain}:{token}")
    return replace(
        content,
        interactions=inter,
        texts={f"{domain}:{item}": text for item, text in content.texts.items()},
        categories={f"{domain}:{item}": kind for item, kind in content.categories.items()},
        pictures={f"{domain}:{item}": picture for item, picture in content.pictures.items()},
    )


def _together(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows after rows; tokens stay categories, which pandas makes text where these differ."""
    joined = pd.concat([frame[["timestamp"]] for frame in frames], ignore_index=True)
    for column in ("user_id", "item_id"):
        joined[column] = pd.api.types.union_categoricals([frame[column] for frame in frames])
    return joined
