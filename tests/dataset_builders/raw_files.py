"""Small files in the formats of the public data sets, and the case that their tests share."""

import argparse
import gzip
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dataset_builders.dataset_files import DatasetContent, check_content, write_tables

# Who rated what. A 5-core takes round after round:
#   Product 8 has no metadata and goes first; Gus then has 4 ratings left.
#   1. Product 7 has 2 ratings, Gus and Hal 4 (Hal's second rating of 4 is the same one again).
#   2. Fay, without product 7, has 4, and product 9, without Gus, too.
#   3. Product 6, without Fay, has 4.
#   All others have at least 5: five users, five products, 25 ratings.
RATED = """
        1  2  3  4  5  6  7  8  9
   Ann  x  x  x  x  x  x  x  x  x
   Bob  x  x  x  x  x  x  .  x  x
   Cid  x  x  x  x  x  x  .  x  x
   Dan  x  x  x  x  x  x  .  x  x
   Eve  x  x  x  x  x  .  .  .  .
   Fay  x  x  x  .  .  x  x  .  .
   Gus  x  x  x  .  .  .  .  x  x
   Hal  x  x  x  xx .  .  .  .  .
"""
DAY = 86_400
PICTURES = "https://images-na.ssl-images-amazon.com/images/I"


def user_token(name: str) -> str:
    """As Amazon writes it: ``A0000000000ANN``."""
    return f"A{name.upper():0>13}"


def item_token(number: int | str) -> str:
    """As Amazon writes it, ten characters: ``B000000001``."""
    return f"B{number:0>9}"


FIVE = [item_token(number) for number in (5, 4, 3, 2, 1)]  # in order of time
KEPT = {user_token(name): FIVE for name in ("Ann", "Bob", "Cid", "Dan", "Eve")}


def rated(table: str = RATED) -> list[tuple[str, str, float, int]]:
    """User, item, rating and time of each x; product 1 is the one rated last."""
    head, *lines = table.strip("\n").splitlines()
    rows = []
    for line in lines:
        name, *marks = line.split()
        for number, mark in zip(head.split(), marks, strict=True):
            row = (user_token(name), item_token(number), 5.0, 1_400_000_000 - int(number) * DAY)
            rows += [row] * mark.count("x")
    return rows


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write lines of text, through gzip if the name says so."""
    text = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_json(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON lines."""
    return write_lines(path, map(json.dumps, records))


def product_2018(number: int, **fields: Any) -> dict[str, Any]:
    """A record of the metadata of 2018."""
    return {
        "category": ["Grocery", "Tea &amp; Jam", "</span></span></span>"],
        "tech1": "",
        "description": [],
        "title": f"Tea No. {number}",
        "also_buy": [],
        "brand": "Leaf &amp; Co.",
        "rank": "1 in Grocery",
        "price": "$1.00",
        "asin": item_token(number),
        "imageURL": [f"{PICTURES}/{number}._SS40_.jpg"],
        "imageURLHighRes": [f"{PICTURES}/{number}.jpg"],
    } | fields


METADATA_2018 = [
    product_2018(1),
    product_2018(2, title='2" <b>Jam</b>\n pot..', brand="", imageURLHighRes=[]),
    product_2018(3, title="", category=[], brand="", imageURL=[], imageURLHighRes=[]),
    *map(product_2018, (4, 5, 6, 7, 9)),
    product_2018(99),
    product_2018(1, title="a later record of the same product"),
]


def write_2018(folder: Path, category: str = "Prime_Pantry") -> Path:
    """The case as the files of a category: ratings, reviews and metadata."""
    write_lines(
        folder / f"{category}.csv", (f"{item},{user},{r},{t}" for user, item, r, t in rated())
    )
    write_json(
        folder / f"{category}.json.gz",
        (
            {
                "overall": rating,
                "verified": True,
                "reviewTime": "05 13, 2014",
                "reviewerID": user,
                "asin": item,
                "style": {"Size:": " Small"},
                "reviewText": 'a text with "quotes"\n and lines',
                "unixReviewTime": time,
            }
            for user, item, rating, time in rated()
        ),
    )
    write_json(folder / f"meta_{category}.json.gz", METADATA_2018)
    return folder


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a zip archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def parse(source: ModuleType, *words: str | Path) -> argparse.Namespace:
    """The options of a source in words of the command line."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    source.add_arguments(parser)
    return parser.parse_args([*map(str, words)])


def build(source: ModuleType, *words: str | Path, cache: Path) -> DatasetContent:
    """What a source makes of words of the command line."""
    return source.build(argparse.Namespace(cache=cache, **vars(parse(source, *words))))


def written(content: DatasetContent, folder: Path) -> list[str]:
    """Lines of the atomic file that a data set is written as, without the header."""
    check_content(content, folder)
    write_tables(content, folder)
    return (folder / f"{content.name}.inter").read_text().splitlines()[1:]


def sequences(content: DatasetContent) -> dict[str, list[str]]:
    """Items of each user in the order of the rows; these must be in order of time, too."""
    groups = content.interactions.groupby("user_id", observed=True, sort=False)
    assert all(group["timestamp"].is_monotonic_increasing for _, group in groups)
    return {str(user): group["item_id"].tolist() for user, group in groups}
