"""What an export holds, read back by the libraries of its formats alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from recbole_missrec.cli import main
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.user_side import make_user_side
from tests.serving.conftest import MODELS
from tests.serving.test_items import new_features
from tests.shops import read_histories, tiny_words
from tests.tiny_models import random_batch, tiny_baseline, tiny_model

READER = Path(__file__).parents[2] / "examples" / "read_export.py"
STRUCTURES: list[dict[str, Any]] = [
    {"interest_recency": True},
    {},
    {"seq_mm_fusion": "contextual", "n_decoder_layers": 2, "n_encoder_layers": 2},
    {"structure": "no_decoder", "seq_mm_fusion": "contextual"},
    {"structure": "no_interests"},
    {"roles": "interest_queries", "n_decoder_layers": 2},
    {"modalities": ["image"], "item_ids": False},
]


@pytest.mark.parametrize("options", STRUCTURES, ids=str)
def test_the_padded_user_side_is_that_of_the_model(shop: Path, options: dict[str, Any]) -> None:
    model = tiny_model(shop, **options).eval()
    batch = random_batch(model)  # one history without any interest
    items, lengths = batch["item_id_list"], batch["item_length"]
    with torch.no_grad():
        inputs = model.history_inputs(model.item_table())[items]
        rest = model.slots[items], model.interest_ids[items], lengths
        u = make_user_side(model)(inputs, *rest)
        torch.testing.assert_close(u, model.embed(batch), rtol=1e-12, atol=1e-12)
        inside = torch.arange(8) < lengths[:, None]
        noise = torch.where(inside[:, :, None], inputs, 9.0)  # what is beyond is not read
        torch.testing.assert_close(make_user_side(model)(noise, *rest), u)


@pytest.mark.parametrize("name", ["UniSRec", "SASRecContent", "VQRec"])
def test_the_padded_user_side_of_a_causal_model(shop: Path, name: str) -> None:
    model = tiny_baseline(shop, name)
    batch = random_batch(model)
    with torch.no_grad():
        vectors = model.item_vectors()[batch["item_id_list"]]
        u = make_user_side(model)(vectors, batch["item_length"])
        torch.testing.assert_close(u, model.embed(batch), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "bias"),
    [*((model, []) for model in (*MODELS, "calibrated")), ("MISSRec", ["--unseen_bias=0.3"])],
)
def test_an_export_read_back(
    shop: Path, trained: Path, capsys: pytest.CaptureFixture[str], model: str, bias: list[str]
) -> None:
    checkpoint = Path(f"{model}.pth")
    checkpoint.write_bytes((trained / checkpoint).read_bytes())
    text = new_features(shop, "text", {"new": "i9"})
    assert main(["add-items", str(checkpoint), f"--features={text}"]) == 0
    assert main(["remove-items", str(checkpoint), "--items=i5"]) == 0
    Path("who.jsonl").write_text(
        '{"user": "u3"}\n{"user": "nobody"}\n{"user": "x", "history": ["i4", "zz", "new"]}\n'
    )
    capsys.readouterr()
    assert main(["export", str(checkpoint), "--out=ex", "--users=who.jsonl", *bias]) == 0
    assert capsys.readouterr().out == "ex\n"
    assert main(["recommend", str(checkpoint), "--users=who.jsonl", "--topk=7", *bias]) == 0
    ranked = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    # the top of another program, by faiss and pyarrow
    for row in (ranked[0], ranked[2]):
        words = [sys.executable, str(READER), "ex", row["user"], "7"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        read = json.loads(done.stdout)
        assert read["items"] == row["items"]
        assert read["scores"] == pytest.approx(row["scores"], abs=1e-4)

    # the same in safetensors and Parquet
    recommender = Recommender.load(checkpoint)
    tensors, table = load_file("ex/items.safetensors"), pd.read_parquet("ex/items.parquet")
    assert bytes(tensors["tokens"]).decode().split("\n") == table["item"].tolist()
    assert table["item"].tolist() == recommender.catalogue.tokens[1:].tolist()
    assert table["row"].tolist() == list(range(1, 26))
    assert table["item"][~table["offered"]].tolist() == ["i5"]
    card = json.loads(Path("ex/items.json").read_text())
    for name in card["vectors"]:
        for own, vector in zip(tensors[name], table[name], strict=True):
            assert np.array_equal(own, np.zeros_like(own) if vector is None else vector)
    if bias:
        assert table["item"][table["unseen"]].tolist() == ["new"]
        assert card["constants"]["unseen_bias"] == 0.3
    assert ("unseen" in table) == ("unseen" in tensors) == bool(bias)
    absent = table["item"][table[card["vectors"][0]].isna()].tolist()
    missing = [item for item in table["item"] if item in ("i1", "i2")]
    assert absent == missing * (model not in MODELS[1:])
    assert ("lacking" in card["constants"]) == (model == "calibrated")
    sequences = pd.read_parquet("ex/sequences.parquet")
    assert sequences["user"].tolist() == ["u3", "nobody", "x"]
    assert [*sequences["history"][2]] == ["i4", "new"] and sequences["embedding"][1] is None
    embeddings = load_file("ex/sequences.safetensors")["embeddings"]
    assert np.array_equal(embeddings[0], sequences["embedding"][0])

    # an item stands in an index under its row, unless it is not offered
    for name in json.loads(Path("ex/indexes.json").read_text())["files"]:
        index = faiss.read_index(f"ex/{name}")
        there = table["offered"]
        if "raised" in name:  # unseen, or lacking what is made up for
            there &= table["item"].isin(["new"] if bias else ["i1", "i2", "i3", "new"])
        assert index.ntotal == there.sum()
        ids = index.search(embeddings[:1], index.ntotal + 1)[1]
        assert sorted(ids[0].tolist()) == sorted([-1, *table["row"][there]])

    # the user side gives the embeddings, of a batch of another size than its example
    session = onnxruntime.InferenceSession("ex/user_side.onnx")
    inputs = {entry.name for entry in session.get_inputs()}
    for row in (0, 2):
        history = sequences["history"][row]
        place = table.reset_index().set_index("item")["index"][history].to_numpy()
        fed: dict[str, Any] = {"vectors": tensors["history"][place][None]}
        fed |= {n: tensors[n][place][None] for n in ("slots", "interests") if n in inputs}
        fed["lengths"] = np.array([len(history)])
        (u,) = session.run(None, {name: fed[name] for name in inputs})
        assert np.abs(u[0] - sequences["embedding"][row]).max() < 1e-4
    card = json.loads(Path("ex/user_side.json").read_text())
    assert set(card["inputs"]) == inputs and card["largest difference from torch"] < 1e-4


@pytest.mark.parametrize(("model", "options"), [("UniSRec", {"item_ids": False}), ("VQRec", {})])
def test_an_item_without_features_comes_last_in_an_export_too(
    shop: Path, capsys: pytest.CaptureFixture[str], model: str, options: dict[str, Any]
) -> None:
    words = tiny_words(shop, model, epochs=1, checkpoint_dir="saved", **options)
    assert main(words) == 0
    (checkpoint,) = Path("saved").glob("*.pth")
    assert main(["export", str(checkpoint), "--out=ex"]) == 0
    histories = read_histories(shop)
    expected = Recommender.load(checkpoint).recommend([histories["u3"]], k=24)[0]
    assert expected["items"][-1] == "i2"  # has nothing
    done = subprocess.run(
        [sys.executable, str(READER), "ex", "u3", "24"], capture_output=True, text=True, check=True
    )
    read = json.loads(done.stdout)
    assert read["items"][-1] == "i2"
    assert read["scores"] == pytest.approx(expected["scores"], abs=1e-4)


def test_all_users_are_exported(trained: Path) -> None:
    assert main(["export", str(trained / "UniSRec.pth"), "--out=ex"]) == 0
    sequences = pd.read_parquet("ex/sequences.parquet")
    assert sorted(sequences["user"]) == sorted(f"u{n}" for n in range(30))


def test_bad_input(trained: Path, refused: Callable[..., str]) -> None:
    checkpoint = trained / "MISSRec.pth"
    for words, message in (
        ([], "export: --out=FOLDER is missing"),
        (["--out=/dev/null"], "/dev/null/items.parquet: cannot be written: "),
        (["--output=ex"], "--output: export has no such option; did you mean 'out'?"),
    ):
        assert refused("export", checkpoint, *words).startswith(message)
