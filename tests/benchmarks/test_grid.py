"""The benchmark of the grid runs the same both ways."""

import json
from pathlib import Path

import pytest

from benchmarks.grid import main
from tests.shops import write_tiny_shop


@pytest.mark.slow  # four runs
def test_both_ways_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"--data_path={write_tiny_shop(tmp_path)}", "--dataset=tiny", "--models=Pop,LastItem"]
    assert main([*words, "--epochs=1", "--repeats=1", "--threads=1", "--out=figures.json"]) == 0
    figures = json.loads(Path("figures.json").read_text())
    (bare,), (grid,) = figures["seconds"]["bare"], figures["seconds"]["grid"]
    assert figures["grid_over_bare"] == grid / bare > 0
