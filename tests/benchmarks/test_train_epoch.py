"""The padded form that the benchmark compares with computes the same as the model."""

from typing import Any

import pytest
import torch
from recbole.data import data_preparation

from benchmarks.padded import PaddedMISSRec, interest_tokens
from recbole_missrec.data.dataset import MultiModalSequentialDataset
from recbole_missrec.model.missrec import MISSRec
from tests.shops import tiny_config, write_tiny_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[MISSRec, Any, Any]:
    """A model in float64 with random weights, biases and alpha; training and test batches."""
    folder = write_tiny_shop(tmp_path_factory.mktemp("shop"))
    config = tiny_config(folder, dropout=0.0, gamma=0.7, MAX_ITEM_LIST_LENGTH=12)
    dataset = MultiModalSequentialDataset(config)
    train_data, _, test_data = data_preparation(config, dataset)
    torch.manual_seed(3)
    model = MISSRec(config, train_data._dataset).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.discover_interests(0)
    return model, train_data, test_data


def test_loss_and_gradients_are_equal(shop: tuple[MISSRec, Any, Any]) -> None:
    model, train_data, _ = shop
    padded_form = PaddedMISSRec(model).train()
    assert len(train_data) > 1
    for batch in train_data:
        own, padded = model.calculate_loss(batch), padded_form.calculate_loss(batch)
        torch.testing.assert_close(own, padded, rtol=1e-12, atol=1e-12)
        gradients = (torch.autograd.grad(loss, list(model.parameters())) for loss in (own, padded))
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_scores_are_equal(shop: tuple[MISSRec, Any, Any]) -> None:
    model, _, test_data = shop
    padded_form = PaddedMISSRec(model).eval()
    for batch, *_ in test_data:
        scores = padded_form.full_sort_predict(batch)
        assert scores.shape == (len(batch), model.n_items)
        torch.testing.assert_close(model.full_sort_predict(batch), scores, rtol=1e-12, atol=1e-12)


def test_interests_are_distinct_and_as_wide_as_the_tokens(
    shop: tuple[MISSRec, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items 1 and 2 have interests {4, 0} and {0}; item 3 and the padding have none."""
    model, none = shop[0], len(shop[0].centroids) - 1
    ids = torch.full_like(model.interest_ids, none)
    ids[1] = torch.tensor([4, 0])
    ids[2] = torch.tensor([none, 0])
    monkeypatch.setattr(model, "interest_ids", ids)

    tokens, pad = interest_tokens(model, torch.tensor([[1, 2, 1, 0], [3, 0, 0, 0]]))

    assert tokens.shape == (2, 8, 8)  # 4 items of 2 modalities, 8 dimensions
    assert pad.tolist() == [[False] * 2 + [True] * 6, [False] + [True] * 7]
    assert torch.equal(tokens[0, :2], model.centroids[[0, 4]])
    assert not tokens[1].any()  # one zero vector is read
