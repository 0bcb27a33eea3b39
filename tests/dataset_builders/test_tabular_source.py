"""Anybody's tables: which columns mean what, in CSV, TSV and Parquet."""

import os
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dataset_builders.sources import tabular
from dataset_builders.tables import read_pairs
from recbole_missrec.errors import UsageError
from tests.dataset_builders.raw_files import build, sequences, write_lines, written

ROLES = ("--user", "who", "--item", "what", "--time", "when")
ROWS = [("7", "NA", 30, 5), ("7", "0012", 10, 1), ("8", "NA", 20, 4), ("7", "x y", 30, 2)]
SEQUENCES = {"7": ["0012", "NA", "x y"], "8": ["NA"]}


def write_sales(path: Path, times: Any = None) -> Path:
    """The rows, with other times if given, as a table of the kind that the name says."""
    frame = pd.DataFrame(ROWS, columns=["who", "what", "when", "stars"])
    if times is not None:
        frame["when"] = times
    if path.suffix == ".parquet":
        frame.astype({"who": int}).to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")
    return path


@pytest.mark.parametrize(
    "name", ["my-sales.csv", "my-sales.tsv", "my-sales.csv.gz", "my-sales.parquet"]
)
def test_interactions(tmp_path: Path, name: str) -> None:
    content = build(tabular, write_sales(tmp_path / name), *ROLES, cache=tmp_path)
    assert content.name == "my-sales"
    assert sequences(content) == SEQUENCES
    assert content.interactions["timestamp"].tolist() == [10, 30, 30, 20]
    assert content.origin.steps[0] == ("rows", "2 users, 3 items, 4 interactions")
    assert (content.texts, content.pictures) == ({}, {})


NOON = 1_717_156_800  # 2024-05-31T12:00:00 in UTC
UTC = timezone.utc
INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("name", "times", "expected"),
    [
        ("s.csv", [3, 1, 2, 3], [1, 3, 3, 2]),
        ("s.csv", ["3.5", "1", "2e0", "3.5"], [1.0, 3.5, 3.5, 2.0]),
        ("s.csv", ["2024-05-31", "2024-05-30", "2024-05-29", "2024-05-31"], [-36, -12, -12, -60]),
        (
            "s.csv",
            [
                "2024-05-31T14:00:00",
                "2024-05-31 13:00:00",
                "2024-05-31T12:00:00",
                "2024-05-31T14:00",
            ],
            [1, 2, 2, 0],
        ),
        ("s.tsv", ["2024-05-31T14:00:00Z", "2024-05-31T18:30:00+05:30"] * 2, [1, 1, 2, 2]),
        ("s.parquet", [datetime(2024, 5, 31, 12 + hour) for hour in (2, 1, 0, 2)], [1, 2, 2, 0]),
        (
            "s.parquet",
            [
                datetime(2024, 5, 31, 12 + hour, tzinfo=UTC).astimezone(INDIA)
                for hour in (2, 1, 0, 2)
            ],
            [1, 2, 2, 0],
        ),
        ("s.parquet", [date(2024, 5, 31 - back) for back in (0, 1, 2, 0)], [-36, -12, -12, -60]),
        ("s.parquet", [3.5, 1.0, 2.0, 3.5], [1.0, 3.5, 3.5, 2.0]),
        ("s.parquet", pd.Categorical(["2024-05-31", "2024-05-30"] * 2), [-36, -36, -12, -12]),
    ],
)
def test_times(tmp_path: Path, name: str, times: Any, expected: list[float]) -> None:
    content = build(tabular, write_sales(tmp_path / name, times), *ROLES, cache=tmp_path)
    found = content.interactions["timestamp"]
    if "2024" in str(times[0]):  # hours from noon
        found = (found - NOON) / 3600
    assert found.tolist() == expected


