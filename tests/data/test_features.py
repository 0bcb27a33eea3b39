"""The feature file: what is written is read back, and what is damaged is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from recbole_missrec.data.features import (
    feature_digest,
    item_rows,
    read_features,
    write_features,
)
from recbole_missrec.errors import UsageError

TOKENS = ["B1", "B2", "B3"]
MATRIX = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "shop.text.safetensors"
    write_features(file, TOKENS, MATRIX, "a hand-made encoder")
    return file


def rewrite(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Change tensors and metadata of a file behind the back of ``write_features``."""
    with safe_open(path, framework="pt") as file:
        old_metadata = file.metadata()
        old = {name: file.get_tensor(name).clone() for name in ("features", "tokens")}
    save_file(old | tensors, path, old_metadata | metadata)


def message(path: Path) -> str:
    with pytest.raises(UsageError) as error:
        read_features(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_what_is_written_is_read_back(path: Path) -> None:
    file = read_features(path)
    assert file.tokens == TOKENS
    assert torch.equal(file.matrix, MATRIX)
    assert file.matrix.dtype == torch.float32
    assert file.encoder == "a hand-made encoder"
    assert len(file.digest) == 64
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_float16_stays_float16(tmp_path: Path) -> None:
    write_features(tmp_path / "f", TOKENS, MATRIX.numpy().astype(np.float16), "e")
    assert torch.equal(read_features(tmp_path / "f").matrix, MATRIX.half())


def test_others_may_read_the_file(path: Path, tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_digest_depends_on_tokens_and_on_features_only(tmp_path: Path) -> None:
    def digest(tokens: list[str], matrix: torch.Tensor, encoder: str) -> str:
        write_features(tmp_path / "f", tokens, matrix, encoder)
        return read_features(tmp_path / "f").digest

    first = digest(TOKENS, MATRIX, "e")
    assert digest(TOKENS, MATRIX, "another encoder") == first
    assert digest(["B1", "B2", "B4"], MATRIX, "e") != first
    assert digest(TOKENS, MATRIX + 1, "e") != first


@settings(max_examples=50, deadline=None)
@given(tokens=st.lists(st.text().filter(lambda t: "\n" not in t), min_size=1, unique=True))
def test_any_unicode_token_is_kept(
    tokens: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "unicode.text.safetensors"
    write_features(path, tokens, torch.zeros(len(tokens), 1), "e")
    assert read_features(path).tokens == tokens


@pytest.mark.parametrize(
    ("tokens", "matrix", "expected"),
    [
        (["B1", "B1", "B3"], MATRIX, "two rows for the item 'B1'"),
        (["B1", "B\n2", "B3"], MATRIX, "the item token 'B\\n2' has a line break"),
        (["B1", "B2", "\ud800"], MATRIX, "not valid Unicode"),
        (["B1", "B2"], MATRIX, "2 item tokens for 3 feature rows"),
        (TOKENS, MATRIX.double(), "must be float16 or float32 [rows, dim], not float64 [3, 2]"),
        (TOKENS, MATRIX[:, 0], "not float32 [3]"),
        ([], MATRIX[:0], "not float32 [0, 2]"),
        (
            TOKENS,
            torch.tensor([[1.0], [float("inf")], [float("nan")]]),
            "NaN or infinite values for the item 'B2'",
        ),
    ],
)
def test_what_is_no_valid_file_is_not_written(
    path: Path, tokens: list[str], matrix: torch.Tensor, expected: str
) -> None:
    before = path.read_bytes()
    with pytest.raises(UsageError) as error:
        write_features(path, tokens, matrix, "e")
    assert expected in str(error.value)
    assert path.read_bytes() == before


def test_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    assert "python -m dataset_builders --help" in message(tmp_path / "shop.text.safetensors")


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_truncated_file(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    assert "truncated, or not a safetensors file" in message(path)


def test_a_changed_byte_is_noticed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "does not fit its digest" in message(path)


@pytest.mark.parametrize(
    ("tensors", "metadata", "expected"),
    [
        ({}, {"format": "another"}, "its format is 'another', not 'recbole_missrec.features'"),
        ({}, {"version": "2"}, "its version is '2', not '1'"),
        ({}, {"digest": "0"}, "does not fit its digest"),
        ({"features": MATRIX.bfloat16()}, {}, "not bfloat16 [3, 2]"),
        ({"features": MATRIX[0].clone()}, {}, "not float32 [2]"),
        ({"tokens": torch.zeros(3)}, {}, "'tokens' must be uint8 [bytes], not float32 [3]"),
    ],
)
def test_wrong_content(
    path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str], expected: str
) -> None:
    rewrite(path, tensors, metadata)
    assert expected in message(path)


def encoded(tokens: str) -> torch.Tensor:
    return torch.tensor(list(tokens.encode()), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"tokens": encoded("B1\nB2\nB1")}, "two rows for the item 'B1'"),
        ({"tokens": encoded("B1\nB2")}, "2 item tokens for 3 feature rows"),
        ({"tokens": torch.tensor([255], dtype=torch.uint8)}, "'tokens' is not UTF-8"),
        ({"features": MATRIX / torch.tensor([[1.0], [1.0], [0.0]])}, "for the item 'B3'"),
    ],
)
def test_wrong_content_under_a_fitting_digest(
    path: Path, tensors: dict[str, torch.Tensor], expected: str
) -> None:
    whole = {"features": MATRIX, "tokens": encoded("B1\nB2\nB3")} | tensors
    rewrite(path, whole, {"digest": feature_digest(whole["tokens"], whole["features"])})
    assert expected in message(path)


@pytest.mark.parametrize("name", ["features", "tokens"])
def test_missing_tensor(path: Path, name: str) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = {"features": MATRIX, "tokens": encoded("B1\nB2\nB3")}
    del tensors[name]
    save_file(tensors, path, metadata)
    assert f"it lacks the tensor '{name}'" in message(path)


@pytest.mark.parametrize("key", ["format", "version", "encoder", "digest"])
def test_missing_metadata(path: Path, key: str) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != key}
    save_file({"features": MATRIX, "tokens": encoded("B1\nB2\nB3")}, path, metadata)
    assert f"its metadata lacks '{key}'" in message(path)


def test_rows_are_joined_by_token(path: Path) -> None:
    """B2 is not in the data set, X and Y are not in the file; the padding item has no features."""
    token2id = {"[PAD]": 0, "X": 1, "B3": 2, "Y": 3, "B1": 4}
    row, unknown = item_rows(read_features(path), token2id, item_num=5)
    assert (row.tolist(), unknown) == ([-1, -1, 2, -1, 0], 1)


def test_a_row_named_like_the_padding_item_is_unknown(tmp_path: Path) -> None:
    write_features(tmp_path / "f", ["[PAD]", "B1"], MATRIX[:2].half(), "e")
    file = read_features(tmp_path / "f")
    row, unknown = item_rows(file, {"[PAD]": 0, "B1": 1}, item_num=2)
    assert (row.tolist(), unknown) == ([-1, 1], 1)


def test_no_common_item_names_one_of_each_side(path: Path) -> None:
    with pytest.raises(UsageError) as error:
        item_rows(read_features(path), {"[PAD]": 0, "17": 1}, item_num=2)
    assert str(error.value) == (
        f"{path}: none of its 3 items is in the data set; it has 'B1', the data set '17'"
    )
