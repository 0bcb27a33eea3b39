"""What the metadata of the Amazon review releases says of an item: its text and its picture."""

import html
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builders.amazon_files import Release, json_lines
from recbole_missrec.errors import UsageError

LONGEST = 2000
# The server scales a picture by what stands between the dots: 41i07fBAznL._SS40_.jpg is 40 pixels.
SCALING = re.compile(r"(/images/I/[^/.]+)\.[^/]*(\.\w+)$")


@dataclass(frozen=True)
class Products:
    """What the metadata says of items.

    Attributes:
        known: the items that it has a record of.
        texts: item -> text, of those that were wanted and have one.
        categories: item -> category, likewise.
        pictures: item -> address of a picture, likewise.
    """

    known: set[str]
    texts: dict[str, str]
    categories: dict[str, str]
    pictures: dict[str, str]


def read_products(
    path: Path, release: Release, occurring: Collection[str], wanted: Collection[str]
) -> Products:
    """The metadata of a category; of several records of an item, the first counts.

    Time grows as the bytes; memory holds the texts of the wanted items, not of the others.

    Args:
        path: JSON lines, gzip.
        release: the release.
        occurring: items that have interactions.
        wanted: those of them whose text and picture are kept.

    Raises:
        UsageError: a damaged file, or a line that is no record of an item.
    """
    products = Products(set(), {}, {}, {})
    key = release.fields[1]
    for number, record in json_lines(path):
        item = record.get(key)
        if not isinstance(item, str):
            raise UsageError(f"{path}: line {number:,} has no text in the field '{key}'")
        if item not in occurring or item in products.known:
            continue
        products.known.add(item)
        if item in wanted:
            if text := product_text(record):
                products.texts[item] = text
            if category := product_category(record):
                products.categories[item] = category
            if address := best_picture(record):
                products.pictures[item] = address
    return products


def product_text(record: dict[str, Any]) -> str:
    """Title, categories and brand, each ending in a full stop; those that there are.

    In the 2023 release the brand is one of the details, and where it is not, the store stands in.
    """
    details = record.get("details")
    brand = record.get("brand") or (details.get("Brand") if isinstance(details, dict) else None)
    parts = (
        record.get("title"),
        record.get("category") or record.get("categories"),
        brand or record.get("store"),
    )
    return " ".join(filter(None, map(_sentence, parts)))


def product_category(record: dict[str, Any]) -> str:
    """The category below that of the whole set, or that one where there is none below."""
    path = _list(record.get("category") or record.get("categories"))
    return next(filter(None, map(_plain, path[1:2] + path[:1])), "")


def _sentence(value: object) -> str:
    """Plain words; as in the published protocol without quotes, and nothing where it is too long:
    such a value is the script of a page, not a name."""
    text = _plain(" ".join(map(str, value)) if isinstance(value, list) else value).rstrip(".")
    return f"{text}." if 0 < len(text) < LONGEST - 1 else ""


def _plain(text: object) -> str:
    """In one line, without tags and quotes; empty for what is no text."""
    if not isinstance(text, str):
        return ""
    text = re.sub(r"</?[a-zA-Z][^<>]*>", " ", html.unescape(text))
    text = text.encode(errors="replace").decode()  # JSON can hold halves of characters
    return " ".join(text.replace('"', "").split())


def best_picture(record: dict[str, Any]) -> str | None:
    """Address of the best picture that the metadata leads to, of the first or main one if several.

    That in high resolution where there is one; else that which the thumbnail was scaled from.
    """
    shots = [shot for shot in _list(record.get("images")) if isinstance(shot, dict)]
    main = min(shots, key=lambda shot: shot.get("variant") != "MAIN", default={})  # 2023
    whole = [*_list(record.get("imageURLHighRes")), main.get("hi_res")]
    scaled = [*_list(record.get("imageURL")), *_list(record.get("image"))]  # 2018
    addresses = (
        *whole,
        *(
            SCALING.sub(r"\1\2", address)
            for address in (main.get("large"), main.get("thumb"), *scaled)
            if isinstance(address, str)
        ),
    )
    return next((a for a in addresses if isinstance(a, str) and a.startswith("http")), None)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
