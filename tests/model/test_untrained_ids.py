"""Items that the training never reads are scored by what is known of them, never by a random id."""

from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_missrec.data.histories import Histories, HistoryRows, items_read
from recbole_missrec.model import missrec, objectives
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.preparation import prepare
from tests.shops import tiny_config, write_shop_with_unseen_items


def prepared(folder: Path, **options: Any) -> tuple[MISSRec, Any]:
    """A model and its training loader."""
    shop = write_shop_with_unseen_items(folder)
    trainer, loaders = prepare(tiny_config(shop, **options))
    return trainer.model, loaders[0]


def ids(model: MISSRec, loader: Any, *tokens: str) -> list[int]:
    return [loader._dataset.field2token_id["item_id"][token] for token in tokens]


def test_their_ids_stay_zero_in_training(tmp_path: Path) -> None:
    model, loader = prepared(tmp_path)
    untrained = ids(model, loader, "i2", "i3", "i7")
    assert model.item_embedding is not None
    zero = ~model.item_embedding.weight.any(1)
    assert zero.nonzero()[:, 0].tolist() == sorted([0, *untrained])
    model.discover_interests(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    loader.transform = model.training_packer(0)
    for batch in loader:
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        optimizer.step()
    assert not model.item_embedding.weight[[0, *untrained]].any()
    others = [item for item in range(model.n_items) if item not in (0, *untrained)]
    assert model.item_embedding.weight[others].any(1).all()


def test_their_features_alone_score_them(tmp_path: Path) -> None:
    model, loader = prepared(tmp_path, history_bias=False, item_mm_fusion="static")
    nothing, text_alone, both = ids(model, loader, "i2", "i3", "i7")
    model.discover_interests(0)
    model.eval()
    known = ids(model, loader, "i5", "i6")
    batch = Interaction({"item_id_list": torch.tensor([known]), "item_length": torch.tensor([2])})
    with torch.no_grad():
        u = model.embed(batch)[0]
        tokens = torch.nn.functional.normalize(model.item_tokens(), dim=-1)  # [2, items, dim]
        scores = model.full_sort_predict(batch)[0] * model.options["temperature"]
        cosines = tokens @ u  # [2, items]
    torch.testing.assert_close(scores[text_alone], cosines[0, text_alone])
    torch.testing.assert_close(scores[both], cosines[:, both].mean())
    assert scores[nothing] == pytest.approx(-1)
    assert scores[1:].min() == scores[nothing]


@pytest.mark.parametrize("model", ["MISSRec", "UniSRec"])
@pytest.mark.parametrize("weight", [(-2.0, -1.0), (3.0, -0.5), (3.0, 1.0)])
def test_what_nothing_is_known_of_ranks_last_whatever_the_history_adds(
    tmp_path: Path, model: str, weight: tuple[float, float]
) -> None:
    shop = write_shop_with_unseen_items(tmp_path)
    options = {"item_ids": False, "history_bias": True}
    trainer, loaders = prepare(tiny_config(shop, model, **options))
    nothing, *known = ids(trainer.model, loaders[0], "i2", "i5", "i6", "i7")
    if hasattr(trainer.model, "discover_interests"):
        trainer.model.discover_interests(0)
    with torch.no_grad():
        trainer.model.history_bias.weight.copy_(torch.tensor(weight))
    for last in (nothing, known[0]):
        items = torch.tensor([[*known[1:], nothing, last]])
        batch = Interaction({"item_id_list": items, "item_length": torch.tensor([4])})
        scores = trainer.model.eval().full_sort_predict(batch)[0]
        assert scores[1:].min() == scores[nothing]


@pytest.mark.parametrize("item_ids", [True, False])
def test_an_evaluation_raises_their_scores(tmp_path: Path, item_ids: bool) -> None:
    """By as much as asked for, those of the history among them; without features it stays last."""
    model, loader = prepared(tmp_path, item_ids=item_ids, unseen_bias=0.25)
    nothing, *others = ids(model, loader, "i2", "i3", "i7")
    model.discover_interests(0)
    items = torch.tensor([[*ids(model, loader, "i5", "i6"), others[0]]])
    batch = Interaction({"item_id_list": items, "item_length": torch.tensor([3])})
    scores = model.eval().full_sort_predict(batch)[0] * model.options["temperature"]
    model.options["unseen_bias"] = 0.0
    plain = model.full_sort_predict(batch)[0] * model.options["temperature"]
    expected = torch.zeros(model.n_items)
    expected[others] = 0.25
    torch.testing.assert_close((scores - plain)[1:], expected.to(scores)[1:])
    assert scores[nothing] == pytest.approx(-1) and scores[1:].min() == scores[nothing]


@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_the_training_does_not(tmp_path: Path, softmax: str) -> None:
    options = {"softmax": softmax, "history_bias": False, "unseen_negatives": True}
    losses = []
    for bias in (0.0, 0.5):
        model, loader = prepared(tmp_path / str(bias), unseen_bias=bias, **options)
        model.discover_interests(0)
        batch = next(iter(loader))
        torch.manual_seed(1)
        losses.append(model.train().calculate_loss(batch))
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)


