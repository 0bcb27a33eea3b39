"""The study of what interests are worth: its rows on a tiny shop."""

import json
from pathlib import Path

import pytest

from benchmarks.worth import NONE, ROWS, main
from recbole_missrec.evaluation.per_user import per_user_metric, read_per_user
from recbole_missrec.evaluation.significance import compare, holm
from tests.shops import write_tiny_shop


@pytest.mark.slow  # three runs
def test_rows_are_compared_with_no_interests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_shop(tmp_path)
    words = ["--dataset=tiny", f"--data_path={tmp_path}", "--seeds=2020", "--epochs=1"]
    assert main([*words, "--threads=1", "--rows=3", "--out=figures.json"]) == 0
    without, *others = json.loads(Path("figures.json").read_text())["rows"]
    assert [without["interests"], *(row["interests"] for row in others)] == [*ROWS][:3]
    assert without["interests"] == NONE and "p" not in without
    frames = [read_per_user(path) for path in Path("runs/worth").glob("*.parquet")]
    by = {
        round(float(per_user_metric([frame], "ndcg", 10).to_numpy().mean()), 9): frame
        for frame in frames
    }
    none, *users = (by[round(row["N@10"], 9)] for row in (without, *others))
    raw = [compare([own], [none], "ndcg", 10).p_value for own in users]
    assert [row["p"] for row in others] == holm(raw)
    for row in others:
        assert row["over none"] == pytest.approx(row["N@10"] - without["N@10"])
        assert 0 < row["p"] <= 1 and row["seeds"] == 1


def test_seeds_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds=a"]) == 2
    assert capsys.readouterr().err == "--seeds=a: must be a whole number from 0\n"
