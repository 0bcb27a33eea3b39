"""What is added to the scores of candidates that stand in the history."""

from typing import Any

import pytest
import torch

from recbole_missrec.model.history import History, HistoryBias, held

# the second history holds an item twice, the third ends with one that it has had before
ITEMS = torch.tensor([[3, 5, 0, 0], [2, 2, 4, 1], [1, 6, 1, 0]])
LENGTHS = torch.tensor([2, 4, 3])


@pytest.fixture
def bias() -> HistoryBias:
    module = HistoryBias()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([-2.0, -1.0]))
    return module


def test_exact_values(bias: HistoryBias) -> None:
    found = bias(torch.zeros(3, 6), History(ITEMS, LENGTHS), slice(1, 7), 0.5)
    assert found.tolist() == [[0, 0, -4, 0, -6, 0], [-6, -4, 0, -4, 0, 0], [-6, 0, 0, 0, 0, -4]]


def test_it_begins_at_nothing() -> None:
    scores = torch.arange(21.0).view(3, 7)
    assert torch.equal(
        HistoryBias()(scores.clone(), History(ITEMS, LENGTHS), slice(0, 7), 1), scores
    )


@pytest.mark.parametrize(
    "candidates",
    [slice(1, 7), slice(2, 5), slice(5, 7), torch.tensor([6, 1, 1, 5]), torch.tensor([4])],
    ids=str,
)
def test_any_candidates_are_columns_of_all(bias: HistoryBias, candidates: Any) -> None:
    everything = bias(torch.zeros(3, 7), History(ITEMS, LENGTHS), slice(0, 7), 1)
    part = torch.zeros_like(everything[:, candidates])
    found = bias(part, History(ITEMS, LENGTHS), candidates, 1)
    assert torch.equal(found, everything[:, candidates])


def test_held() -> None:
    everything = torch.tensor([[item in row for item in range(7)] for row in ITEMS.tolist()])
    candidates = torch.tensor([6, 1, 1, 0, 5])
    assert torch.equal(held(ITEMS, candidates), everything[:, candidates])


def test_gradients_count_what_is_held(bias: HistoryBias) -> None:
    bias(torch.zeros(3, 6), History(ITEMS, LENGTHS), slice(1, 7), 1).sum().backward()
    assert bias.weight.grad is not None
    assert bias.weight.grad.tolist() == [7, 3]  # distinct items of the rows, and the last ones


def test_padding_of_histories_changes_nothing(bias: HistoryBias) -> None:
    wider = torch.nn.functional.pad(ITEMS, (0, 3))
    scores = [
        bias(torch.zeros(3, 6), History(items, LENGTHS), slice(1, 7), 1) for items in (wider, ITEMS)
    ]
    assert torch.equal(*scores)
