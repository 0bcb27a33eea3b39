"""Whole builds by the command line, out of small files in the true formats on an HTTP server."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_builders.__main__ import main
from dataset_builders.card import read_card
from recbole_missrec.data.features import read_features
from tests.dataset_builders.raw_files import (
    item_token,
    product_2018,
    rated,
    write_json,
    write_lines,
    write_zip,
)
from tests.dataset_builders.servers import Reply, Server, redirect, serving

ENCODERS = ["--text=tfidf", "--image=histogram", "--private-addresses"]
COUNTS = {"users": 5, "items": 5, "interactions": 25}  # of the hand-made case after its 5-core


@pytest.fixture
def replies() -> dict[str, Any]:
    """What the server answers; tests add to it."""
    return {}


@pytest.fixture
def server(replies: dict[str, Any]) -> Iterator[Server]:
    with serving(replies) as running:
        yield running


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), colour).save(buffer, "jpeg")
    return buffer.getvalue()


def run(tmp_path: Path, *words: str) -> tuple[dict[str, Any], Path]:
    """Build a data set; its card and its folder."""
    out, cache = tmp_path / "sets", tmp_path / "cache"
    assert main([*words, "--out", str(out), "--cache", str(cache)]) == 0
    [folder] = out.iterdir()
    assert main(["inspect", str(folder)]) == 0
    return read_card(folder), folder


def put_amazon_2018(server: Server, replies: dict[str, Any], tmp_path: Path, category: str) -> None:
    """Ratings and metadata of a category; pictures with all that may be wrong with them."""
    lines = [f"{item},{user},{rating},{time}" for user, item, rating, time in rated()]
    ratings = write_lines(tmp_path / "ratings.csv", lines)
    products = [
        product_2018(n, imageURLHighRes=[server.url(f"/pictures/{n}.jpg")])
        for n in (1, 2, 3, 4, 5, 6, 7, 9)
    ]
    metadata = write_json(tmp_path / "meta.json.gz", products)
    replies |= {
        f"/categoryFilesSmall/{category}.csv": Reply(ratings.read_bytes()),
        f"/metaFiles2/meta_{category}.json.gz": Reply(metadata.read_bytes()),
        "/pictures/1.jpg": Reply(picture("red")),
        "/pictures/2.jpg": redirect("/moved.jpg"),
        "/moved.jpg": Reply(picture("blue")),
        "/pictures/3.jpg": Reply(picture("green")[:-20]),  # /pictures/4.jpg is not there
        "/pictures/5.jpg": [
            Reply(status=429, headers={"Retry-After": "0"}),
            Reply(picture("white")),
        ],
    }


def test_amazon_2018(server: Server, replies: dict[str, Any], tmp_path: Path) -> None:
    put_amazon_2018(server, replies, tmp_path, "Prime_Pantry")
    words = ["amazon", "--set", "Pantry", "--source", server.url()]
    card, folder = run(tmp_path, *words, *ENCODERS)
    assert card["counts"] == COUNTS
    assert card["published"] == {"users": 13_101, "items": 4_898, "interactions": 126_962}
    assert [source["address"] for source in card["sources"]] == [
        server.url("/categoryFilesSmall/Prime_Pantry.csv"),
        server.url("/metaFiles2/meta_Prime_Pantry.json.gz"),
    ]
    image = card["features"]["image"]
    assert (image["items"], image["not_fetched"]) == (3, {"404": 1, "does not decode": 1})
    features = read_features(folder / "Pantry.image.safetensors")
    assert sorted(features.tokens) == [item_token(n) for n in (1, 2, 5)]
    assert card["features"]["text"]["items"] == 5
    asked = len(server.requests)
    run(tmp_path, *words, *ENCODERS)  # all is in the cache, and what failed is not asked again
    assert len(server.requests) == asked


def test_pictures_at_private_addresses_are_not_asked_for(
    server: Server, replies: dict[str, Any], tmp_path: Path
) -> None:
    put_amazon_2018(server, replies, tmp_path, "Prime_Pantry")
    words = ["amazon", "--set", "Pantry", "--source", server.url(), "--text=tfidf"]
    assert not server.requests
    out = ["--out", str(tmp_path / "sets"), "--cache", str(tmp_path / "cache")]
    assert main([*words, "--image=histogram", *out]) == 2
    assert not [path for path in server.paths() if "pictures" in path]
    assert main([*words, "--image=none", *out]) == 0


def test_amazon_2023(server: Server, replies: dict[str, Any], tmp_path: Path) -> None:
    rows = [f"{user},{item},{rating},{time}000" for user, item, rating, time in rated()]
    ratings = "\n".join(["user_id,parent_asin,rating,timestamp", *rows]).encode()
    products = [
        {"parent_asin": item_token(n), "title": f"Soap {n}", "categories": ["Beauty"]}
        | {"store": "Foam", "details": {}, "images": [{"large": server.url(f"/{n}.jpg")}]}
        for n in (1, 2, 3, 4, 5, 6, 7, 9)
    ]
    metadata = "\n".join(map(json.dumps, products)).encode()
    replies |= {
        "/benchmark/0core/rating_only/All_Beauty.csv.gz": Reply(gzip.compress(ratings)),
        "/raw/meta_categories/meta_All_Beauty.jsonl.gz": Reply(gzip.compress(metadata)),
        "/1.jpg": Reply(picture("red")),
    }
    words = ["amazon", "--set", "Beauty", "--release", "2023", "--source", server.url()]
    card, folder = run(tmp_path, *words, *ENCODERS)
    assert (card["name"], card["counts"]) == ("Beauty-2023", COUNTS)
    assert card["features"]["image"]["not_fetched"] == {"404": 4}
    times = (folder / "Beauty-2023.inter").read_text().splitlines()[1].split("\t")[2]
    assert float(times) == 1_400_000_000 - 5 * 86_400


def test_corpus(server: Server, replies: dict[str, Any], tmp_path: Path) -> None:
    for category in ("Grocery_and_Gourmet_Food", "Kindle_Store"):
        put_amazon_2018(server, replies, tmp_path, category)
    words = ["corpus", "--sets", "Food,Kindle", "--source", server.url()]
    card, folder = run(tmp_path, *words, *ENCODERS)
    assert (card["name"], card["counts"]) == ("FK", {key: 2 * n for key, n in COUNTS.items()})
    tokens = read_features(folder / "FK.image.safetensors").tokens
    expected = [f"{domain}:{item_token(n)}" for domain in ("Food", "Kindle") for n in (1, 2, 5)]
    assert sorted(tokens) == expected


def test_movielens(server: Server, replies: dict[str, Any], tmp_path: Path) -> None:
    archive = write_zip(
        tmp_path / "ml-1m.zip",
        {
            "ml-1m/ratings.dat": b"1::10::5::3\n1::20::4::1\n2::10::3::2\n",
            "ml-1m/movies.dat": "10::Les Misérables (1995)::Drama\n20::Home::War\n".encode(
                "latin-1"
            ),
        },
    )
    posters = f"movie\taddress\n10\t{server.url('/10.jpg')}\n".encode()
    replies |= {"/mirror": Reply(archive.read_bytes()), "/10.jpg": Reply(picture("red"))}
    (tmp_path / "posters.tsv").write_bytes(posters)
    words = ["--source", server.url("/mirror"), "--posters", str(tmp_path / "posters.tsv")]
    card, folder = run(tmp_path, "movielens", "--set", "1m", *words, *ENCODERS)
    assert card["counts"] == {"users": 2, "items": 2, "interactions": 3}
    assert card["published"] == {"users": 6_040, "interactions": 1_000_209}
    texts = (folder / "ml-1m.text.tsv").read_text().splitlines()[1:]
    assert texts == ["10\tLes Misérables 1995 Drama", "20\tHome War"]
    assert read_features(folder / "ml-1m.image.safetensors").tokens == ["10"]


def test_lastfm(server: Server, replies: dict[str, Any], tmp_path: Path) -> None:
    log = "".join(
        f"user_{user}\t2009-05-04T10:0{minute}:00Z\tid-{artist}\t{artist}\t\tSong\n"
        for user, minute, artist in ((1, 3, "Blur"), (1, 1, "Pulp"), (2, 2, "Blur"))
    ).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("1K/userid-timestamp-artid-artname-traid-traname.tsv")
        member.size = len(log)
        tar.addfile(member, io.BytesIO(log))
    replies["/lastfm-dataset-1K.tar.gz"] = Reply(buffer.getvalue())
    words = [
        "lastfm",
        "--source",
        server.url("/lastfm-dataset-1K.tar.gz"),
        "--core",
        "0",
        "--text=tfidf",
    ]
    card, folder = run(tmp_path, *words)
    assert card["counts"] == {"users": 2, "items": 2, "interactions": 3}
    rows = (folder / "lastfm-1k.inter").read_text().splitlines()[1:]
    assert [row.split("\t")[1] for row in rows] == ["id-Pulp", "id-Blur", "id-Blur"]


def test_tabular(server: Server, replies: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "tea.jpg").write_bytes(picture("green"))
    replies["/jam"] = Reply(picture("red"))
    orders = "who,sku,when\nAnn,tea,2024-05-31\nAnn,jam,2024-06-01\nBob,tea,2024-05-30\n"
    (tmp_path / "shop" / "orders.csv").write_text(orders)
    items = f"sku,name,photo\ntea,Green tea,tea.jpg\njam,Plum jam,{server.url('/jam')}\n"
    (tmp_path / "shop" / "items.csv").write_text(items)
    words = ["--user", "who", "--item", "sku", "--time", "when"]
    words += ["--items", str(tmp_path / "shop" / "items.csv"), "--name", "tea-shop"]
    words += ["--text-columns", "name", "--picture-column", "photo"]
    card, folder = run(
        tmp_path, "tabular", str(tmp_path / "shop" / "orders.csv"), *words, *ENCODERS
    )
    assert card["counts"] == {"users": 2, "items": 2, "interactions": 3}
    assert sorted(read_features(folder / "tea-shop.image.safetensors").tokens) == ["jam", "tea"]
    pictures = dict(
        line.split("\t") for line in (folder / "tea-shop.pictures.tsv").read_text().splitlines()[1:]
    )
    assert pictures["tea"] == str(tmp_path / "shop" / "tea.jpg")
    assert Path(pictures["jam"]).read_bytes() == picture("red")


def test_mmrec(tmp_path: Path) -> None:
    baby = tmp_path / "baby"
    lines = ["userID\titemID\trating\ttimestamp\tx_label", "0\t1\t5.0\t30\t0", "0\t0\t4.0\t10\t2"]
    write_lines(baby / "baby.inter", lines)
    np.save(baby / "text_feat.npy", np.array([[1, 2], [3, 4]], np.float32))
    np.save(baby / "image_feat.npy", np.array([[1, 2], [3, 4]], np.float32))
    card, folder = run(tmp_path, "mmrec", str(baby), "--name", "Baby", "--image=none")
    assert card["features"].keys() == {"text"}
    assert card["counts"] == {"users": 1, "items": 2, "interactions": 2}
    assert read_features(folder / "Baby.text.safetensors").matrix.tolist() == [[1, 2], [3, 4]]
