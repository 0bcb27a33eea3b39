"""k-means by either library: repeatable, no empty clusters, and started where it is told to."""

import sys

import pytest
import torch
from torch import Tensor

from benchmarks.tokens import structured_tokens
from recbole_missrec.errors import UsageError
from recbole_missrec.interests import kmeans as module
from recbole_missrec.interests.kmeans import kmeans

LIBRARIES = pytest.mark.parametrize("limit", [10**8, 0], ids=["scikit-learn", "faiss"])


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(module, "_LARGE", request.node.callspec.params["limit"])


def mean_squared(points: Tensor, found: tuple[Tensor, Tensor]) -> float:
    """Mean squared distance to the centroid."""
    assignment, centroids = found
    return float((points - centroids[assignment]).square().sum(1).mean())


@LIBRARIES
def test_three_groups(limit: int) -> None:
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0], [20.0], [21.0]])
    assignment, centroids = kmeans(points, 3, seed=0)
    assert sorted(centroids.flatten().tolist()) == [0.5, 10.5, 20.5]
    assert centroids[assignment].flatten().tolist() == [0.5, 0.5, 10.5, 10.5, 20.5, 20.5]


@LIBRARIES
def test_the_same_for_a_seed_without_empty_clusters(limit: int) -> None:
    points = structured_tokens(2000, 20)
    first, second, other = (kmeans(points, 100, seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert len(first.unique()) == 100


@LIBRARIES
def test_fewer_distinct_points_than_clusters_leave_the_last_empty(limit: int) -> None:
    points = torch.tensor([[0.0], [0.0], [4.0], [4.0]])
    assignment, centroids = kmeans(points, 3, seed=5)
    assert assignment[0] == assignment[1] != assignment[2] == assignment[3]
    assert sorted(assignment.unique().tolist()) == [0, 1]
    assert centroids[2].tolist() == [0.0]


@LIBRARIES
def test_as_many_clusters_as_points(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INDEXED", 4)
    points = structured_tokens(40, 20)
    assignment, centroids = kmeans(points, 40, seed=5)
    assert sorted(assignment.tolist()) == list(range(40))
    torch.testing.assert_close(centroids[assignment], points)


@LIBRARIES
def test_a_start_decides_where_the_steps_end(limit: int) -> None:
    # two groups of two: from {0, 11}, {1, 10} the means are equal but for the first step's ties;
    # from the groups themselves nothing moves; from {0}, {1, 10, 11} the 1 comes to the 0
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    for start in ([1, 1, 0, 0], [0, 1, 1, 1]):
        _, centroids = kmeans(points, 2, seed=0, start=torch.tensor(start))
        assert sorted(centroids.flatten().tolist()) == [0.5, 10.5]
    stuck, centroids = kmeans(torch.tensor([[0.0], [4.0], [9.0]]), 2, 0, torch.tensor([0, 1, 1]))
    assert stuck.tolist() == [0, 1, 1]  # 4 is nearer to 6.5 than to 0


@LIBRARIES
def test_a_start_at_the_end_is_where_it_ends(limit: int) -> None:
    points = structured_tokens(2000, 20)
    for seed in range(3):
        end = kmeans(points, 100, seed)[0]
        for _ in range(5):  # until nothing moves any more
            end = kmeans(points, 100, seed, end)[0]
        assert torch.equal(kmeans(points, 100, seed + 1, end)[0], end)


@pytest.mark.parametrize("limit", [3 * 2])
def test_many_points_need_faiss(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # as where it is absent
    points = torch.tensor([[0.0], [0.0], [5.0], [6.0]])
    assert kmeans(points[1:], 2, 0)[0].unique().tolist() == [0, 1]
    with pytest.raises(UsageError, match="k-means: 2 interests of 4 tokens need faiss; `pip"):
        kmeans(points, 2, 0)


@pytest.mark.parametrize("limit", [10**8])
@pytest.mark.parametrize("indexed", [4096, 300], ids=["all centroids", "index"])
def test_faiss_is_nearly_as_good(monkeypatch: pytest.MonkeyPatch, limit: int, indexed: int) -> None:
    points = structured_tokens(4000, 40)
    by_scikit_learn = kmeans(points, 400, 0)
    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(module, "_INDEXED", indexed)
    by_faiss = kmeans(points, 400, 0)
    assert len(by_faiss[0].unique()) == 400
    assert mean_squared(points, by_faiss) < 1.15 * mean_squared(points, by_scikit_learn)
