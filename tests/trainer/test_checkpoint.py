"""Checkpoints: plain content, written whole, and the state of the random generators."""

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_missrec.errors import UsageError
from recbole_missrec.preparation import prepare
from recbole_missrec.trainer.checkpoint import (
    is_plain,
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from tests.shops import tiny_config, write_tiny_shop

PLAIN = {
    "tensor": torch.arange(3),
    "number": 1.5,
    "text": "x",
    "nothing": None,
    "flag": True,
    "nested": {"list": [1, ("a", torch.zeros(2))], 3: "three"},
}


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_values(value: object) -> None:
    assert is_plain(value)
    assert is_plain([value, {"deep": (value,)}])


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(2).to_sparse(),
        torch.nn.Linear(2, 2),
        np.zeros(2),
        np.float64(1.0),
        {1, 2},
        Path("x"),
        len,
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_left_out(tmp_path: Path, value: object) -> None:
    assert not is_plain(value)
    assert not is_plain({"deep": [value]})
    save_checkpoint(tmp_path / "a.pth", {"odd": value, "deep": {"odd": [value]}, "number": 3})
    assert load_checkpoint(tmp_path / "a.pth", fields={}).keys() == {"format", "number"}


def test_content_comes_back_without_running_code(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pth", PLAIN)
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert torch.equal(content.pop("tensor"), torch.arange(3))
    assert torch.equal(content["nested"]["list"][1][1], torch.zeros(2))
    assert content.pop("format") == "recbole-missrec checkpoint 1"
    assert content["number"] == 1.5
    assert content["nested"][3] == "three"
    assert content.keys() == PLAIN.keys() - {"tensor"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_frozen_features_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trainer, _ = prepare(tiny_config(write_tiny_shop(tmp_path / "shops", dims=(29, 31))))
    trainer._save_checkpoint(0)
    content = torch.load(trainer.saved_model_file, weights_only=True)
    state = content["state_dict"]
    assert {"centroids", "interest_ids", "adapters.text.weight"} <= state.keys()
    assert not [name for name in state if "features" in name]
    widths = {tuple(tensor.shape) for tensor in state.values()}
    assert not widths & {(25, 29), (25, 31)}
    assert content["config"]["hidden_size"] == 8
    assert content["data"]["features"].keys() == {"text", "image"}


def draws() -> list[object]:
    return [random.random(), np.random.random(), np.random.normal(), torch.rand(3).tolist()]


def test_random_generators_go_on_from_a_kept_state(tmp_path: Path) -> None:
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    np.random.normal()  # NumPy now holds a second normal number, part of its state
    save_checkpoint(tmp_path / "a.pth", {"random": random_state()})
    expected = draws()
    assert draws() != expected
    set_random_state(load_checkpoint(tmp_path / "a.pth", fields={})["random"])
    assert draws() == expected


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file can grow beyond a number of bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [0, 500, 20_000])
def test_a_failed_write_leaves_the_old_checkpoint_whole(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, {"number": 1})
    before = path.read_bytes()
    with full_disk(limit), pytest.raises(UsageError, match="a.pth: cannot be written: is the disk"):
        save_checkpoint(path, {"weights": torch.ones(100_000)})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth"]


def test_an_interrupted_write_leaves_the_old_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, {"number": 1})

    def interrupted(content: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "save", interrupted)
        save_checkpoint(path, {"number": 2})
    assert load_checkpoint(path, fields={})["number"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/a.pth: cannot be written"):
        save_checkpoint(tmp_path / "file" / "a.pth", {})
