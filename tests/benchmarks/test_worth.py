"""The study of what interests are worth: its rows on a tiny shop."""

import json
from pathlib import Path

import pytest

from benchmarks.worth import NONE, ROWS, main
from tests.shops import write_tiny_shop


@pytest.mark.slow  # two runs
def test_rows_are_compared_with_no_interests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_shop(tmp_path)
    words = ["--dataset=tiny", f"--data_path={tmp_path}", "--seeds=2020", "--epochs=1"]
    assert main([*words, "--threads=1", "--rows=2", "--out=figures.json"]) == 0
    first, second = json.loads(Path("figures.json").read_text())["rows"]
    assert [first["interests"], second["interests"]] == [*ROWS][:2]
    assert second["interests"] == NONE and "p" not in second
    assert first["over none"] == pytest.approx(first["N@10"] - second["N@10"])
    assert 0 < first["p"] <= 1 and first["seeds"] == 1
