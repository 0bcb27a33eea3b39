"""Text and picture of an Amazon product, record by record."""

from typing import Any

import pytest

from dataset_builders.amazon_products import best_picture, product_category, product_text
from tests.dataset_builders.raw_files import PICTURES


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"title": "A&amp;B &quot;x&quot; caf&eacute;"}, "A&B x café."),
        ({"title": "5 &lt; 6 < 7 > 3 <br/> <B>bold</B>"}, "5 < 6 < 7 > 3 bold."),
        ({"title": "half \ud83d"}, "half ?."),
        ({"title": "one...", "brand": "  "}, "one."),
        ({"title": "x" * 1998}, "x" * 1998 + "."),
        ({"title": "x" * 1999, "brand": "Ok"}, "Ok."),  # a script that stands for a title
        ({"title": None, "category": None, "details": None}, ""),
        ({"title": ["two", "parts"], "category": "one word"}, "two parts. one word."),
    ],
)
def test_text_of_a_product(record: dict[str, Any], text: str) -> None:
    assert product_text(record) == text


@pytest.mark.parametrize(
    ("record", "category"),
    [
        ({"category": ["Grocery", "Tea &amp; Jam", "Jam"]}, "Tea & Jam"),
        ({"categories": ["Grocery", " "]}, "Grocery"),
        ({"category": [], "categories": ["Beauty"]}, "Beauty"),
        ({"category": "Grocery", "categories": ["Beauty"]}, ""),
        ({"category": [7, None]}, ""),
        ({}, ""),
    ],
)
def test_category_of_a_product(record: dict[str, Any], category: str) -> None:
    assert product_category(record) == category


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"imageURLHighRes": ["I/a.jpg", "I/b.jpg"], "imageURL": ["I/c._SS40_.jpg"]}, "a.jpg"),
        ({"imageURLHighRes": [""], "imageURL": ["I/c._SX50_SY65_CR,0,0,50,65_.jpg"]}, "c.jpg"),
        ({"imageURL": ["I/81K-8p2lItL.SX50_SY65_CR,0,0,50,65_PKmb-play_.jpg"]}, "81K-8p2lItL.jpg"),
        ({"image": ["I/51%2Bq._SY300_.jpg"]}, "51%2Bq.jpg"),
        ({"imageURL": ["I/whole.jpg"]}, "whole.jpg"),
        ({"images": [{"large": "I/d._AC_.jpg", "hi_res": None}]}, "d.jpg"),
        ({"images": [{"thumb": "I/e._SS40_.jpg", "variant": "MAIN"}]}, "e.jpg"),
        ({"images": [], "imageURL": "", "imageURLHighRes": None}, None),
        ({"images": [{"large": 7}], "imageURL": ["no address"]}, None),
    ],
)
def test_best_picture_of_a_product(record: dict[str, Any], name: str | None) -> None:
    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(entry) for entry in value]
        if isinstance(value, dict):
            return {key: whole(entry) for key, entry in value.items()}
        found = isinstance(value, str) and value.startswith("I/")
        return value.replace("I/", f"{PICTURES}/", 1) if found else value

    assert best_picture(whole(record)) == (name and f"{PICTURES}/{name}")
