"""The authors' layout: a hand-made release of two users, and the real Scientific."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.config import Config
from recbole.data.dataset import SequentialDataset

from dataset_builders.__main__ import main
from recbole_missrec.data.features import item_rows, read_features

HEADER = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
TEXT = np.array([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]], dtype="<f4")
IMAGE = np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3], [0, 0, 0], [5, 5, 5]], dtype="<f4")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Ann bought a b c d e a, Bob e d c b; windows are cut to the last 3 items."""
    folder = tmp_path / "release"
    folder.mkdir()
    for suffix, content in {
        "train.inter": HEADER + "0\t0 1 2\t3\n0\t0 1\t2\n0\t0\t1\n1\t4\t3\n",
        "valid.inter": HEADER + "0\t1 2 3\t4\n1\t4 3\t2\n",
        "test.inter": HEADER + "0\t2 3 4\t0\n1\t4 3 2\t1\n",
        "user2index": "Bob\t1\nAnn\t0\n",
        "item2index": "e\t4\nd\t3\na\t0\nb\t1\nc\t2\n",
        "text": 'item_id:token\ttext:token_seq\nb\tsome 8" bolts\na\tNA\n',
    }.items():
        (folder / f"Old.{suffix}").write_text(content)
    TEXT.tofile(folder / "Old.feat1CLS")
    IMAGE.tofile(folder / "Old.feat3CLS")
    return folder


def build(folder: Path) -> int:
    return main(["released", str(folder), "--name", "New", "--out", str(folder.parent / "out")])


def test_sequences_features_and_texts(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(release) == 0
    out = release.parent / "out" / "New"
    assert (out / "New.inter").read_text().splitlines() == [
        "user_id:token\titem_id:token\ttimestamp:float",
        *("Ann\ta\t0", "Ann\tb\t1", "Ann\tc\t2", "Ann\td\t3", "Ann\te\t4", "Ann\ta\t5"),
        *("Bob\te\t0", "Bob\td\t1", "Bob\tc\t2", "Bob\tb\t3"),
    ]
    text, image = (read_features(out / f"New.{m}.safetensors") for m in ("text", "image"))
    assert (text.tokens, text.matrix.tolist()) == (list("abcde"), TEXT.tolist())
    assert (image.tokens, image.matrix.tolist()) == (list("abce"), IMAGE[[0, 1, 2, 4]].tolist())
    assert (text.encoder, image.encoder) == ("released feat1CLS", "released feat3CLS")
    assert (out / "New.text.tsv").read_text() == 'item_id\ttext\nb\tsome 8" bolts\na\tNA\n'
    assert "image: 4 of 5 items (80.0%), dim 3, released feat3CLS; left out: all-zero row (1)" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("absent", "made"),
    [("feat1CLS", {"image"}), ("feat3CLS", {"text"}), ("text", {"text", "image"})],
)
def test_what_may_be_missing(release: Path, absent: str, made: set[str]) -> None:
    (release / f"Old.{absent}").unlink()
    assert build(release) == 0
    out = release.parent / "out" / "New"
    assert {path.name.split(".")[1] for path in out.glob("*.safetensors")} == made
    assert (out / "New.text.tsv").is_file() == (absent != "text")


