"""A catalogue of several chunks is trained and ranked as one of a single chunk."""

import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_missrec.model import missrec, objectives
from recbole_missrec.model.missrec import MISSRec
from tests.shops import read_histories, write_tiny_shop
from tests.tiny_models import interaction, random_batch, tiny_data, tiny_model

# of 24 items: one at a time, several with a smaller last one, all in one but not as a whole
CHUNKS = [1, 7, 24]
VARIANTS = [
    {"item_ids": ids, "item_mm_fusion": item, "seq_mm_fusion": sequence}
    for ids, item, sequence in product(
        (True, False), ("static", "dynamic_shared", "dynamic_instance"), ("add", "contextual")
    )
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def set_chunk(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(missrec, "CHUNK", chunk)
    monkeypatch.setattr(objectives, "CHUNK", chunk)


def loss_and_gradients(model: MISSRec, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model.calculate_loss(batch)
    loss.backward()
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }
    return loss.detach(), gradients


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o.values())))
def test_loss_and_gradients_equal_those_of_one_chunk(
    shop: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    model = tiny_model(shop, **options)
    assert model.n_items == 25  # with padding
    batch = random_batch(model)
    loss, gradients = loss_and_gradients(model, batch)
    assert sum(bool(gradient.any()) for gradient in gradients.values()) > 20
    for chunk in CHUNKS:
        set_chunk(monkeypatch, chunk)
        found, chunked = loss_and_gradients(model, batch)
        assert close(found, loss), chunk
        for name, gradient in gradients.items():
            assert close(chunked[name], gradient), (chunk, name)


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o.values())))
def test_scores_equal_those_of_one_chunk(
    shop: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    model = tiny_model(shop, **options)
    batch = random_batch(model)
    model.eval()
    scores = model.full_sort_predict(batch)
    for chunk in CHUNKS:
        set_chunk(monkeypatch, chunk)
        model.eval()  # a new pass
        assert close(model.full_sort_predict(batch), scores), chunk


def test_targets_in_every_chunk(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(shop)
    batch = random_batch(model, rows=24)
    batch.interaction["item_id"] = torch.arange(1, 25)
    loss, gradients = loss_and_gradients(model, batch)
    set_chunk(monkeypatch, 5)
    found, chunked = loss_and_gradients(model, batch)
    assert close(found, loss)
    for name, gradient in gradients.items():
        assert close(chunked[name], gradient), name


def test_items_are_adapted_a_chunk_at_a_time(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(shop)
    batch = random_batch(model, rows=2)
    widest: list[int] = []
    for adapter in model.adapters.values():
        adapter.register_forward_hook(lambda _, __, out: widest.append(len(out)))
    set_chunk(monkeypatch, 16)  # the histories have fewer items
    model.calculate_loss(batch).backward()
    model.eval()
    model.full_sort_predict(batch)
    assert max(widest) == 16


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o.values())))
def test_sampled_loss_and_gradients_are_finite(shop: Path, options: dict[str, Any]) -> None:
    model = tiny_model(shop, softmax="sampled", softmax_samples=6, **options)
    batch = random_batch(model)
    torch.manual_seed(0)
    loss, gradients = loss_and_gradients(model, batch)
    assert loss.isfinite()
    for name, gradient in gradients.items():
        assert gradient.isfinite().all(), name
    assert sum(bool(gradient.any()) for gradient in gradients.values()) > 20
    assert not torch.equal(loss_and_gradients(model, batch)[0], loss)  # other items are drawn


def test_items_are_drawn_by_their_share_of_the_training_rows(shop: Path) -> None:
    model = tiny_model(shop, softmax="sampled")
    number = tiny_data(shop).field2token_id["item_id"]
    sold = torch.ones(model.n_items)  # every item may be drawn
    sold[0] = 0  # but for padding
    for history in read_histories(shop).values():
        for item in history[1:-2]:  # targets; the last two are held out
            sold[number[item]] += 1
    torch.testing.assert_close(model.share, (sold / sold.sum()).double())


def test_millions_of_items_are_drawn_by_their_share(shop: Path) -> None:
    # The cumulative shares are summed in their own precision: in float32 those of 3 million items
    # alike, 3.3e-7 each, are rounded to multiples of 6e-8 above 0.5, and drawn 7 % too often.
    dataset = tiny_data(shop, softmax="sampled")
    share = MISSRec(dataset.config, dataset).share  # as it is trained, not in float64
    torch.manual_seed(0)
    items, count = 3 * 10**6, 10**6
    alike = torch.full((items,), 1 / items, dtype=share.dtype)
    drawn = alike.multinomial(count, replacement=True)
    first_half = float((drawn < items // 2).double().mean())
    assert first_half == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / count))


@pytest.mark.parametrize("ids", [True, False])
def test_many_samples_approach_the_full_loss(shop: Path, ids: bool) -> None:
    count = 40_000
    full = tiny_model(shop, item_ids=ids)
    model = tiny_model(shop, softmax="sampled", softmax_samples=count, item_ids=ids)
    for name, parameter in full.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter), name
    weights = torch.arange(model.n_items).double() + 3  # from 4 to 27
    weights[0] = 0  # padding
    model.share.copy_(weights / weights.sum())
    batch = random_batch(full)
    scores = full.full_sort_predict(batch)
    others = scores.softmax(1).scatter(1, batch["item_id"][:, None], 0)[:, 1:]
    # relative standard error of each row's estimated sum of exponentials
    variance = (others.square() / model.share[1:]).sum(1) - others.sum(1).square()
    errors = (variance / count).sqrt().tolist()
    assert sum(errors) / len(errors) < 0.05
    torch.manual_seed(0)
    for row, error in enumerate(errors):
        alone = interaction(*(value[row : row + 1] for value in batch.interaction.values()))
        with torch.no_grad():
            found, expected = (float(each.calculate_loss(alone)) for each in (model, full))
        assert found == pytest.approx(expected, abs=4 * error), row
