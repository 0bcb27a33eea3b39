"""Texts with words dropped, and the features that are made of them beside those of the texts."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset_builders.__main__ import main
from dataset_builders.building import Settings, build_dataset
from dataset_builders.card import read_card
from dataset_builders.dataset_files import DatasetContent
from dataset_builders.encoders import choose
from dataset_builders.encoders.interface import Encoder
from dataset_builders.encoding import encode
from dataset_builders.word_drop import drop_words
from recbole_missrec.config import Config
from recbole_missrec.data.features import read_features
from recbole_missrec.data.locate import find_files
from recbole_missrec.errors import UsageError
from tests.dataset_builders.tiny_networks import save_bert

ALPHABET = [f"w{number}" for number in range(50)]


def test_words_keep_their_order_and_each_is_dropped_at_the_rate() -> None:
    texts = {f"i{number}": " ".join(ALPHABET) for number in range(400)}
    dropped = drop_words(texts, 0.2)
    assert list(dropped) == list(texts)
    kept = [text.split() for text in dropped.values()]
    assert all(words == sorted(words, key=ALPHABET.index) for words in kept)
    draws = 400 * 50
    deviation = math.sqrt(draws * 0.2 * 0.8)
    assert abs(draws - sum(map(len, kept)) - draws * 0.2) < 5 * deviation
    for word in ALPHABET:  # whatever its place
        missing = sum(word not in words for words in kept)
        assert abs(missing - 80) < 5 * math.sqrt(400 * 0.2 * 0.8)


def test_a_text_never_loses_all_its_words() -> None:
    texts = {f"i{number}": "red  tea" for number in range(200)} | {"none": "", "blank": " "}
    dropped = drop_words(texts, 0.9)
    assert (dropped.pop("none"), dropped.pop("blank")) == ("", "")
    assert set(dropped.values()) == {"red", "tea", "red tea"}


def test_draws_depend_on_seed_and_item_alone() -> None:
    texts = {f"i{number}": " ".join(ALPHABET) for number in range(20)}
    dropped = drop_words(texts, 0.2, seed=3)
    assert drop_words(dict(reversed(texts.items())), 0.2, seed=3) == dropped
    assert drop_words({"i7": texts["i7"]}, 0.2, seed=3) == {"i7": dropped["i7"]}
    assert len(set(dropped.values())) == 20
    assert drop_words(texts, 0.2, seed=4) != dropped


SHOP = DatasetContent(
    name="shop",
    interactions=pd.DataFrame(
        {"user_id": list("uuvv"), "item_id": list("abca"), "timestamp": [0, 1, 0, 1]}
    ),
    texts={
        "a": "small red tea pot with the green bag of blue tea",
        "b": "large jam pot of the small blue tea bag",
        "c": "",
    },
)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def encoder(bert: Path) -> Encoder:
    return choose("text", "bert", model=str(bert))


def test_augmented_features_stand_beside_the_others(tmp_path: Path, encoder: Encoder) -> None:
    settings = Settings((encoder,), word_drop=0.3)
    summary = build_dataset(SHOP, tmp_path / "sets", settings)
    folder = tmp_path / "sets" / "shop"
    plain = read_features(folder / "shop.text.safetensors")
    augmented = read_features(folder / "augmented" / "shop.text.safetensors")
    assert augmented.tokens == plain.tokens == ["a", "b"]
    assert augmented.encoder == plain.encoder
    dropped = drop_words(SHOP.texts, 0.3)
    assert dropped["a"] != SHOP.texts["a"]
    expected = encode(dropped, encoder, tmp_path / "work")
    assert expected is not None
    np.testing.assert_array_equal(augmented.matrix.numpy(), expected.features.matrix)
    assert augmented.made_of == expected.digest != plain.made_of
    options = {"data_path": str(folder.parent), "modalities": None}
    config = Config("LastItem", "shop", config_dict=options)
    find_files(config)
    assert config["modalities"] == ["text"]  # not taken for one
    lines = summary.splitlines()
    assert lines[3] == lines[2].replace("text: ", "text, augmented: ")
    assert "| text, augmented | 2 of 3 items" in (folder / "README.md").read_text()
    card = read_card(folder)
    assert card["augmented"]["text"]["made_of"] == augmented.made_of
    assert "augmented/shop.text.safetensors" in card["files"]
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["shop"]


def test_the_option_leaves_all_other_files_as_they_are(tmp_path: Path, encoder: Encoder) -> None:
    build_dataset(SHOP, tmp_path / "with", Settings((encoder,), word_drop=0.2))
    build_dataset(SHOP, tmp_path / "without", Settings((encoder,)))
    files = sorted(path.name for path in (tmp_path / "without" / "shop").iterdir())
    assert "augmented" not in files
    for name in files:
        if name not in ("README.md", "card.json"):
            ours, others = (tmp_path / f"{way}/shop/{name}" for way in ("with", "without"))
            assert ours.read_bytes() == others.read_bytes()


def test_they_are_made_again_only_when_they_must_be(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_dataset(SHOP, tmp_path, Settings((encoder,), word_drop=0.2))
    file = tmp_path / "shop" / "augmented" / "shop.text.safetensors"
    before = file.read_bytes()
    with pytest.raises(UsageError, match="--no-rebuild: .*augmented/shop.text.safetensors was"):
        build_dataset(SHOP, tmp_path, Settings((encoder,), rebuild=False, word_drop=0.5))
    with monkeypatch.context() as patch:
        patch.setattr("dataset_builders.building.encode", None)  # would fail if it were called
        build_dataset(SHOP, tmp_path, Settings((encoder,), word_drop=0.2))
    assert file.read_bytes() == before
    build_dataset(SHOP, tmp_path, Settings((encoder,), word_drop=0.5))
    assert file.read_bytes() != before
    build_dataset(SHOP, tmp_path, Settings((encoder,)))
    assert not file.exists()


def test_an_encoder_that_learns_its_space_of_the_texts_is_refused(tmp_path: Path) -> None:
    tfidf = choose("text", "tfidf")
    with pytest.raises(UsageError, match="another space of the augmented texts; choose another"):
        build_dataset(SHOP, tmp_path, Settings((tfidf,), word_drop=0.2))
    with pytest.raises(UsageError, match="--augmented-text: nothing is encoded as text"):
        build_dataset(replace(SHOP, texts={}), tmp_path, Settings(word_drop=0.2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--augmented-text=0"], "--augmented-text 0: must be above 0 and below 1, like 0.2"),
        (["--augmented-text", "1.5"], "--augmented-text 1.5: must be above 0 and below 1"),
        (["--augmented-text=x"], "argument --augmented-text: invalid float value: 'x'"),
        (["--augmented-text", "--text=none"], "--augmented-text: nothing is encoded as text"),
        (["--augmented-text", "--text=tfidf"], "--augmented-text: TF-IDF + truncated SVD would"),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sample", "--image=none", "--items=60", "--users=60", "--out", str(tmp_path)]
    assert main([*command, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(expected) and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_sample_shop_by_the_command_line(
    tmp_path: Path, bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sample", "--users=600", "--image=none", "--text=bert", f"--text-model={bert}"]
    assert main([*command, "--augmented-text", "--out", str(tmp_path)]) == 0
    assert "  text, augmented: 600 of 600 items (100.0%), dim 32" in capsys.readouterr().out
    folder = tmp_path / "pantry-sample"
    plain = read_features(folder / "pantry-sample.text.safetensors")
    augmented = read_features(folder / "augmented" / "pantry-sample.text.safetensors")
    assert plain.tokens == augmented.tokens
    same = (plain.matrix == augmented.matrix).all(1).float().mean()
    assert 0 < same < 0.5  # short texts may lose no word
