"""The layout of the MMRec toolbox: a hand-made folder of three items."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset_builders.sources import mmrec
from recbole_missrec.errors import UsageError
from tests.dataset_builders.raw_files import build, sequences, write_lines, written

TEXT = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], dtype=np.float64)
IMAGE = np.array([[1, 1, 1], [0, 0, 0], [3, 3, 3], [4, 4, 4]], dtype=np.float32)
HEADER = "userID\titemID\trating\ttimestamp\tx_label"
ROWS = ["0\t2\t5.0\t30\t0", "0\t0\t4.0\t10\t2", "0\t1\t4.0\t20\t0", "1\t2\t1.0\t7\t1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(tmp_path / "baby" / "baby.inter", [HEADER, *ROWS])
    np.save(tmp_path / "baby" / "text_feat.npy", TEXT)
    np.save(tmp_path / "baby" / "image_feat.npy", IMAGE)
    return tmp_path / "baby"


def test_interactions_by_time_and_features_by_number(folder: Path, tmp_path: Path) -> None:
    content = build(mmrec, folder, "--name", "Baby", cache=tmp_path)
    assert sequences(content) == {"0": ["0", "1", "2"], "1": ["2"]}
    assert written(content, tmp_path / "out") == ["0\t0\t10", "0\t1\t20", "0\t2\t30", "1\t2\t7"]
    text, image = content.features["text"], content.features["image"]
    assert text.tokens == image.tokens == ["0", "1", "2", "3"]
    assert (text.matrix.tolist(), text.matrix.dtype) == (TEXT.tolist(), np.float32)
    assert image.matrix.tolist() == IMAGE.tolist()
    assert (text.encoder, image.encoder) == ("MMRec text_feat.npy", "MMRec image_feat.npy")
    assert [source.path.name for source in content.origin.sources] == [
        "baby.inter",
        "text_feat.npy",
        "image_feat.npy",
    ]
    assert content.origin.steps[0] == ("interactions", "2 users, 3 items, 4 interactions")


@pytest.mark.parametrize(
    ("absent", "left"), [("text_feat.npy", "image"), ("image_feat.npy", "text")]
)
def test_one_modality_is_enough(folder: Path, tmp_path: Path, absent: str, left: str) -> None:
    (folder / absent).unlink()
    assert list(build(mmrec, folder, "--name", "Baby", cache=tmp_path).features) == [left]


def lines(*rows: str) -> Callable[[Path], object]:
    return lambda folder: write_lines(folder / "baby.inter", rows)


def saved(name: str, matrix: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, matrix)


def without_features(folder: Path) -> None:
    for name in ("text_feat.npy", "image_feat.npy"):
        (folder / name).unlink()


def pickled(folder: Path) -> None:
    np.save(folder / "text_feat.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (without_features, "no feature file, text_feat.npy or image_feat.npy"),
        (pickled, "text_feat.npy: Object arrays cannot be loaded when allow_pickle=False"),
        (lambda folder: (folder / "text_feat.npy").write_bytes(b"?"), "text_feat.npy: "),
        (
            lambda folder: (folder / "text_feat.npy").write_bytes(
                (folder / "text_feat.npy").read_bytes()[:-9]
            ),
            "text_feat.npy: ",
        ),
        (saved("text_feat.npy", TEXT[:2]), "text_feat.npy: has 2 rows, but "),
        (saved("text_feat.npy", TEXT[0]), "text_feat.npy: not a matrix of numbers, a row for each"),
        (saved("text_feat.npy", TEXT.astype(str)), "text_feat.npy: not a matrix of numbers"),
        (
            saved("image_feat.npy", np.where(IMAGE == 3, np.inf, IMAGE)),
            "image_feat.npy: NaN or infinite values in row 2, from 0",
        ),
        (lambda folder: (folder / "baby.inter").unlink(), "has 0 files ANY.inter, not one"),
        (lambda folder: (folder / "other.inter").touch(), "has 2 files ANY.inter, not one"),
        (
            lines("userID\titemID\tx_label", "0\t1\t0"),
            "baby.inter: no column 'timestamp', without which events have no order",
        ),
        (lines("userID\titem\ttimestamp", "0\t1\t0"), "no column 'itemID'; did you mean 'item'?"),
        (
            lines(HEADER, "0\tB00\t5.0\t1\t0"),
            "baby.inter: In CSV column #1: Row #2: CSV conversion",
        ),
        (lines(HEADER, "0\t1\t5.0\tnan\t0"), "baby.inter: row 1 of data has no timestamp"),
        (lines(HEADER), "no interactions in the files of the source"),
        (lines(HEADER, "0\t-1\t5.0\t1\t0"), "baby.inter: has itemID -1; they count from 0"),
    ],
)
def test_what_does_not_fit_is_named(
    folder: Path, tmp_path: Path, damage: Callable[[Path], object], expected: str
) -> None:
    damage(folder)
    with pytest.raises(UsageError) as error:
        build(mmrec, folder, "--name", "Baby", cache=tmp_path)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DIR .*/none: no such folder"):
        build(mmrec, tmp_path / "none", "--name", "Baby", cache=tmp_path)
