"""Every sequential model of RecBole trains and ranks through this project's command line."""

import inspect
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import recbole.model.sequential_recommender as sequential
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.knowledge_aware_recommender import CKE

from dataset_builders.__main__ import main as build
from recbole_missrec.cli import main
from recbole_missrec.trainer.checkpoint import load_checkpoint
from tests.shops import read_histories, write_tiny_shop

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


def test_a_model_with_a_knowledge_graph_that_was_interrupted_goes_on_to_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shop = write_tiny_shop(tmp_path) / "tiny"
    items = sorted({item for history in read_histories(shop.parent).values() for item in history})
    links = [f"{item}\te{item}" for item in items]
    facts = [f"e{item}\tsold_with\te{other}" for item, other in pairwise(items)]
    (shop / "tiny.link").write_text("\n".join(["item_id:token\tentity_id:token", *links]) + "\n")
    head = "head_id:token\trelation_id:token\ttail_id:token"
    (shop / "tiny.kg").write_text("\n".join([head, *facts]) + "\n")
    columns = "{inter: [user_id, item_id, timestamp], kg: [head_id, relation_id, tail_id], "
    words = ["--model=CKE", "--dataset=tiny", f"--data_path={shop.parent}", "--epochs=3"]
    words += [f"--load_col={columns}link: [item_id, entity_id]}}", "--train_batch_size=32"]
    words += ["--learning_rate=0.01", "--state=error"]
    assert main([*words, "--checkpoint_dir=whole", "--result_file=whole.json"]) == 0
    original, epochs = CKE.calculate_loss, []

    def calculate_loss(self: CKE, interaction: Any) -> Any:
        (state,) = Path("cut").glob("*.resume")
        epochs.append(load_checkpoint(state)["epoch"])
        if epochs[-3:] == [1, 1, 1]:  # two batches of the second epoch are done
            raise KeyboardInterrupt
        return original(self, interaction)

    with monkeypatch.context() as patch:
        patch.setattr(CKE, "calculate_loss", calculate_loss)
        assert main([*words, "--checkpoint_dir=cut", "--result_file=cut.json"]) == 130
    (state,) = Path("cut").glob("*.resume")
    assert main([f"--resume={state}"]) == 0
    whole, cut = (json.loads(Path(name).read_text()) for name in ("whole.json", "cut.json"))
    assert len(cut["curve"]) == 3
    for key in ("valid", "test", "best_epoch"):
        assert cut[key] == whole[key]
    losses = [[epoch["loss"] for epoch in result["curve"]] for result in (whole, cut)]
    assert losses[0] == losses[1]


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
