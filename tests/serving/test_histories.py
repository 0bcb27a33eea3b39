"""Histories of raw tokens on cases worked by hand."""

import numpy as np
import torch

from recbole_missrec.model.history import History
from recbole_missrec.serving.catalogue import Catalogue
from recbole_missrec.serving.histories import flatten, held_items, look_up
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.users import Users

CATALOGUE = Catalogue(["a", "b", "c"], torch.zeros(4, dtype=torch.long))


def test_the_last_known_items_are_read_and_unknown_tokens_counted() -> None:
    rows = [["a", "x", "b", "c"], [], ["x", "y"], ["c", "a"]]
    found = look_up(CATALOGUE, *flatten(rows), longest=2)
    assert found.items.tolist() == [[2, 3], [0, 0], [0, 0], [3, 1]]
    assert found.lengths.tolist() == [2, 0, 0, 2]
    assert found.unknown.tolist() == [1, 0, 2, 0]
    assert found.take(torch.tensor([1])).items.tolist() == [[0]]


def test_no_histories() -> None:
    found = look_up(CATALOGUE, *flatten([]), longest=2)
    assert found.items.shape == (0, 1) and found.lengths.tolist() == []


def test_each_item_of_a_history_is_held_once() -> None:
    history = History(torch.tensor([[3, 1, 3], [1, 2, 0]]), torch.tensor([3, 2]))
    held = held_items(history)
    assert held.item.tolist() == [1, 1, 2, 3]
    assert held.row.tolist() == [0, 1, 1, 0]
    assert held.last.tolist() == [False, False, True, True]
    which, row, column = held.within(torch.tensor([1, 3, 4]))
    assert which.tolist() == [0, 1, 3]
    assert (row.tolist(), column.tolist()) == ([0, 1, 0], [0, 0, 1])
    assert held.within(torch.tensor([5, 6]))[0].tolist() == []
    assert held.within(torch.tensor([2]))[2].tolist() == [0]


def test_users_of_a_data_set() -> None:
    users = Users(np.array(["u", "v"], object), np.array([1, 2, 3, 1]), np.array([1, 3]))
    found = users.histories(["v", "nobody", "u", "v"], longest=2)
    assert found.items.tolist() == [[3, 1], [0, 0], [1, 0], [3, 1]]
    assert found.lengths.tolist() == [2, 0, 1, 2]


def test_a_shorter_list_of_the_most_popular_is_the_start_of_a_longer_one(
    recommender: Recommender,
) -> None:
    longest = recommender.recommend([[]], k=24)[0]
    assert len(set(longest["scores"])) < 24  # there are ties
    for k in range(1, 24):
        assert recommender.recommend([[]], k=k)[0]["items"] == longest["items"][:k]
