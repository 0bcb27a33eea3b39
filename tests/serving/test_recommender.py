"""Recommendations rank as evaluation does; what is offered, excluded, unknown."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from recbole_missrec.cli import main
from recbole_missrec.errors import UsageError
from recbole_missrec.model.history import History
from recbole_missrec.serving import approximate, topk
from recbole_missrec.serving.explanation import Explainer
from recbole_missrec.serving.histories import held_items
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.scoring import make_scorer
from recbole_missrec.trainer.checkpoint import load_checkpoint, save_checkpoint
from tests.serving.conftest import MODELS
from tests.shops import read_histories, tiny_words, write_shop_with_unseen_items
from tests.tiny_models import random_batch, tiny_baseline, tiny_model

VARIANTS: list[dict[str, Any]] = [
    {"item_ids": ids, "item_mm_fusion": item, "seq_mm_fusion": sequence, "history_bias": bias}
    for ids, item, sequence, bias in product(
        (True, False), ("static", "dynamic_shared", "dynamic_instance"), ("add", "contextual"), (1,)
    )
] + [
    {"history_bias": False},
    {"structure": "no_decoder"},
    {"modalities": ["image"]},
    {"unseen_bias": 0.5, "item_ids": False},
]


@pytest.mark.parametrize("model", [*MODELS, "LoRA"])
def test_targets_have_the_ranks_of_the_evaluation(shop: Path, trained: Path, model: str) -> None:
    checkpoint = trained / f"{model}.pth"
    assert main(["evaluate", str(checkpoint), "--per_user=ranks.parquet"]) == 0
    evaluated = pd.read_parquet("ranks.parquet")
    assert len(evaluated) == 30
    histories = read_histories(shop)
    before = [histories[user][:-1] for user in evaluated["user"]]
    found = Recommender.load(checkpoint).recommend(before, k=24)
    for row, expected in zip(found, evaluated.itertuples(), strict=True):
        assert len(row["items"]) == len(set(row["items"])) == 24
        place = row["items"].index(expected.target)
        assert expected.better <= place <= expected.better + expected.equal
        assert row["scores"][place] == pytest.approx(expected.score, abs=1e-5)


@pytest.mark.parametrize("ids", [True, False])
def test_raised_items_have_the_ranks_of_the_evaluation(tmp_path: Path, ids: bool) -> None:
    shop = write_shop_with_unseen_items(tmp_path / "shop")
    assert main(tiny_words(shop, epochs=1, checkpoint_dir="saved", item_ids=ids)) == 0
    (checkpoint,) = Path("saved").glob("*.pth")
    tables = {}
    for bias in ("0", "2"):
        words = [f"--unseen_bias={bias}", f"--per_user={bias}.parquet"]
        assert main(["evaluate", str(checkpoint), *words]) == 0
        tables[bias] = pd.read_parquet(f"{bias}.parquet").set_index("target")
    assert (tables["2"].loc[["i3", "i7"], "better"] <= 1).all()  # nothing but these is above
    assert (tables["0"].loc[["i3", "i7"], "better"] > 1).any()
    histories = read_histories(shop)
    recommender = Recommender.load(checkpoint, {"unseen_bias": "2"})
    before = [histories[user][:-1] for user in tables["2"]["user"]]
    for row, expected in zip(
        recommender.recommend(before, k=24), tables["2"].itertuples(), strict=True
    ):
        place = row["items"].index(expected.Index)
        assert expected.better <= place <= expected.better + expected.equal
        assert row["scores"][place] == pytest.approx(expected.score, abs=1e-5)


def test_a_checkpoint_of_before_does_not_say_what_to_raise(trained: Path) -> None:
    content = load_checkpoint(trained / "MISSRec.pth")
    del content["state_dict"]["unseen"]
    save_checkpoint("old.pth", content)
    assert Recommender.load("old.pth").recommend([["i3"]], k=1)[0]["items"]
    with pytest.raises(UsageError, match="--unseen_bias=0.5: old.pth does not say which items"):
        Recommender.load("old.pth", {"unseen_bias": "0.5"})


def best_of(model: Any, k: int, offered: torch.Tensor, exclude: bool) -> tuple[Any, torch.Tensor]:
    """Of a random batch, by blocks; and all scores of the model."""
    batch = random_batch(model, rows=9)
    scorer = make_scorer(model.eval(), "")
    items, lengths = batch["item_id_list"], batch["item_length"]
    with torch.no_grad():
        u = model.embed(batch)
        scores = model.full_sort_predict(batch)
    scores[:, ~offered] = -torch.inf
    if exclude:
        scores = scores.scatter(1, items.masked_fill(items == 0, 0), -torch.inf)
    held = held_items(History(items, lengths))
    return topk.exact(scorer, u, held, offered, k, exclude), scores


def variant(shop: Path, options: dict[str, Any]) -> Any:
    """A model of ``VARIANTS``, a third of whose items the training did not read."""
    model = tiny_model(shop, **(options | {"history_bias": bool(options.get("history_bias", 1))}))
    model.unseen[::3] = True
    return model


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize(("rows", "scores"), [(64, 2**17), (4, 20)])
def test_blocks_give_the_best_of_all_scores(
    shop: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], rows: int, scores: int
) -> None:
    monkeypatch.setattr(topk, "ROWS", rows)
    monkeypatch.setattr(topk, "SCORES", scores)
    model = variant(shop, options)
    every = torch.arange(25) > 0
    some = torch.arange(25) % 3 == 1
    for offered, k, exclude in ((every, 5, False), (some, 5, False), (some, 12, True)):
        best, expected = best_of(model, k, offered, exclude)
        wanted = expected.topk(k)
        torch.testing.assert_close(best.scores, wanted.values, rtol=1e-12, atol=1e-12)
        there = ~best.scores.isneginf()
        found = expected.gather(1, best.items)
        torch.testing.assert_close(found[there], best.scores[there], rtol=1e-12, atol=1e-12)
        assert not best.items[~there].any()


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o.values())))
def test_candidates_of_all_lists_give_the_exact_ranking(
    shop: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(approximate, "ROWS", 4)
    model = variant(shop, options)
    scorer, batch = make_scorer(model.eval(), ""), random_batch(model)
    offered = torch.arange(25) % 5 > 0
    index = approximate.Index(scorer.views(), offered, scorer.raised)
    history = History(batch["item_id_list"], batch["item_length"])
    with torch.no_grad():
        u = model.embed(batch)
    every = topk.exact(scorer, u, held_items(history), torch.arange(25) > 0, 24)
    own = (every.items[:, :, None] == batch["item_id_list"][:, None]).any(2)  # [rows, 24]
    for k, exclude, there in ((19, True, offered[every.items] & ~own),
                              (19, False, offered[every.items])):  # fmt: skip
        best = approximate.approximate(scorer, index, u, history, k, exclude)
        scores = every.scores.masked_fill(~there, -torch.inf)
        torch.testing.assert_close(best.scores, scores.topk(k).values, rtol=1e-12, atol=1e-12)
        assert torch.equal(best.items == 0, best.scores.isneginf())
        by_item = torch.full((9, 25), -torch.inf).double().scatter(1, every.items, scores)
        torch.testing.assert_close(by_item.gather(1, best.items), best.scores)


def test_raised_items_are_found_among_themselves() -> None:
    """However far below others their inner products are."""
    items = torch.eye(2).repeat(300, 1) * torch.linspace(0.1, 1, 600)[:, None]
    raised = torch.arange(600) % 100 == 1  # six of them
    offered = torch.arange(600) > 0
    offered[401] = False
    u = torch.tensor([[0.0, 1.0]])
    without = approximate.Index({"item": items}, offered).candidates(u, 10)
    index = approximate.Index({"item": items}, offered, raised)
    found = index.candidates(u, 10)
    assert without.tolist() == found[:, :10].tolist() == [[*range(599, 579, -2)]]
    assert found[:, 10:].tolist() == [[501, 301, 201, 101, 1, *[0] * 5]]
    assert [*approximate.Index({"item": items}, offered, raised & ~offered).files] == ["item"]


def test_an_index_looks_into_few_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(100, 16, generator=generator)
    items = centres.repeat(40, 1) + 0.1 * torch.randn(4000, 16, generator=generator)
    index = approximate.Index({"item": items}, torch.arange(4000) > 0)
    (file,) = index.files.values()
    assert (file.nlist, file.nprobe, file.ntotal) == (124, 32, 3999)
    queries = items[:50] + 0.1 * torch.randn(50, 16, generator=generator)
    exact = (queries @ items[1:].T).topk(10).indices + 1
    file.nprobe = 8
    found = index.candidates(queries, 20)
    hits = sum(len({*a} & {*b}) for a, b in zip(found.tolist(), exact.tolist(), strict=True))
    assert 0.98 < hits / 500 <= 1
    file.nprobe = 1
    assert index.candidates(queries, 200).eq(0).any()  # fewer items than asked for


@pytest.mark.parametrize("model", ["UniSRec", "VQRec", "SASRecContent"])
@pytest.mark.parametrize("ids", [True, False])
def test_blocks_of_the_causal_models(shop: Path, model: str, ids: bool) -> None:
    options = {"history_bias": True, "item_ids": ids} if model == "UniSRec" else {}
    best, expected = best_of(tiny_baseline(shop, model, **options), 6, torch.arange(25) > 0, False)
    torch.testing.assert_close(best.scores, expected.topk(6).values, rtol=1e-12, atol=1e-12)


def test_items_that_score_alike_come_in_the_order_of_their_rows() -> None:
    best = topk.Best(torch.tensor([[7, 2, 4, 9]]), torch.tensor([[1.0, 2.0, 1.0, -torch.inf]]))
    ordered = topk.in_order(best)
    assert ordered.items.tolist() == [[2, 4, 7, 0]]


def test_unknown_histories_get_the_most_popular_items(shop: Path, recommender: Recommender) -> None:
    counts = pd.Series([i for items in read_histories(shop).values() for i in items]).value_counts()
    known, empty, unknown = recommender.recommend([["i3", "what"], [], ["no", "nor"]], k=4)
    assert (known["fallback"], known["unknown"]) == (None, 1)
    assert (empty["fallback"], empty["unknown"]) == ("popularity", 0)
    assert (unknown["fallback"], unknown["unknown"]) == ("popularity", 2)
    assert empty["items"] == unknown["items"]
    assert empty["scores"] == sorted(counts, reverse=True)[:4]
    assert [counts[item] for item in empty["items"]] == empty["scores"]
    assert recommender.recommend([["i3"]], k=4)[0]["items"] == known["items"]


def test_exclusion_and_candidates(recommender: Recommender) -> None:
    history = [["i3", "i7", "i3"], []]
    (row, _) = recommender.recommend(history, k=30, exclude_history=True)
    everything = {f"i{n}" for n in range(24)}
    assert set(row["items"]) == everything - {"i3", "i7"}
    offered = recommender.catalogue.among(["i3", "i8", "i9", "zz"], "here")
    for row in recommender.recommend(history, k=5, offered=offered):
        assert set(row["items"]) == {"i3", "i8", "i9"}
    (row, _) = recommender.recommend(history, k=5, offered=offered, exclude_history=True)
    assert set(row["items"]) == {"i8", "i9"}


def test_similar_items_by_the_parts_that_both_have(recommender: Recommender) -> None:
    row = recommender.catalogue.rows(["i4", "i1", "i2", "i9"])
    best = recommender.similar(int(row[0]), 23)
    by_item = dict(zip(best.items[0].tolist(), best.scores[0].tolist(), strict=True))
    assert int(row[0]) not in by_item and len(by_item) == 23
    parts = dict(zip(recommender.scorer.names, recommender.scorer.parts, strict=True))
    cosine = {name: (part @ part[row[0]]).tolist() for name, part in parts.items()}
    for item, names in ((row[1], ("image", "id")), (row[2], ("id",)), (row[3], tuple(parts))):
        expected = sum(cosine[name][item] for name in names) / len(names)
        assert by_item[int(item)] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("history", [["i3", "i7", "i4"], ["i2"], ["i1", "i2", "i3", "i9"]])
def test_contributions_add_up_to_the_score(recommender: Recommender, history: list[str]) -> None:
    explainer = Explainer(recommender)
    (row,) = recommender.recommend([history], k=24)
    found = recommender.histories([history])
    items = torch.from_numpy(recommender.catalogue.rows(row["items"]))
    for told, token, score in zip(
        explainer.parts(found, items), row["items"], row["scores"], strict=True
    ):
        assert told["score"] == pytest.approx(score, abs=1e-5)
        total = sum(part["contribution"] for part in told["parts"])
        assert total == pytest.approx(score, abs=1e-5)
        names = [part["part"] for part in told["parts"]]
        assert names == ["text", "image", "id", *(["history"] if token in history else [])]
        weights = {part["part"]: part.get("weight") for part in told["parts"]}
        assert weights["id"] == pytest.approx(0.2)  # of an id_weight of 4
        assert (weights["text"] == 0) == (token in ("i1", "i2"))


def test_what_is_added_for_what_an_item_lacks_is_a_part(trained: Path) -> None:
    recommender = Recommender.load(trained / "calibrated.pth")
    (row,) = recommender.recommend([["i9", "i4"]], k=24)
    found = recommender.histories([["i9", "i4"]])
    items = torch.from_numpy(recommender.catalogue.rows(row["items"]))
    text, image = recommender.scorer.model.fusion.lacking.tolist()
    assert abs(text) > 0.01
    shifts = {"i1": text, "i2": text + image, "i3": image}
    for told, token, score in zip(
        Explainer(recommender).parts(found, items), row["items"], row["scores"], strict=True
    ):
        parts = {part["part"]: part["contribution"] for part in told["parts"]}
        assert sum(parts.values()) == pytest.approx(score, abs=1e-5)
        if token in shifts:  # 4 parts of 5 of the score, over a temperature of .1
            assert parts["lacking"] == pytest.approx(8 * shifts[token])
        else:
            assert "lacking" not in parts


def test_what_is_added_for_an_unseen_item_is_a_part(shop: Path) -> None:
    """i2 has nothing, i3 a text; both unseen, and nothing else."""
    assert main(tiny_words(shop, epochs=1, checkpoint_dir="saved", item_ids=False)) == 0
    (checkpoint,) = Path("saved").glob("*.pth")
    recommender = Recommender.load(checkpoint, {"unseen_bias": "0.25"})
    recommender.scorer.model.unseen[recommender.catalogue.rows(["i2", "i3"])] = True
    (row,) = recommender.recommend([["i9", "i4"]], k=24)
    found = recommender.histories([["i9", "i4"]])
    items = torch.from_numpy(recommender.catalogue.rows(row["items"]))
    told = dict(zip(row["items"], Explainer(recommender).parts(found, items), strict=True))
    added: dict[str, dict[str, float]] = {}
    for token, score in zip(row["items"], row["scores"], strict=True):
        parts = {part["part"]: part["contribution"] for part in told[token]["parts"]}
        assert sum(parts.values()) == pytest.approx(score, abs=1e-5)
        added[token] = {name: parts[name] for name in parts if name not in ("text", "image")}
    lowest = -1 - recommender.scorer.model.history_bias.weight.abs().sum().item()
    assert added.pop("i2") == {"nothing known": pytest.approx(10 * lowest)}
    assert added.pop("i3") == {"unseen": pytest.approx(2.5)}
    assert all(set(parts) <= {"history"} for parts in added.values())


def test_where_the_model_looked(recommender: Recommender) -> None:
    explainer = Explainer(recommender)
    told = explainer.reading(recommender.histories([["i3", "i7", "i1"]]))
    assert [part["item"] for part in told["history"]] == ["i3", "i7", "i1"]
    for shares in (told["history"], told["interests"]):
        assert sum(part["attention"] for part in shares) == pytest.approx(1, abs=1e-5)
    ids = recommender.scorer.model.interest_ids
    tokens = ["i3", "i7", "i1"]
    rows = recommender.catalogue.rows(tokens)
    touched = {int(number) for number in ids[rows].flatten()} - {len(explainer.typical)}
    assert {part["interest"] for part in told["interests"]} == touched
    for part in told["interests"]:
        own = [
            t
            for t, row in zip(["i3", "i7", "i1"], rows, strict=True)
            if part["interest"] in ids[row]
        ]
        assert sorted(part["touched_by"]) == sorted(own)
        assert part["interest"] in ids[recommender.catalogue.rows(part["typical"][:1])[0]]


def test_threads_that_read_at_once_are_told_what_they_asked_for(recommender: Recommender) -> None:
    explainer = Explainer(recommender)
    asked = [recommender.histories([[f"i{n}", f"i{n + 5}"]]) for n in range(3, 15)] * 8
    alone = [explainer.reading(histories) for histories in asked]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(explainer.reading, asked)) == alone
