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
    without, found = json.loads(Path("figures.json").read_text())["rows"]
    assert [without["interests"], found["interests"]] == [*ROWS][:2]
    assert without["interests"] == NONE and "p" not in without
    assert found["over none"] == pytest.approx(found["N@10"] - without["N@10"])
    assert 0 < found["p"] <= 1 and found["seeds"] == 1


def test_seeds_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds=a"]) == 2
    assert capsys.readouterr().err == "--seeds=a: must be a whole number from 0\n"
