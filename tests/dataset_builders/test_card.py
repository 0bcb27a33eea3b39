"""The card of a data set, and looking at it again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dataset_builders.__main__ import main
from dataset_builders.building import Settings, build_dataset
from dataset_builders.card import read_card
from dataset_builders.dataset_files import DatasetContent, Origin
from dataset_builders.downloads import SourceFile
from dataset_builders.encoders import choose
from dataset_builders.encoding import input_digest
from recbole_missrec.errors import UsageError
from tests.dataset_builders.test_building import DRAWN

SHA = "ab" * 32
CONTENT = DatasetContent(
    name="shop",
    interactions=pd.DataFrame(
        {"user_id": list("uuuvw"), "item_id": list("abcab"), "timestamp": [0, 1, 2, 0, 0]}
    ),
    texts={"a": "green tea | loose", "b": "plum jam", "c": "a tea pot <b>"},
    pictures={"a": DRAWN, "c": b"no picture"},
    origin=Origin(
        (SourceFile(Path("x"), "http://shop.example/x.csv", 1234, SHA, "2024-05-31"),),
        (("ratings", "4 users"), ("2-core", "3 users")),
        {"users": 3, "items": 4, "interactions": 5},
        "Nobody (2024)",
    ),
    about="A shop made by hand.",
)
ENCODERS = (choose("text", "tfidf"), choose("image", "histogram"))
SPACE = f"TF-IDF + truncated SVD of {input_digest(CONTENT.texts, ENCODERS[0])[:8]}"
PAGE = f"""\
# shop

A shop made by hand.

| | users | items | interactions |
| --- | --- | --- | --- |
| here | 3 | 3 | 5 |
| published: Nobody (2024) | 3 | 4 | 5 |

Differs by -1 items.

## Features

| | |
| --- | --- |
| text | 3 of 3 items (100.0%), dim 2, {SPACE} |
| image | 1 of 3 items (33.3%), dim 132, colour, layout and edge histogram; \
left out: does not decode (1) |

## Steps

| step | left |
| --- | --- |
| ratings | 4 users |
| 2-core | 3 users |

## Sources

| file | bytes | date | SHA-256 |
| --- | --- | --- | --- |
| http://shop.example/x.csv | 1,234 | 2024-05-31 | `{SHA}` |

## Lengths and popularity

|  | least | median | 90 % | 99 % | most | mean |
| --- | --- | --- | --- | --- | --- | --- |
| interactions of a user | 1 | 1 | 2.6 | 2.96 | 3 | 1.667 |
| interactions of an item | 1 | 2 | 2 | 2 | 2 | 1.667 |

![interactions of a user](lengths.svg)
![interactions of an item](popularity.svg)

## Make it again

```
python -m dataset_builders tabular 'my orders.csv'
```

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    command = ("python", "-m", "dataset_builders", "tabular", "my orders.csv")
    build_dataset(CONTENT, tmp_path, Settings(ENCODERS, command=command))
    return tmp_path / "shop"


def test_page(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert page.startswith(PAGE)
    assert page.removeprefix(PAGE).startswith("recbole-missrec 0.")
    for plot in ("lengths", "popularity"):
        assert "<svg" in (folder / f"{plot}.svg").read_text()


def test_no_password_is_published(tmp_path: Path) -> None:
    address = "https://bob:secret@shop.example/x.csv"
    origin = Origin((SourceFile(Path("x"), address, 1, SHA, ""),), ((f"read {address}", "all"),))
    command = ("python", "--source", address)
    build_dataset(replace(CONTENT, origin=origin), tmp_path, Settings(ENCODERS, command=command))
    for name in ("README.md", "card.json"):
        text = (tmp_path / "shop" / name).read_text()
        assert "secret" not in text
        assert text.count("https://shop.example/x.csv") == 3


def test_the_same_counts_as_published(tmp_path: Path) -> None:
    published = {"users": 3, "interactions": 5}  # nothing is said of items
    same = replace(CONTENT, origin=Origin(published=published, publication="Somebody"))
    build_dataset(same, tmp_path, Settings(ENCODERS))
    page = (tmp_path / "shop" / "README.md").read_text()
    assert "| published: Somebody | 3 |  | 5 |\n\nThe same as published.\n" in page


def test_inspect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder), "--items", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(PAGE)
    assert printed.splitlines()[-8:] == [
        "All 10 files are as the card says.",
        "",
        "a: 2 interactions",
        "  text: green tea | loose",
        "  picture: 5 x 4 pixels, images/a.png",
        "c: 1 interactions",
        "  text: a tea pot <b>",
        "  picture: images/c.png: does not decode",
    ]


@pytest.mark.parametrize(("number", "lines"), [(0, 0), (1, 3), (3, 9), (50, 9)])
def test_number_of_items_that_are_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], number: int, lines: int
) -> None:
    capsys.readouterr()
    assert main(["inspect", str(folder), f"--items={number}"]) == 0
    after = capsys.readouterr().out.partition("are as the card says.\n\n")[2]
    assert len(after.splitlines()) == lines
    assert main(["inspect", str(folder), "--items=-3"]) == 2
    assert capsys.readouterr().err == "--items -3: must be 0 or more\n"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "shop.inter is missing"),
        (lambda path: path.write_text("x"), "shop.inter has 1 bytes, not 74"),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), "shop.inter has changed"),
    ],
)
def test_damaged_files_are_named(
    folder: Path,
    damage: Callable[[Path], object],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(folder / "shop.inter")
    capsys.readouterr()
    assert main(["inspect", str(folder)]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"{folder / 'card.json'}: 1 of 10 files are not as it says: ")
    assert said in message
    assert message.endswith("build it again: python -m dataset_builders tabular 'my orders.csv'\n")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"format": "x"}',
        b'{"format": "recbole_missrec.dataset", "version": 1}',
        b"\xff",
    ],
)
def test_something_else_in_place_of_a_card(folder: Path, content: bytes) -> None:
    (folder / "card.json").write_bytes(content)
    with pytest.raises(UsageError, match="card.json: (cannot be read|not the card of a data set)"):
        read_card(folder)
    (folder / "card.json").unlink()
    with pytest.raises(UsageError, match="card.json: no such file"):
        read_card(folder)