def test_a_checkpoint_knows_them(tmp_path: Path) -> None:
    """Whatever the rows are that it is loaded beside; one of before does not say."""
    model, loader = prepared(tmp_path)
    state = model.state_dict()
    assert state.pop("unseen").nonzero()[:, 0].tolist() == sorted(
        [0, *ids(model, loader, "i2", "i3", "i7")]
    )
    other, _ = prepared(tmp_path / "other")
    other.unseen[:] = True
    other.load_state_dict(state)
    assert other.unseen.all()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.unseen, model.unseen)


@pytest.mark.parametrize("chunk", [4096, 4], ids=["at once", "by chunks"])
def test_they_are_no_negatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    model, loader = prepared(tmp_path, dropout=0.0, modality_dropout=0.0, gamma=0.0)
    unseen = [0, *ids(model, loader, "i2", "i3", "i7")]
    assert model.unseen.nonzero()[:, 0].tolist() == sorted(unseen)
    model.discover_interests(0)
    for module in (missrec, objectives):
        monkeypatch.setattr(module, "CHUNK", chunk)
    batch = next(iter(loader))
    scores = model.full_sort_predict(batch)
    scores[:, unseen] = -torch.inf
    expected = torch.nn.functional.cross_entropy(scores, batch["item_id"])
    loss = model.calculate_loss(batch)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_they_are_negatives_where_asked_for(tmp_path: Path) -> None:
    model, loader = prepared(
        tmp_path, dropout=0.0, modality_dropout=0.0, gamma=0.0, unseen_negatives=True
    )
    model.discover_interests(0)
    batch = next(iter(loader))
    scores = model.full_sort_predict(batch)
    expected = torch.nn.functional.cross_entropy(scores, batch["item_id"])
    torch.testing.assert_close(model.calculate_loss(batch), expected)


@pytest.mark.parametrize("unseen_negatives", [False, True])
def test_a_sample_draws_them_where_asked_for(tmp_path: Path, unseen_negatives: bool) -> None:
    model, loader = prepared(tmp_path, softmax="sampled", unseen_negatives=unseen_negatives)
    unseen = ids(model, loader, "i2", "i3", "i7")
    assert (model.share[unseen] > 0).tolist() == [unseen_negatives] * 3
    assert model.share[0] == 0 and int((model.share > 0).sum()) == model.n_items - (
        1 if unseen_negatives else 4
    )


def test_items_of_rows_with_histories_are_read() -> None:
    rows = Interaction(
        {"item_id": torch.tensor([3, 4]), "item_id_list": torch.tensor([[1, 2], [3, 0]])}
    )
    assert items_read(rows, "item_id", "item_id_list").tolist() == [3, 4, 1, 2, 3, 0]


def test_items_of_histories_and_targets_are_read() -> None:
    events = {"item_id": torch.tensor([5, 6, 7, 8, 9, 0])}
    rows = Histories(
        events, {"list": "item_id"}, "n", 4, torch.tensor([2, 4]), torch.tensor([1, 1])
    )
    found = items_read(HistoryRows(rows), "item_id", "item_id_list")
    assert found.tolist() == [6, 7, 8, 9]  # rows (6) -> 7 and (8) -> 9
