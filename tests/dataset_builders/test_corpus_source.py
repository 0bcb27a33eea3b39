"""The mixed corpus: categories that share users and items, and stay apart."""

from pathlib import Path

import pytest

from dataset_builders.sources import corpus
from recbole_missrec.errors import UsageError
from tests.dataset_builders.raw_files import (
    KEPT,
    PICTURES,
    build,
    item_token,
    sequences,
    write_2018,
    written,
)


def test_domains_of_a_corpus_stay_apart(tmp_path: Path) -> None:
    for category in ("Grocery_and_Gourmet_Food", "Kindle_Store"):
        write_2018(tmp_path, category)
    words = ("--sets", "Food,Kindle", "--source", tmp_path)
    content = build(corpus, *words, cache=tmp_path)
    assert content.name == "FK"
    assert sequences(content) == {
        f"{domain}:{user}": [f"{domain}:{item}" for item in items]
        for domain in ("Food", "Kindle")
        for user, items in KEPT.items()
    }
    assert len(content.texts) == len(content.pictures) == 8
    assert content.texts[f"Kindle:{item_token(2)}"] == "2 Jam pot. Grocery Tea & Jam."
    assert content.categories[f"Kindle:{item_token(2)}"] == "Tea & Jam"
    assert content.pictures[f"Food:{item_token(2)}"] == f"{PICTURES}/2.jpg"
    assert content.origin.steps[3] == ("Food: 5-core", "5 users, 5 items, 25 interactions")
    assert [source.path.name for source in content.origin.sources] == [
        "Grocery_and_Gourmet_Food.csv",
        "meta_Grocery_and_Gourmet_Food.json.gz",
        "Kindle_Store.csv",
        "meta_Kindle_Store.json.gz",
    ]
    assert content.origin.published == {}
    assert len(written(content, tmp_path / "out")) == 50


def test_the_published_corpus(tmp_path: Path) -> None:
    names = ("Grocery_and_Gourmet_Food", "Home_and_Kitchen", "CDs_and_Vinyl", "Kindle_Store")
    for category in (*names, "Movies_and_TV"):
        write_2018(tmp_path, category)
    content = build(corpus, "--source", tmp_path, cache=tmp_path)
    assert content.name == "FHCKM"
    assert content.interactions["user_id"].nunique() == 25
    assert content.origin.published["interactions"] == 14_029_229


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("Food,Food", "--sets Food,Food: 'Food' is named twice"),
        ("Pantry,Prime_Pantry", "--sets Pantry,Prime_Pantry: 'Pantry' is named twice"),
        ("Foot", "'Foot': no category of the 2018 release; did you mean 'Food'?"),
    ],
)
def test_sets_that_cannot_be(tmp_path: Path, sets: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        build(corpus, "--sets", sets, "--source", tmp_path, cache=tmp_path)
    assert str(error.value) == message
