"""Every sequential model of RecBole trains and ranks through this project's command line."""

import inspect
from pathlib import Path

import pytest
import recbole.model.sequential_recommender as sequential
import torch
from recbole.model.abstract_recommender import SequentialRecommender

from dataset_builders.__main__ import main as build
from recbole_missrec.cli import main

torch.autograd.set_detect_anomaly(False)  # RecBole's sine.py turns it on for the whole process
MODELS = sorted(
    name
    for name, value in inspect.getmembers(sequential, inspect.isclass)
    if issubclass(value, SequentialRecommender)
)
# What RecBole itself cannot run there, and why. The others run on the pinned versions.
CANNOT = {
    "FDSA": "KeyError: 'class'",  # it reads a field of the items' file, which shops lack
    "GRU4RecF": "KeyError: 'class'",
    "SASRecF": "KeyError: 'class'",
    "S3Rec": "Field [class] not defined",
    "GRU4RecKG": "pantry-sample.ent] not found",  # it reads a pre-trained knowledge graph
    "KSR": "pantry-sample.ent] not found",
}
# DIN and DIEN score one item at a time: a few users, a few rows of each
SMALL = [
    "--user_inter_num_interval=[23,inf)",
    "--max_train_prefixes=1",
    "--MAX_ITEM_LIST_LENGTH=10",
]


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shops")
    assert build(["sample", "--out", str(folder), "--text=none", "--image=none"]) == 0
    return folder


def test_there_are_models_to_run() -> None:
    assert len(MODELS) > 25 and set(CANNOT) < set(MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_one_epoch(
    shops: Path,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"--model={model}", "--dataset=pantry-sample", f"--data_path={shops}", *SMALL]
    status = main([*words, "--epochs=1", "--state=error", "--per_user=ranks.parquet"])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    if model in CANNOT:
        assert status == 2 and CANNOT[model] in error
        assert not Path("ranks.parquet").exists()
    else:
        assert status == 0, error
        assert Path("ranks.parquet").exists()
