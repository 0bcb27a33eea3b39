"""What an evaluation of a run collects: ranks, scores, recommended items, per-user results."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from recbole_missrec.cli import main
from recbole_missrec.evaluation.beyond import beyond_accuracy
from recbole_missrec.evaluation.per_user import per_user_metric, read_per_user
from recbole_missrec.evaluation.targets import training_popularity
from recbole_missrec.preparation import prepare
from recbole_missrec.trainer.trainer import HookedTrainer
from tests.shops import read_histories, tiny_config, tiny_words, write_tiny_shop

METRICS = ["Recall", "Hit", "NDCG", "MRR", "Precision", "MAP"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # RecBole writes its logs into the current folder


def run(shop: Path, model: str, **options: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    given = {"epochs": 1, "result_file": "result.json", "per_user": "users.parquet", **options}
    assert main(tiny_words(shop, model, **given)) == 0
    return json.loads(Path("result.json").read_text()), read_per_user("users.parquet")


@pytest.mark.parametrize(("model", "repeatable"), [("SASRec", True), ("BPR", False)])
def test_recommended_items_and_scores_are_those_of_all_scores(
    shop: Path, model: str, repeatable: bool
) -> None:
    options = {"topk": [2, 10], "repeatable": repeatable}
    counted = []
    for rows in (2048, 7):
        config = tiny_config(shop, model, eval_batch_size=rows, **options)
        trainer, (_, _, test) = prepare(config)
        trainer.evaluate(test, load_best_model=False, count_items=True)
        counted.append(trainer.ranks)
    whole, split = counted
    with torch.no_grad():
        batches = [trainer._full_sort_batch_eval(batch) for batch in test]
    scores = torch.cat([batch[1] for batch in batches])
    expected = scores[torch.arange(len(scores)), whole.targets].double()
    assert torch.allclose(whole.scores, expected, atol=1e-6)
    for k in (2, 10):
        best = scores.topk(k).indices.flatten().bincount(minlength=scores.shape[1])
        assert torch.equal(whole.recommended[k], best)
        assert torch.equal(split.recommended[k], best)
    trainer.evaluate(test, load_best_model=False)
    assert trainer.ranks.recommended is None


def test_result_has_figures_beyond_accuracy(shop: Path) -> None:
    result, _ = run(shop, "Pop", topk=[1, 10])
    trainer, (_, valid, test) = prepare(tiny_config(shop, "Pop", topk=[1, 10]))
    popularity = training_popularity(trainer.interactions, (valid._dataset, test._dataset))
    best = int(result["beyond_accuracy"]["averagepopularity@1"])
    of_one = torch.zeros(25, dtype=torch.int64)
    of_one[(popularity == best).nonzero()[0, 0]] = 30  # Pop recommends one item to all 30 users
    found = {
        name: value for name, value in result["beyond_accuracy"].items() if name.endswith("@1")
    }
    assert found == pytest.approx(beyond_accuracy({1: of_one}, popularity))
    assert result["beyond_accuracy"]["coverage@10"] == 10 / 24


def test_no_figures_beyond_accuracy_of_sampled_candidates(shop: Path) -> None:
    result, _ = run(shop, "SASRec", eval_args="{mode: uni5}")
    assert result["beyond_accuracy"] is None


def test_candidates_that_are_sampled_are_the_same_again(shop: Path) -> None:
    result, users = run(shop, "SASRec", eval_args="{mode: uni5}", epochs=3)
    best = result["curve"][result["best_epoch"]]["valid"]
    words = ["--result_file=again.json", "--per_user=again.parquet"]
    assert main(["evaluate", result["checkpoint"], *words]) == 0
    again = json.loads(Path("again.json").read_text())
    assert again["valid"] == result["valid"] == best
    assert again["test"] == result["test"]
    assert read_per_user("again.parquet").equals(users)


@pytest.mark.parametrize("mode", ["full", "uni5"])
@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "Pop"])
def test_per_user_file_gives_the_figures_of_the_run(shop: Path, model: str, mode: str) -> None:
    result, users = run(
        shop, model, metrics=METRICS, topk=[1, 10], eval_args=f"{{mode: {mode}}}", seed=1
    )
    assert result["test"] == pytest.approx(
        {
            f"{metric.lower()}@{k}": per_user_metric([users], metric, k)[0].mean()
            for metric in METRICS
            for k in (1, 10)
        },
        abs=1e-12,
    )


def test_figures_are_those_of_recbole_without_ties(shop: Path) -> None:
    config = tiny_config(shop, "SASRec", metrics=METRICS, topk=[1, 10], metric_decimal_place=9)
    trainer, (train, _, test) = prepare(config)
    ours = trainer.evaluate(test, load_best_model=False)
    trainer.eval_collector.data_collect(train)
    theirs = super(HookedTrainer, trainer).evaluate(test, load_best_model=False)
    assert trainer.ranks.equal.sum() == 0
    assert ours == pytest.approx(dict(theirs), abs=1e-8)


@pytest.mark.parametrize("mode", ["full", "uni5"])
def test_what_is_known_of_a_target_does_not_depend_on_the_model(shop: Path, mode: str) -> None:
    histories = read_histories(shop)
    options = {"eval_args": f"{{mode: {mode}}}"}
    tables = [
        run(shop, "MISSRec", modalities="[image]", max_train_prefixes=2, **options)[1],
        run(shop, "SASRec", MAX_ITEM_LIST_LENGTH=2, **options)[1],
        run(shop, "Pop", **options)[1],
    ]
    known = ["target", "length", "popularity", "modalities", "category"]
    first, *others = (table.set_index("user")[known].sort_index() for table in tables)
    for other in others:
        pd.testing.assert_frame_equal(first, other)
    assert first["length"].to_dict() == {user: len(items) - 1 for user, items in histories.items()}
    earlier = [item for items in histories.values() for item in items[:-2]]
    assert first["popularity"].tolist() == [earlier.count(item) for item in first["target"]]
    without = {"i1": "image", "i2": "", "i3": "text"}
    assert first["modalities"].tolist() == [
        without.get(item, "text,image") for item in first["target"]
    ]
