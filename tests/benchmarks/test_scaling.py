"""The scaling benchmark on a catalogue that takes no time."""

import json
from pathlib import Path

import pytest

from benchmarks.scaling import main


@pytest.mark.slow
def test_every_model_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scaling.json"
    words = ["--items", "300", "--lengths", "--steps", "1", "--threads", "1", "--out", str(out)]
    assert main(words) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["model"] for row in rows] == ["MISSRec", "MISSRec, sampled", "SASRec"]
    for row in rows:
        assert (row["items"], row["rows"], row["steps_measured"]) == (300, 512, 1)
        assert row["users_measured"] >= 2048
        assert row["step_seconds"] > 0 and row["evaluation_seconds"] > 0
    assert "10,000 users s" in capsys.readouterr().out


def test_an_output_that_cannot_be_written_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
