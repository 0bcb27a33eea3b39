"""Building a data set: exact files, whole or not at all; features made only when they must be."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from dataset_builders.building import Settings, build_dataset
from dataset_builders.card import read_card
from dataset_builders.dataset_files import DatasetContent, ItemFeatures
from dataset_builders.encoders import choose
from dataset_builders.encoding import input_digest
from recbole_missrec.data.features import read_features
from recbole_missrec.errors import UsageError

CONTENT = DatasetContent(
    name="shop",
    interactions=pd.DataFrame(
        {"user_id": ["u", "u", "w"], "item_id": ["Tea", "Jam", "Tea"], "timestamp": [0, 1, 7]}
    ),
    features={
        "text": ItemFeatures(["Jam", "Tea"], np.array([[1, 0], [0, 2]], np.float32), "words"),
        "image": ItemFeatures(["Jam", "Tea"], np.array([[0, 0], [3, 4]], np.float32), "pixels"),
    },
    texts={"Jam": "sweet\n jam", "Tea": "green\ttea"},
    categories={"Tea": "hot\n drinks"},
    files={"images/Tea.png": b"picture"},
    label="HAND-MADE",
)


def drawn(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


def content_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_files_and_summary(tmp_path: Path) -> None:
    summary = build_dataset(CONTENT, tmp_path / "sets")
    folder = tmp_path / "sets" / "shop"
    assert (folder / "shop.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\nu\tTea\t0\nu\tJam\t1\nw\tTea\t7\n"
    )
    assert (
        folder / "shop.text.tsv"
    ).read_text() == "item_id\ttext\nJam\tsweet jam\nTea\tgreen tea\n"
    assert (folder / "shop.item").read_text() == "item_id:token\tcategory:token\nTea\thot drinks\n"
    assert (folder / "images" / "Tea.png").read_bytes() == b"picture"
    text, image = (read_features(folder / f"shop.{m}.safetensors") for m in ("text", "image"))
    assert (text.tokens, text.matrix.tolist(), text.encoder) == (
        ["Jam", "Tea"],
        [[1, 0], [0, 2]],
        "words",
    )
    assert (image.tokens, image.matrix.tolist()) == (["Tea"], [[3, 4]])  # a zero row is absent
    assert sorted(content_of(tmp_path / "sets")) == [
        "shop/README.md",
        "shop/card.json",
        "shop/images/Tea.png",
        "shop/lengths.svg",
        "shop/popularity.svg",
        "shop/shop.image.safetensors",
        "shop/shop.inter",
        "shop/shop.item",
        "shop/shop.text.safetensors",
        "shop/shop.text.tsv",
    ]
    assert summary.splitlines() == [
        f"{folder} (HAND-MADE)",
        "  2 users, 2 items, 3 interactions",
        "  text: 2 of 2 items (100.0%), dim 2, words",
        "  image: 1 of 2 items (50.0%), dim 2, pixels; left out: all-zero row (1)",
        f"card: {folder / 'README.md'}",
        f"next: python run_recbole_missrec.py --dataset=shop --data_path={tmp_path / 'sets'}",
    ]


def test_default_folder_needs_no_data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    summary = build_dataset(CONTENT, Path("dataset"))
    assert summary.endswith("next: python run_recbole_missrec.py --dataset=shop")


def test_an_older_data_set_is_replaced_file_by_file(tmp_path: Path) -> None:
    build_dataset(CONTENT, tmp_path)
    (tmp_path / "shop" / "notes.txt").write_text("mine")
    before = content_of(tmp_path / "shop")
    newer = replace(CONTENT, interactions=CONTENT.interactions[:2], features={}, texts={})
    summary = build_dataset(newer, tmp_path)
    after = content_of(tmp_path / "shop")
    stale = {"shop.text.safetensors", "shop.image.safetensors", "shop.text.tsv"}
    assert before.keys() - after.keys() == stale
    assert after.keys() <= before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"shop.inter", "README.md", "card.json", "lengths.svg", "popularity.svg"}
    assert "  kept 1 other files in the folder, such as notes.txt" in summary.splitlines()
    assert summary.endswith(" --model=SASRec")  # MISSRec has nothing to read


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "shop").symlink_to(tmp_path / "elsewhere")
    build_dataset(CONTENT, tmp_path / "sets")
    assert (tmp_path / "elsewhere" / "shop.inter").is_file()
    assert (tmp_path / "sets" / "shop").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "sets"}


def test_a_data_set_that_cannot_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    build_dataset(CONTENT, tmp_path)
    before = content_of(tmp_path)
    twice = ItemFeatures(["Jam", "Jam"], np.ones((2, 2), np.float32), "words")
    broken = replace(CONTENT, interactions=CONTENT.interactions[:1], features={"text": twice})
    with pytest.raises(UsageError, match="two rows for the item 'Jam'"):
        build_dataset(broken, tmp_path)
    assert content_of(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def interactions(user: str, item: str) -> pd.DataFrame:
    return pd.DataFrame({"user_id": ["u", user], "item_id": ["Tea", item], "timestamp": [0, 1]})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "my/shop"}, "--name 'my/shop': not a folder's name; try 'my-shop'"),
        ({"name": ".."}, "--name '..': not a folder's name; try 'my-shop'"),
        ({"interactions": interactions("NA", "Tea")}, "user_id 'NA': RecBole cannot read"),
        ({"interactions": interactions("", "Tea")}, "user_id '': RecBole cannot read"),
        ({"interactions": interactions("u", 'say "tea"')}, "item_id 'say \"tea\"': RecBole cannot"),
        ({"interactions": interactions("u", "T\tea")}, "item_id 'T\\tea': RecBole cannot"),
        ({"interactions": interactions("u", "Tea")[:0]}, "shop: no interactions"),
        (
            {"features": {"text": ItemFeatures(["Tea"], np.zeros((1, 2), np.float32), "words")}},
            "shop: no item has text features",
        ),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, changes: dict, expected: str) -> None:
    with pytest.raises(UsageError) as error:
        build_dataset(replace(CONTENT, **changes), tmp_path)
    assert str(error.value).startswith(expected)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file")
    with pytest.raises(UsageError, match="shop is not a folder"):
        build_dataset(CONTENT, tmp_path)
    with pytest.raises(UsageError, match="cannot make a folder there: Not a directory"):
        build_dataset(CONTENT, tmp_path / "shop")
    assert (tmp_path / "shop").read_text() == "a file"


WORDS = DatasetContent(
    name="words",
    interactions=pd.DataFrame(
        {"user_id": list("uuvv"), "item_id": list("abca"), "timestamp": [0, 1, 0, 1]}
    ),
    texts={"a": "green tea", "b": "green jam", "c": ""},
    pictures={
        "a": (DRAWN := drawn(Image.new("RGB", (5, 4), "red"))),
        "b": b"no picture",
    },
)
ENCODERS = (choose("text", "tfidf"), choose("image", "histogram"))


def test_texts_and_pictures_become_features(tmp_path: Path) -> None:
    summary = build_dataset(WORDS, tmp_path, Settings(ENCODERS, command=("python", "words")))
    folder = tmp_path / "words"
    text, image = (read_features(folder / f"words.{m}.safetensors") for m in ("text", "image"))
    assert (text.tokens, image.tokens) == (["a", "b"], ["a"])
    assert (folder / "images" / "a.png").read_bytes() == DRAWN
    assert (folder / "words.pictures.tsv").read_text() == (
        "item_id\tfile\na\timages/a.png\nb\timages/b.png\n"
    )
    assert text.encoder == f"TF-IDF + truncated SVD of {input_digest(WORDS.texts, ENCODERS[0])[:8]}"
    assert (
        f"  text: 2 of 3 items (66.7%), dim 1, {text.encoder}; left out: empty text (1)"
        in summary.splitlines()
    )
    card = read_card(folder)
    assert card["features"]["text"]["encoder"] == text.encoder
    told = "items without features: 1; without item ids a model ranks them last"
    assert f"  {told}" in summary.splitlines()
    assert f"**{told}.**" in (folder / "README.md").read_text().splitlines()
    assert card["bare"] == 1
    assert card["command"] == "python words"
    assert card["features"]["image"]["not_encoded"] == {"does not decode": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["words"]


def test_features_are_made_again_only_when_they_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_dataset(WORDS, tmp_path, Settings(ENCODERS))
    before = content_of(tmp_path)
    other = replace(WORDS, texts={**WORDS.texts, "c": "black tea"})
    with pytest.raises(
        UsageError, match="^--no-rebuild: .*words.text.safetensors was made of other"
    ):
        build_dataset(other, tmp_path, Settings(ENCODERS, rebuild=False))
    assert content_of(tmp_path) == before

    def encode(*args: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr("dataset_builders.building.encode", encode)
    build_dataset(WORDS, tmp_path, Settings(ENCODERS, rebuild=False))
    assert content_of(tmp_path) == before
    with pytest.raises(AssertionError, match="encoded again"):
        build_dataset(other, tmp_path, Settings(ENCODERS))
    (tmp_path / "words" / "words.text.safetensors").write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="encoded again"):
        build_dataset(WORDS, tmp_path, Settings(ENCODERS))


def test_another_build_of_it_is_running(tmp_path: Path) -> None:
    (tmp_path / ".words.unfinished").mkdir()
    running = pytest.raises(UsageError, match="words: another build of it is running")
    with FileLock(tmp_path / ".words.unfinished" / "lock"), running:
        build_dataset(WORDS, tmp_path, Settings(ENCODERS))


def test_no_item_with_features(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="words: no item has image features: does not decode"):
        broken = replace(WORDS, pictures={"a": b"none"})
        build_dataset(broken, tmp_path, Settings(ENCODERS[1:]))
    with pytest.raises(
        UsageError,
        match="features: the source has nothing to make them of; go without: --image none",
    ):
        build_dataset(replace(WORDS, pictures={}), tmp_path, Settings(ENCODERS[1:]))
    assert list(tmp_path.iterdir()) == []


def test_features_beside_the_card_of_others_are_made_again(tmp_path: Path) -> None:
    # As a build leaves them that is killed after the features and before the card are in place.
    build_dataset(WORDS, tmp_path / "a", Settings(ENCODERS[:1]))
    other = replace(WORDS, texts={"a": "black tea", "b": "black jam", "c": "tea pot"})
    build_dataset(other, tmp_path / "b", Settings(ENCODERS[:1]))
    file = "words/words.text.safetensors"
    shutil.copy(tmp_path / "b" / file, tmp_path / "a" / file)
    build_dataset(other, tmp_path / "a", Settings(ENCODERS[:1]))
    cards = [read_card(tmp_path / folder / "words") for folder in "ab"]
    assert cards[0]["features"] == cards[1]["features"]


def test_finished_texts_survive_pictures_of_which_none_decodes(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.png").mkdir()
    broken = replace(
        WORDS, pictures={"a": tmp_path / "link.png", "b": tmp_path / "folder.png", "c": b"x"}
    )
    with pytest.raises(UsageError) as error:
        build_dataset(broken, tmp_path / "sets", Settings(ENCODERS))
    message = str(error.value)
    assert message.startswith("words: no item has image features: ")
    for reason in ("no such file", "cannot be read", "does not decode"):
        assert reason in message
    assert message.endswith("go without: --image none")
    work = tmp_path / "sets" / ".words.unfinished" / "work"
    assert [path.name for path in work.iterdir()] == ["text"]
    summary = build_dataset(broken, tmp_path / "sets", Settings(ENCODERS[:1]))
    assert summary.endswith(" --modalities=[text]")


def test_a_path_that_breaks_the_table_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "a\tb.png").write_bytes(DRAWN)
    odd = replace(WORDS, pictures={"a": tmp_path / "a\tb.png"})
    with pytest.raises(UsageError, match="its path has a tab or a line break"):
        build_dataset(odd, tmp_path / "sets", Settings(ENCODERS))