def replaced(suffix: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / f"Old.{suffix}"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    return damage


def removed(*suffixes: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for suffix in suffixes:
            (folder / f"Old.{suffix}").unlink()

    return damage


def rows(suffix: str, matrix: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: matrix.tofile(folder / f"Old.{suffix}")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (replaced("train.inter", "0\t0\t1\n", ""), "Old.train.inter: with those of .valid.inter"),
        (replaced("train.inter", "1\t4\t3", "1\t4\t0"), "the rows of user '1' are not the rows"),
        (replaced("valid.inter", "1\t4 3\t2\n", ""), "the rows of user '1' are not the rows"),
        (replaced("test.inter", "0\t2 3 4", "0\t2 3 1"), "the rows of user '0' are not the rows"),
        (replaced("test.inter", "item_id:token", "item:token"), "Old.test.inter: its header must"),
        (replaced("test.inter", "\t1\n", "\n"), "Old.test.inter: line 3 has an empty column"),
        (removed("valid.inter"), "Old.valid.inter: no such file"),
        (removed("train.inter"), "has 0 files PREFIX.train.inter, not one"),
        (removed("item2index"), "Old.item2index: no such file"),
        (removed("feat1CLS", "feat3CLS"), "no feature file, Old.feat1CLS or Old.feat3CLS"),
        (replaced("user2index", "Ann\t0\n", ""), "Old.user2index: no line for number '0'"),
        (replaced("item2index", "e\t4", "e\t7"), "Old.item2index: no line for number '4'"),
        (replaced("item2index", "e\t4", "e\t3"), "Old.item2index: '3' occurs twice"),
        (replaced("item2index", "e\t4", "d\t4"), "Old.item2index: 'd' occurs twice"),
        (replaced("item2index", "\t", " "), "Old.item2index: has 1 columns, not 2"),
        (rows("feat3CLS", IMAGE[:4]), "Old.feat3CLS: its 48 bytes are not 5 rows of float32"),
        (rows("feat3CLS", IMAGE[:0]), "Old.feat3CLS: its 0 bytes are not 5 rows of float32"),
        (
            rows("feat1CLS", np.where(TEXT == 2, np.nan, TEXT)),
            "Old.feat1CLS: NaN or infinite values for item 'a'",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    release: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    expected: str,
) -> None:
    damage(release)
    assert build(release) == 2
    output = capsys.readouterr()
    assert expected in output.err
    assert len(output.err.splitlines()) == 1
    assert not (release.parent / "out").exists()


@pytest.fixture(scope="module")
def scientific(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("released")
    folder = str(real_data / "Scientific")
    assert main(["released", folder, "--name", "Scientific", "--out", str(out)]) == 0
    return out


def raw_tokens(file: Path) -> list[str]:
    table = pd.read_csv(file, sep="\t", header=None, index_col=1, dtype={0: str})
    return table[0].sort_index().tolist()


def test_recbole_gives_back_the_rows_of_scientific(
    scientific: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])
    config = Config(
        model="SASRec",
        dataset="Scientific",
        config_dict={
            "data_path": str(scientific),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
            "train_neg_sample_args": None,
        },
    )
    dataset = SequentialDataset(config)
    assert (dataset.user_num - 1, dataset.item_num - 1) == (2928, 1585)
    parts = dataset.build()
    users, items = (
        raw_tokens(real_data / "Scientific" / f"Scientific.{kind}2index")
        for kind in ("user", "item")
    )
    for name, part in zip(("train", "valid", "test"), parts, strict=True):
        file = real_data / "Scientific" / f"Scientific.{name}.inter"
        table = pd.read_csv(file, sep="\t", dtype=str)
        expected = {
            (
                users[int(user)],
                tuple(items[int(item)] for item in window.split()),
                items[int(target)],
            )
            for user, window, target in table.itertuples(index=False)
        }
        inter = part.inter_feat
        user_tokens = dataset.id2token("user_id", inter["user_id"])
        targets = dataset.id2token("item_id", inter["item_id"])
        windows = dataset.id2token("item_id", inter["item_id_list"])
        lengths = inter["item_length"].tolist()
        actual = {
            (user, tuple(window[:length]), target)
            for user, window, length, target in zip(
                user_tokens, windows, lengths, targets, strict=True
            )
        }
        assert len(inter) == len(table)
        assert actual == expected


@pytest.mark.parametrize(("modality", "suffix"), [("text", "feat1CLS"), ("image", "feat3CLS")])
def test_features_of_scientific_keep_their_items(
    scientific: Path, real_data: Path, modality: str, suffix: str
) -> None:
    folder = real_data / "Scientific"
    file = read_features(scientific / "Scientific" / f"Scientific.{modality}.safetensors")
    token2id = {
        token: row + 1 for row, token in enumerate(raw_tokens(folder / "Scientific.item2index"))
    }
    row, unknown = item_rows(file, {"[PAD]": 0} | token2id, 1586)
    released = np.fromfile(folder / f"Scientific.{suffix}", "<f4").reshape(1585, 512)
    assert torch.equal(file.matrix[row[1:]], torch.from_numpy(released))
    assert (int(row[1:].min()), unknown) == (0, 0)
