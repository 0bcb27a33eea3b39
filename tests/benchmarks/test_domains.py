"""The study of other domains: a small generated log, and its runs."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import domains
from tests.shops import write_tiny_shop


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


def test_histories_of_films_are_cut_at_three_lengths(tmp_path: Path) -> None:
    folder = write_tiny_shop(tmp_path) / "tiny"
    for file in sorted(folder.iterdir()):
        file.rename(file.with_name(file.name.replace("tiny", "ml-100k")))
    folder.rename(folder.with_name("ml-100k"))
    args = Namespace(data_path=str(folder.parent), epochs=3)
    runs = list(domains.long(args, 5))
    assert [run.model for run in runs] == ["SASRec", "MISSRec"] * 3
    lengths = [dict(run.options)["MAX_ITEM_LIST_LENGTH"] for run in runs]
    assert lengths == ["50", "50", "100", "100", "200", "200"]
    assert {dict(run.options)["max_train_prefixes"] for run in runs} == {"5"}
    assert len({run.digest for run in runs}) == 6


def test_seeds_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert domains.main(["--parts=long", "--seeds=x"]) == 2
    assert capsys.readouterr().err == "--seeds=x: must be a whole number from 0\n"
