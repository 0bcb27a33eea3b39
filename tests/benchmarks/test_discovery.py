"""Discovery's share of training, on catalogues that take no time."""

import json
from pathlib import Path

import pytest

from benchmarks.discovery import main


@pytest.mark.slow
def test_an_epoch_is_computed_from_its_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "discovery.json"
    words = ["--items", "200", "--steps", "2", "--threads", "1", "--out", str(out)]
    assert main(words) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["way"] for row in rows] == ["all tokens", "a sample of 100,000"]
    for row in rows:
        assert (row["items"], row["interests"], row["used"]) == (200, 8, 8)  # .02 of 400 tokens
        epoch = row["computed_epoch_seconds"]
        assert epoch == pytest.approx(row["step_seconds"] * 200 * 7 / 512)
        seconds = row["discovery_seconds"]
        assert row["share"] == pytest.approx(seconds / (seconds + epoch))
    assert "epoch s, computed" in capsys.readouterr().out
    assert main(words) == 0  # what is there is kept
    assert json.loads(out.read_text())["rows"] == rows
