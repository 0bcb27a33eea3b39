"""The files of the Amazon review releases of 2018 and 2023, and the interactions in them.

The releases are described at https://nijianmo.github.io/amazon and
https://amazon-reviews-2023.github.io; short names of categories are those of UniSRec.
"""

import json
import sys
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from dataset_builders.tables import DAMAGE, TOKEN, open_plain, read_csv
from recbole_missrec.errors import UsageError, nearest

SHORT_NAMES = {
    "Beauty": "All_Beauty",
    "Fashion": "AMAZON_FASHION",
    "Arts": "Arts_Crafts_and_Sewing",
    "CDs": "CDs_and_Vinyl",
    "Cell": "Cell_Phones_and_Accessories",
    "Clothing": "Clothing_Shoes_and_Jewelry",
    "Music": "Digital_Music",
    "Gift": "Gift_Cards",
    "Food": "Grocery_and_Gourmet_Food",
    "Home": "Home_and_Kitchen",
    "Scientific": "Industrial_and_Scientific",
    "Kindle": "Kindle_Store",
    "Luxury": "Luxury_Beauty",
    "Magazine": "Magazine_Subscriptions",
    "Movies": "Movies_and_TV",
    "Instruments": "Musical_Instruments",
    "Office": "Office_Products",
    "Garden": "Patio_Lawn_and_Garden",
    "Pet": "Pet_Supplies",
    "Pantry": "Prime_Pantry",
    "Sports": "Sports_and_Outdoors",
    "Tools": "Tools_and_Home_Improvement",
    "Toys": "Toys_and_Games",
    "Games": "Video_Games",
}
IN_2018 = {*SHORT_NAMES.values(), "Appliances", "Automotive", "Books", "Electronics", "Software"}
ONLY_IN_2018 = {"AMAZON_FASHION", "Luxury_Beauty", "Prime_Pantry"}
ONLY_IN_2023 = {
    "Amazon_Fashion",
    "Baby_Products",
    "Beauty_and_Personal_Care",
    "Handmade_Products",
    "Health_and_Household",
    "Health_and_Personal_Care",
    "Subscription_Boxes",
    "Unknown",
}


@dataclass(frozen=True)
class Release:
    """Where the files of a release lie, and what is in them.

    Attributes:
        base: address that the paths below start from; ``{}`` in a path is the category.
        files: "ratings" and "reviews" -> path.
        metadata: path.
        fields: user, item, rating and time of a review; the item's field names it in the metadata,
            too.
        header: columns of the ratings, where the file itself does not name them.
        ticks: units of its time in a second.
        categories: all of them.
    """

    base: str
    files: dict[str, str]
    metadata: str
    fields: tuple[str, str, str, str]
    header: list[str] | None
    ticks: int
    categories: Collection[str]


RELEASES = {
    "2018": Release(
        base="https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/",
        files={"ratings": "categoryFilesSmall/{}.csv", "reviews": "categoryFiles/{}.json.gz"},
        metadata="metaFiles2/meta_{}.json.gz",
        fields=("reviewerID", "asin", "overall", "unixReviewTime"),
        header=["asin", "reviewerID", "overall", "unixReviewTime"],  # the item before the user
        ticks=1,
        categories=IN_2018,
    ),
    "2023": Release(
        base="https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/",
        files={
            "ratings": "benchmark/0core/rating_only/{}.csv.gz",
            "reviews": "raw/review_categories/{}.jsonl.gz",
        },
        metadata="raw/meta_categories/meta_{}.jsonl.gz",
        fields=("user_id", "parent_asin", "rating", "timestamp"),
        header=None,
        ticks=1000,
        categories=IN_2018 - ONLY_IN_2018 | ONLY_IN_2023,
    ),
}
LONGEST_LINE = 16 << 20  # bytes; a longer one, which no release has, would fill the memory
COLUMNS = ["user_id", "item_id", "rating", "timestamp"]


def category_of(name: str, year: str) -> str:
    """Full name of a category of a release, by either of its names.

    Raises:
        UsageError: the release has no such category.
    """
    known = RELEASES[year].categories
    full = SHORT_NAMES.get(name, name)
    if full not in known:
        names = {*known, *(short for short, full in SHORT_NAMES.items() if full in known)}
        raise UsageError(f"'{name}': no category of the {year} release; {nearest(name, names)}")
    return full


def read_ratings(path: Path, release: Release) -> pd.DataFrame:
    """The rating-only file of a category.

    Time grows as the bytes; memory takes 20 bytes a row, and each token once.

    Returns:
        Columns user_id and item_id (categories), rating, and timestamp in ticks of the release.

    Raises:
        UsageError: a damaged file, or a row that is no rating.
    """
    types = dict(zip(release.fields, (TOKEN, TOKEN, pa.float32(), pa.int64()), strict=True))
    table = read_csv(lambda: open_plain(path), str(path), types, names=release.header, quoted=False)
    return table.to_pandas().set_axis(COLUMNS, axis=1)


def read_reviews(path: Path, release: Release) -> pd.DataFrame:
    """The same columns out of the full reviews, JSON lines, of which one is held at a time.

    Raises:
        UsageError: a damaged file, or a line that is no review.
    """
    numbers: tuple[dict[str, int], dict[str, int]] = ({}, {})  # of users and of items
    codes = array("i"), array("i")
    ratings, times = array("f"), array("q")
    for line, review in json_lines(path):
        try:
            *tokens, rating, time = (review[name] for name in release.fields)
            ratings.append(rating)
            times.append(time)
            for token, column, seen in zip(tokens, codes, numbers, strict=True):
                column.append(seen.setdefault(sys.intern(token), len(seen)))
        except (KeyError, TypeError, OverflowError) as error:
            raise UsageError(
                f"{path}: line {line:,} is no review of this release, with the fields "
                f"{', '.join(release.fields)} ({error})"
            ) from error
    users, items = (
        pd.Categorical.from_codes(np.asarray(column), pd.Index(list(seen), dtype=object))
        for column, seen in zip(codes, numbers, strict=True)
    )
    columns = users, items, np.asarray(ratings), np.asarray(times)
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, gzip or not, with the numbers of their lines, from 1.

    Raises:
        UsageError: a damaged file, or a line that is no JSON object.
    """
    number = 0
    try:
        with open_plain(path) as file:
            lines = iter(lambda: file.readline(LONGEST_LINE), b"")
            shown = tqdm(
                lines, path.name, unit=" lines", unit_scale=True, disable=None, leave=False
            )
            for number, line in enumerate(shown, start=1):
                yield number, _parse(line, f"{path}: line {number:,}")
    except DAMAGE as error:
        raise UsageError(
            f"{path}: damaged or cut short after line {number:,} ({error}); "
            "remove it and fetch it again"
        ) from error


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise UsageError(f"{where} is no JSON object: {line[:60]!r}")
    return record
