"""The study of other domains: a small generated log, and its runs."""

import json
from pathlib import Path

import pytest

from benchmarks import domains


@pytest.mark.slow  # three runs
def test_every_model_learns_from_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(domains, "LISTENERS", 90)
    monkeypatch.setattr(domains, "ARTISTS", 30)
    words = ["--parts=listened", "--seeds=3", "--epochs=1", "--threads=1", "--out=figures.json"]
    assert domains.main(words) == 0
    rows = json.loads(Path("figures.json").read_text())["rows"]
    assert [row["row"] for row in rows] == [
        f"generated-log, {model}" for model in ("LastItem", "SASRec", "MISSRec")
    ]
    assert all(0 < row["R@10"] < 1 and row["seeds"] == 1 for row in rows)
    log = Path("runs/domains/log-3/log.tsv").read_text().splitlines()
    assert all(len(line.split("\t")) == 6 for line in log) and len(log) > 90 * 4


def test_seeds_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert domains.main(["--parts=long", "--seeds=x"]) == 2
    assert capsys.readouterr().err == "--seeds=x: must be a whole number from 0\n"
