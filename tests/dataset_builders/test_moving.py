"""A build that replaces another: interrupted anywhere, no files of both can be trained on."""

import os
from pathlib import Path
from typing import Any

import pytest

from dataset_builders.dataset_files import CARD, move_files

OLD = {"a.inter": "old", "a.text.safetensors": "old", "a.item": "old", CARD: "old"}
NEW = {"a.inter": "new", "a.text.safetensors": "new", "a.image.safetensors": "new", CARD: "new"}


def write(folder: Path, content: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


class Stopped(Exception):
    pass


def test_no_mixture_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = 0

    def until_none_is_left(call: Any) -> Any:
        def count(*args: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Stopped
            left -= 1
            return call(*args)

        return count

    monkeypatch.setattr(os, "replace", until_none_is_left(os.replace))
    monkeypatch.setattr(Path, "unlink", until_none_is_left(Path.unlink))
    ended = []
    for steps in range(7):
        built, target = (write(tmp_path / f"{n}{steps}", c) for n, c in (("n", NEW), ("o", OLD)))
        left = steps
        try:
            assert move_files(built, target, older=OLD) == []
        except Stopped:
            found = read(target)
            assert found == OLD or "a.inter" not in found or found == {**NEW, CARD: "old"}
            ended.append("a.inter" in found)
        else:
            assert read(target) == NEW
            ended.append(True)
    assert ended == [True, *[False] * 4, True, True]
