"""Whole runs of the content baselines by the command line, on a small pantry-sample."""

import json
from pathlib import Path

import pytest

from dataset_builders.__main__ import main as build
from recbole_missrec.cli import main

SMALL = {
    "UniSRec": ["--hidden_size=16", "--modalities=[text, image]"],
    "VQRec": ["--hidden_size=16", "--code_groups=4"],
    "SASRecContent": ["--hidden_size=16"],
    "LastItem": [],
}


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shops")
    words = ["--users=200", "--items=60", "--text=tfidf", "--image=histogram"]
    assert build(["sample", *words, "--out", str(folder)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL)
def test_one_epoch_by_the_command_line_and_its_figures_again(
    shops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--dataset=pantry-sample", f"--data_path={shops}", f"--model={model}", "--epochs=1"]
    words += ["--state=error", "--result_file=result.json", *SMALL[model]]
    assert main(words) == 0
    result = json.loads(Path("result.json").read_text())
    assert result["best_epoch"] == 0 and result["epochs"] == 1
    assert 0 < result["test"]["recall@10"] < result["test"]["recall@50"] <= 1
    if model == "LastItem":  # shoppers tend to buy something like the last thing they bought
        assert result["test"]["recall@10"] > 10 / 60
    expected = ["text"] if model == "VQRec" else ["text", "image"]
    assert result["config"]["modalities"] == expected
    words = [result["checkpoint"], "--state=error", "--result_file=again.json"]
    assert main(["evaluate", *words]) == 0
    again = json.loads(Path("again.json").read_text())
    assert (again["valid"], again["test"]) == (result["valid"], result["test"])
