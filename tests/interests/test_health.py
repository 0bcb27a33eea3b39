"""Health of clusterings that one can count by hand."""

import math

import pytest
import torch
from torch import Tensor

from recbole_missrec.interests.health import Interests, changed_share, examine, movement


def ids(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


def test_counts_of_a_small_clustering() -> None:
    # cluster 0: three tokens of both modalities; 1: one; 2: two of the second; 3: none
    interests = Interests(ids([-1, -1], [0, 0], [0, 2], [1, 2]), torch.zeros(4, 1))
    health = examine(interests, None, 1.0, 2.5)
    assert (health.clusters, health.used) == (4, 3)
    assert (health.smallest, health.median, health.largest) == (1, 2, 3)
    assert health.largest_share == 0.5
    entropy = math.log(2) / 2 + math.log(6) / 6 + math.log(3) / 3
    assert health.perplexity == pytest.approx(math.exp(entropy))
    assert health.mixed_share == pytest.approx(1 / 3)
    assert (health.changed_share, health.moved, health.seconds) == (1.0, 1.0, 2.5)
    assert health.peak_memory_mib > 10


def test_changes_are_counted_where_tokens_are_present() -> None:
    # 0 and 1 have changed names; of the five tokens one has left its cluster
    before = Interests(ids([-1, -1], [0, 0], [0, 1], [1, -1]), torch.zeros(2, 1))
    now = Interests(ids([-1, -1], [1, 1], [1, 0], [1, -1]), torch.zeros(2, 1))
    assert examine(now, before, 0.0, 0.0).changed_share == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 0),
        ([0, 0, 1, 1], [5, 5, 3, 3], 0),  # other names
        ([0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0], 4 / 6),  # the merged one goes on as one of them
        ([0, 0, 0, 0], [0, 0, 0, 1], 1 / 4),  # the larger part of one that was split goes on
        ([0, 0, 1, 1], [0, 1, 0, 1], 3 / 4),  # ties: the lowest pair, and no other is mutual
        ([0, 0, 0, 1, 1], [1, 1, 0, 1, 1], 3 / 5),  # 1 took most of both: only one pair is mutual
    ],
)
def test_share_of_tokens_that_changed(before: list[int], now: list[int], expected: float) -> None:
    assert changed_share(torch.tensor(before), torch.tensor(now)) == pytest.approx(expected)


def test_movement_is_that_of_the_interests_tokens() -> None:
    # interest 0, twice: from 2 to 3; interest 1, once: from 10 to 10; the third is empty
    points = torch.tensor([[2.5], [3.5], [10.0]])
    centroids = torch.tensor([[2.0], [10.0], [0.0]])
    moved = movement(points, torch.tensor([0, 0, 1]), centroids)
    assert moved == pytest.approx((1 + 1 + 0) / (2 + 2 + 10))
    assert movement(points, torch.tensor([0, 0, 1]), torch.tensor([[3.0], [10.0], [0.0]])) == 0


def collapses(sizes: list[int], clusters: int, caplog: pytest.LogCaptureFixture) -> bool:
    caplog.clear()
    assignment = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    examine(Interests(assignment[:, None], torch.zeros(clusters, 1)), None, 1.0, 0.0)
    return "interests have collapsed" in caplog.text


def test_a_collapse_is_a_warning_that_says_what_to_try(caplog: pytest.LogCaptureFixture) -> None:
    assert not collapses([5, 3, 2], 3, caplog)  # half
    assert collapses([6, 3, 1], 3, caplog)
    assert "--knn_neighbours" in caplog.text and "60.0%" in caplog.text
    assert not collapses([6, 4], 2, caplog)  # of two one always holds half
    assert not collapses([10], 1, caplog)
    assert not collapses([1] * 4, 400, caplog)  # one in a hundred
    assert collapses([1] * 4, 401, caplog)
