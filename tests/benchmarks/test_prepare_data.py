"""The benchmark of data preparation makes the file that was asked for and measures each form."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.prepare_data import SHORTEST, Size, main, write_interactions


def test_the_file_has_the_size_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "made" / "made.inter"
    write_interactions(path, Size(users=40, items=30, interactions=300))
    table = pd.read_csv(path, sep="\t")
    assert list(table) == ["user_id:token", "item_id:token", "timestamp:float"]
    assert len(table) == 300
    assert table["user_id:token"].value_counts().min() >= SHORTEST
    assert table.nunique().tolist()[:2] == [40, 30]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--users", "100", "--items", "9", "--interactions", "499"], "--interactions=499: too"),
        (["--users", "1", "--items", "9", "--interactions", "8"], "--interactions=8: too few"),
        (["--compared", "3"], "--compared=3: too few for 0 users"),
    ],
)
def test_too_few_interactions_are_refused(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(expected)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_each_form_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    words = ["--users=40", "--items=30", "--interactions=600", "--compared=300"]
    assert main([*words, "--folder", str(tmp_path), "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["compared"]["users"] == 20
    for form in (figures["whole_run"], figures["compared"]["recbole"]):
        assert form["seconds"] > 0