def test_texts_and_pictures_of_another_table(tmp_path: Path) -> None:
    (tmp_path / "shop" / "pictures").mkdir(parents=True)
    (tmp_path / "shop" / "pictures" / "na.png").touch()
    table = write_lines(
        tmp_path / "shop" / "goods.csv",
        [
            "sku,title,about,picture",
            'NA,Nutmeg," whole,\n  dried ",pictures/na.png',
            "0012,,,HTTPS://shop.example/12.jpg",
            f"x y,Rye,,{'long' * 999}.png",
            "NA,again,,",
            "other,Oats,,",
        ],
    )
    words = (
        "--items",
        table,
        "--item-key",
        "sku",
        "--text-columns",
        "title,about",
        "--picture-column",
        "picture",
        "--category-column",
        "about",
    )
    content = build(tabular, write_sales(tmp_path / "sales.csv"), *ROLES, *words, cache=tmp_path)
    assert content.texts == {"NA": "Nutmeg whole, dried", "x y": "Rye"}
    assert content.categories == {"NA": "whole, dried"}
    assert content.pictures == {
        "NA": tmp_path / "shop" / "pictures" / "na.png",
        "0012": "HTTPS://shop.example/12.jpg",
    }
    assert content.origin.steps[-2:] == (
        (f"items of {table}", "3 of 3"),
        (f"pictures of {table}", "2; 1 files missing"),
    )
    assert [source.path.name for source in content.origin.sources] == ["sales.csv", "goods.csv"]


def test_texts_of_the_same_table(tmp_path: Path) -> None:
    content = build(
        tabular,
        write_sales(tmp_path / "s.parquet"),
        *ROLES,
        "--text-columns",
        "stars",
        cache=tmp_path,
    )
    assert content.texts == {"NA": "5", "0012": "1", "x y": "2"}


def test_an_address_without_a_scheme_is_taken_as_https(tmp_path: Path) -> None:
    (tmp_path / "goods.csv").write_text("what,picture\nNA,//cdn.example/a.png\n")
    words = ("--items", tmp_path / "goods.csv", "--picture-column", "picture")
    sales = write_sales(tmp_path / "s.parquet")
    content = build(tabular, sales, *ROLES, *words, cache=tmp_path)
    assert content.pictures == {"NA": "https://cdn.example/a.png"}


def test_parquet_may_lack_values(tmp_path: Path) -> None:
    goods = pd.DataFrame(
        {"what": ["NA", "x y"], "title": [None, "Rye"], "picture": [None, "a.png"]}
    )
    (tmp_path / "a.png").touch()
    goods.to_parquet(tmp_path / "goods.parquet")
    words = (
        "--items",
        tmp_path / "goods.parquet",
        "--text-columns",
        "title",
        "--picture-column",
        "picture",
    )
    content = build(tabular, write_sales(tmp_path / "s.csv"), *ROLES, *words, cache=tmp_path)
    assert (content.texts, content.pictures) == ({"x y": "Rye"}, {"x y": tmp_path / "a.png"})


@pytest.mark.parametrize(
    ("items", "expected"), [([12e9, 1.0], ["12000000000", "1"]), ([12e9, 1.5], ["1.2e+10", "1.5"])]
)
def test_whole_numbers_that_parquet_keeps_as_floats_are_written_whole(
    tmp_path: Path, items: list[float], expected: list[str]
) -> None:
    sales = pd.DataFrame({"who": [7.0, 7.0], "what": items, "when": [1, 2]})
    sales.to_parquet(tmp_path / "s.parquet")
    content = build(tabular, tmp_path / "s.parquet", *ROLES, cache=tmp_path)
    assert sequences(content) == {"7": expected}


def test_core_and_name(tmp_path: Path) -> None:
    words = ("--core", "1", "--name", "shop")
    content = build(tabular, write_sales(tmp_path / "s.csv"), *ROLES, *words, cache=tmp_path)
    assert (content.name, len(content.interactions)) == ("shop", 4)
    with pytest.raises(UsageError, match="--core 3: leaves nothing of 2 users, 3 items, 4"):
        build(tabular, tmp_path / "s.csv", *ROLES, "--core", "3", cache=tmp_path)


@pytest.mark.parametrize("token", ["NA", "a\0b", "a\tb"])
def test_a_token_that_recbole_takes_for_another_is_refused_on_writing(
    tmp_path: Path, token: str
) -> None:
    table = write_sales(tmp_path / "s.parquet")
    pd.read_parquet(table).replace({"NA": token}).to_parquet(table)
    content = build(tabular, table, *ROLES, cache=tmp_path)
    with pytest.raises(UsageError) as error:
        written(content, tmp_path / "out")
    assert str(error.value) == f"item_id {token!r}: RecBole cannot read this token back"


def test_pairs_of_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = write_lines(tmp_path / "tags.tsv", ["id\tid", "1\tjazz"])
    with pytest.raises(UsageError, match="tags.tsv: both of its columns are named 'id'; rename"):
        read_pairs(table)


