"""Amazon: the published protocol on the shared case, in the true formats of both releases."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataset_builders.amazon_files import RELEASES
from dataset_builders.sources import amazon, corpus
from recbole_missrec.errors import UsageError
from tests.dataset_builders.raw_files import (
    DAY,
    KEPT,
    PICTURES,
    build,
    item_token,
    parse,
    rated,
    sequences,
    user_token,
    write_2018,
    write_json,
    write_lines,
    written,
)
from tests.dataset_builders.servers import Reply, serving


@pytest.fixture
def pantry(tmp_path: Path) -> Path:
    return write_2018(tmp_path / "raw")


def test_the_published_protocol(pantry: Path, tmp_path: Path) -> None:
    content = build(amazon, "--set", "Pantry", "--source", pantry, cache=tmp_path / "cache")
    assert content.name == "Pantry"
    assert sequences(content) == KEPT
    first = content.interactions.iloc[0].tolist()
    assert first == [user_token("Ann"), item_token(5), 1_400_000_000 - 5 * DAY]
    assert content.categories[item_token(2)] == "Tea & Jam"
    assert content.categories.keys() == content.texts.keys()
    assert content.texts == {
        item_token(1): "Tea No. 1. Grocery Tea & Jam. Leaf & Co.",
        item_token(2): "2 Jam pot. Grocery Tea & Jam.",
        item_token(4): "Tea No. 4. Grocery Tea & Jam. Leaf & Co.",
        item_token(5): "Tea No. 5. Grocery Tea & Jam. Leaf & Co.",
    }
    assert content.pictures == {
        item_token(number): f"{PICTURES}/{number}.jpg" for number in (1, 2, 4, 5)
    }
    assert content.origin.steps == (
        ("ratings", "8 users, 9 items, 53 interactions"),
        ("equal ones counted once", "8 users, 9 items, 52 interactions"),
        ("items without metadata left out", "8 users, 8 items, 47 interactions"),
        ("5-core", "5 users, 5 items, 25 interactions"),
        ("ordered by time", "equal times of a user in the order of the file"),
    )
    assert [source.path.name for source in content.origin.sources] == [
        "Prime_Pantry.csv",
        "meta_Prime_Pantry.json.gz",
    ]
    assert content.origin.published == {"users": 13_101, "items": 4_898, "interactions": 126_962}
    lines = written(content, tmp_path)
    assert len(lines) == 25
    assert lines[0] == f"{user_token('Ann')}\t{item_token(5)}\t{1_400_000_000 - 5 * DAY}"


def test_full_reviews_give_the_same(pantry: Path, tmp_path: Path) -> None:
    words = ("--set", "Prime_Pantry", "--source", pantry, "--name", "Mine")
    ratings = build(amazon, *words, cache=tmp_path)
    reviews = build(amazon, *words, "--from", "reviews", cache=tmp_path)
    assert sequences(reviews) == sequences(ratings) == KEPT
    assert written(reviews, tmp_path / "a") == written(ratings, tmp_path / "b")
    assert (reviews.name, reviews.texts) == ("Mine", ratings.texts)
    assert reviews.origin.sources[0].path.name == "Prime_Pantry.json.gz"
    assert reviews.origin.published["users"] == 13_101


def test_another_core_has_no_published_counts(pantry: Path, tmp_path: Path) -> None:
    words = ("--set", "Pantry", "--source", pantry, "--core")
    content = build(amazon, *words, "4", cache=tmp_path)
    # Fay, Gus and Hal have 4 ratings left, and product 7 has 2.
    assert content.origin.steps[-2] == ("4-core", "8 users, 7 items, 45 interactions")
    assert (content.origin.published, content.origin.publication) == ({}, "")
    assert (
        build(amazon, *words, "0", cache=tmp_path).origin.steps[-2][0].startswith("items without")
    )


def product_2023(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "main_category": "All Beauty",
        "title": f"Soap {number}",
        "price": None,
        "images": [
            {"thumb": f"{PICTURES}/a._SS40_.jpg", "large": f"{PICTURES}/a.jpg", "variant": "PT01"},
            {
                "thumb": f"{PICTURES}/{number}._AC_US40_.jpg",
                "large": f"{PICTURES}/{number}._AC_.jpg",
                "variant": "MAIN",
                "hi_res": f"{PICTURES}/{number}._SL1500_.jpg",
            },
        ],
        "store": "Store",
        "categories": ["Beauty", "Soap"],
        "details": {"Brand": "Foam", "UPC": "1"},
        "parent_asin": item_token(number),
    } | fields


@pytest.mark.parametrize("records", ["ratings", "reviews"])
def test_the_release_of_2023_counts_in_milliseconds(tmp_path: Path, records: str) -> None:
    raw = tmp_path / "raw"
    rows = [(user, item, rating, time * 1000 + 250) for user, item, rating, time in rated()]
    write_lines(
        raw / "All_Beauty.csv.gz",
        ["user_id,parent_asin,rating,timestamp", *(f"{u},{i},{r},{t}" for u, i, r, t in rows)],
    )
    write_json(
        raw / "All_Beauty.jsonl.gz",
        (
            {"rating": r, "title": "!", "asin": "B00OTHER00", "parent_asin": i, "user_id": u}
            | {"timestamp": t, "images": []}
            for u, i, r, t in rows
        ),
    )
    changed: dict[int, dict[str, Any]] = {2: {"details": {}}, 3: {"images": []}}
    write_json(
        raw / "meta_All_Beauty.jsonl.gz",
        (product_2023(number, **changed.get(number, {})) for number in (1, 2, 3, 4, 5, 6, 7, 9)),
    )
    words = ("--release", "2023", "--from", records, "--source", raw)
    content = build(amazon, "--set", "Beauty", *words, cache=tmp_path)
    assert content.name == "Beauty-2023"
    assert sequences(content) == KEPT
    assert content.interactions["timestamp"].iloc[0] == 1_400_000_000 - 5 * DAY + 0.25
    assert content.texts[item_token(1)] == "Soap 1. Beauty Soap. Foam."
    assert content.texts[item_token(2)] == "Soap 2. Beauty Soap. Store."
    assert content.pictures == {
        item_token(number): f"{PICTURES}/{number}._SL1500_.jpg" for number in (1, 2, 4, 5)
    }
    assert content.origin.published == {}


def test_files_come_from_a_mirror_under_the_paths_of_the_release(
    pantry: Path, tmp_path: Path
) -> None:
    replies = {
        "/amazon/categoryFilesSmall/Prime_Pantry.csv": pantry / "Prime_Pantry.csv",
        "/amazon/metaFiles2/meta_Prime_Pantry.json.gz": pantry / "meta_Prime_Pantry.json.gz",
    }
    with serving({path: Reply(file.read_bytes()) for path, file in replies.items()}) as server:
        words = ("--set", "Pantry", "--source", server.url("/amazon/"))
        content = build(amazon, *words, cache=tmp_path / "cache")
        assert sequences(content) == KEPT
        assert [source.address for source in content.origin.sources] == list(
            map(server.url, replies)
        )


BASE = "https://mcauleylab.ucsd.edu/public_datasets/data"


@pytest.mark.parametrize(
    ("words", "ratings", "metadata"),
    [
        (
            (),
            "amazon_v2/categoryFilesSmall/Musical_Instruments.csv",
            "amazon_v2/metaFiles2/meta_Musical_Instruments.json.gz",
        ),
        (
            ("--from", "reviews"),
            "amazon_v2/categoryFiles/Musical_Instruments.json.gz",
            "amazon_v2/metaFiles2/meta_Musical_Instruments.json.gz",
        ),
        (
            ("--release", "2023"),
            "amazon_2023/benchmark/0core/rating_only/Musical_Instruments.csv.gz",
            "amazon_2023/raw/meta_categories/meta_Musical_Instruments.jsonl.gz",
        ),
        (
            ("--release", "2023", "--from", "reviews"),
            "amazon_2023/raw/review_categories/Musical_Instruments.jsonl.gz",
            "amazon_2023/raw/meta_categories/meta_Musical_Instruments.jsonl.gz",
        ),
    ],
)
def test_addresses_of_the_releases(words: tuple[str, ...], ratings: str, metadata: str) -> None:
    expected = [f"{BASE}/{ratings}", f"{BASE}/{metadata}"]
    assert amazon.addresses(parse(amazon, "--set", "Instruments", *words)) == expected
    both = corpus.addresses(parse(corpus, "--sets", "Instruments,Toys", *words))
    toys = [address.replace("Musical_Instruments", "Toys_and_Games") for address in expected]
    assert both == expected + toys


def test_files_in_a_folder_are_not_fetched(tmp_path: Path) -> None:
    assert amazon.addresses(parse(amazon, "--set", "Pantry", "--source", tmp_path)) == []


def test_categories_of_the_releases() -> None:
    numbers = {year: len(release.categories) for year, release in RELEASES.items()}
    assert numbers == {"2018": 29, "2023": 34}


def replaced(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(raw: Path) -> None:
        (raw / name).write_bytes(change((raw / name).read_bytes()))

    return damage


def relined(name: str, *lines: str) -> Callable[[Path], object]:
    """The file with other lines."""
    return lambda raw: write_lines(raw / name, lines)


META, REVIEWS, RATINGS = "meta_Prime_Pantry.json.gz", "Prime_Pantry.json.gz", "Prime_Pantry.csv"


@pytest.mark.parametrize(
    ("damage", "words", "expected"),
    [
        (
            replaced(META, lambda data: data[: len(data) // 2]),
            (),
            f"{META}: damaged or cut short after line ",
        ),
        (
            replaced(META, lambda data: data[:40] + b"????????" + data[48:]),
            (),
            f"{META}: damaged or cut short after line ",
        ),
        (replaced(META, gzip.decompress), (), None),  # not zipped is fine
        (
            relined(META, '{"asin": "B000000001"}', "{'asin': 'B000000002'}"),
            (),
            f"{META}: line 2 is no JSON object: b\"{{'asin'",
        ),
        (relined(META, "[1]"), (), f"{META}: line 1 is no JSON object: b'[1]"),
        (relined(META, '{"id": 1}'), (), f"{META}: line 1 has no text in the field 'asin'"),
        (
            relined(REVIEWS, '{"reviewerID": "", "asin": "", "overall": 1, "unixReviewTime": 1e9}'),
            ("--from", "reviews"),
            f"{REVIEWS}: line 1 is no review of this release",
        ),
        (relined(REVIEWS), ("--from", "reviews"), f"{META}: has none of the 0 items of"),
        (relined(META, '{"asin": "X"}'), (), f"{META}: has none of the 9 items of"),
        (lambda raw: (raw / META).unlink(), (), f"{META}: no such file"),
        (
            relined(RATINGS, "a,b,5.0,1", "a,b,5.0"),
            (),
            f"{RATINGS}: CSV parse error: Row #2: Expected",
        ),
        (relined(RATINGS, "a,b,5.0,x"), (), f"{RATINGS}: In CSV column #3: Row #1: CSV conversion"),
        (relined(RATINGS, "a,b,5.0,NA"), (), "CSV conversion error to int64: invalid value 'NA'"),
        (relined(RATINGS), (), f"{RATINGS}: Empty CSV file"),
        (
            relined(REVIEWS, '{"reviewerID": "A", "asin": "B", "overall": 5.0}'),
            ("--from", "reviews"),
            f"{REVIEWS}: line 1 is no review of this release, with the fields reviewerID, asin, "
            "overall, unixReviewTime ('unixReviewTime')",
        ),
        (
            relined(REVIEWS, '{"reviewerID": 1, "asin": "B", "overall": 5, "unixReviewTime": 1}'),
            ("--from", "reviews"),
            f"{REVIEWS}: line 1 is no review of this release",
        ),
        (
            None,
            ("--set", "Pantri"),
            "'Pantri': no category of the 2018 release; did you mean 'Pantry'?",
        ),
        (
            None,
            ("--release", "2023"),
            "'Pantry': no category of the 2023 release; the nearest of 55 is 'Beauty'",
        ),
        (None, ("--source", "no/where"), "--source no/where: no such folder, and no http or https"),
        (None, ("--core", "6"), "--core 6: leaves nothing of 8 users, 8 items, 47 interactions"),
    ],
)
def test_what_does_not_fit_is_named(
    pantry: Path,
    tmp_path: Path,
    damage: Callable[[Path], object] | None,
    words: tuple[str, ...],
    expected: str | None,
) -> None:
    if damage is not None:
        damage(pantry)
    every = ["--set", "Pantry", "--source", str(pantry), *words]
    if expected is None:
        assert sequences(build(amazon, *every, cache=tmp_path)) == KEPT
        return
    with pytest.raises(UsageError) as error:
        build(amazon, *every, cache=tmp_path)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_header_of_another_release_is_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "Software.csv.gz", ["user_id,parent_id,rating,timestamp", "A,B,5.0,1"])
    write_json(tmp_path / "meta_Software.jsonl.gz", [product_2023(1)])
    words = ("--set", "Software", "--release", "2023", "--source", tmp_path)
    with pytest.raises(
        UsageError, match="csv.gz: no column 'parent_asin'; did you mean 'parent_id'"
    ):
        build(amazon, *words, cache=tmp_path)