ITEMS = ("--items", "goods.csv", "--item-key", "sku")


@pytest.mark.parametrize("picture", ["../secret.png", "/etc/hostname", "link/secret.png", "a\0b"])
def test_pictures_outside_of_the_folder_are_refused(tmp_path: Path, picture: str) -> None:
    (tmp_path / "secret.png").touch()
    folder = tmp_path / "shop"
    folder.mkdir()
    os.symlink(tmp_path, folder / "link")
    table = folder / "goods.parquet"
    pd.DataFrame({"sku": ["NA"], "picture": [picture]}).to_parquet(table)
    words = ("--items", table, "--item-key", "sku", "--picture-column", "picture")
    with pytest.raises(UsageError) as error:
        build(tabular, write_sales(tmp_path / "s.csv"), *ROLES, *words, cache=tmp_path)
    expected = "embedded null byte" if "\0" in picture else f"of item 'NA' is not in {folder}"
    assert expected in str(error.value)
    assert str(table) in str(error.value)


def replaced(old: str, new: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "words", "expected"),
    [
        (None, ("--user", "woh"), "--user woh: no column of s.csv; did you mean 'who'?"),
        (None, ("--time", "who"), "--user, --item and --time: must be three different columns"),
        (
            None,
            ("--text-columns", "star"),
            "--text-columns star: no column of s.csv; did you mean 'stars'?",
        ),
        (
            None,
            (*ITEMS, "--text-columns", "titel"),
            "--text-columns titel: no column of goods.csv; did you mean 'title'",
        ),
        (
            None,
            (*ITEMS, "--picture-column", "pict"),
            "--picture-column pict: no column of goods.csv; did you mean",
        ),
        (
            None,
            (*ITEMS[:2], "--text-columns", "title"),
            "--item-key what: no column of goods.csv; choose from",
        ),
        (
            None,
            ITEMS,
            "--items goods.csv: name its --text-columns, --category-column or --picture-column",
        ),
        (None, ("--items", "none.csv", "--text-columns", "x"), "none.csv: no such file"),
        (
            None,
            (*ITEMS[:3], "title", "--text-columns", "sku"),
            "goods.csv: 'title' has no item of the interactions; choose its --item-key",
        ),
        (
            None,
            (*ITEMS, "--picture-column", "picture"),
            "--picture-column picture: no address, and none of 1 files is in ",
        ),
        (replaced("7,NA", "7,"), (), "s.csv: row 1 of data has no 'what'"),
        (replaced("8,NA", ",NA"), (), "s.csv: row 3 of data has no 'who'"),
        (
            replaced("7,NA,30,5", "7,NA,30"),
            (),
            "s.csv: CSV parse error: Row #2: Expected 4 columns",
        ),
        (
            replaced(",10,", ",ten,"),
            (),
            "--time when: row 2 of data, 'ten', is no number or date as '30' of row 1",
        ),
        (
            replaced(",30,", ",31/5/2024,"),
            (),
            "--time when: row 1 of data, '31/5/2024', is no number or date as 2024-05-31T10",
        ),
        (replaced(",10,", ",nan,"), (), "--time when: row 2 of data has no time"),
        (lambda path: path.write_text("who,what,when\n"), (), "s.csv: no rows of data"),
        (lambda path: path.write_text(""), (), "--user who: no column of s.csv; "),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"\r")),
            (),
            "end lines by LF, not by CR alone",
        ),
        (
            lambda path: path.write_bytes(b"who,what,when\n\xff,b,1\n"),
            (),
            "s.csv: In CSV column #0",
        ),
        (lambda path: path.write_bytes(b"\x1f\x8bno gzip"), (), "s.csv: damaged or cut short ("),
        (lambda path: path.rename("s.txt"), (), "s.csv: no such file"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object] | None,
    words: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    sales = write_sales(Path("s.csv"))
    write_lines(Path("goods.csv"), ["sku,title,picture", "NA,Nutmeg,na.png"])
    if change is not None:
        change(sales)
    with pytest.raises(UsageError) as error:
        build(tabular, sales, *ROLES, *words, cache=tmp_path)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("s.parquet", b"PAR1 and no more", "s.parquet: "),
        ("s.xlsx", b"PK", "s.xlsx: must end in .csv, .tsv (also .gz of these) or .parquet"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as error:
        build(tabular, tmp_path / name, *ROLES, cache=tmp_path)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1
