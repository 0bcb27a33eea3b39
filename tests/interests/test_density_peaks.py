"""Density peaks: worked by hand, and equal to the dense algorithm, ties and duplicates included."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.dense import dense_density_peaks
from recbole_missrec.interests import neighbours
from recbole_missrec.interests.density_peaks import cluster_means, density_peaks
from recbole_missrec.interests.neighbours import squared_distances
from tests.reference.density_peaks import density_peaks as pairwise_density_peaks


def test_two_groups_on_a_line() -> None:
    # groups 0 1 2 and 10 11 12, k = 2: mean squared distances 2.5 1 2.5 and 2.5 1 2.5.
    # Densest is the point at 1 (lower index at the tie with 11), far from the end at 12: 11.
    # The point at 11 is 10 away from it; all others 1 away from a denser point.
    points = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    assignment, centroids = density_peaks(points, num_clusters=2, k=2)
    assert assignment.tolist() == [0, 0, 0, 1, 1, 1]
    assert centroids.tolist() == [[1.0], [11.0]]


def test_duplicates_of_a_peak_are_not_all_centres() -> None:
    # three points at 0 and two at 5: the duplicates are 0 away from a denser one, so score 0
    points = torch.tensor([[0.0], [5.0], [0.0], [5.0], [0.0]])
    assignment, centroids = density_peaks(points, num_clusters=2, k=1)
    assert assignment.tolist() == [0, 1, 0, 1, 0]
    assert centroids.tolist() == [[0.0], [5.0]]


@settings(max_examples=150, deadline=None)
@given(
    coordinates=st.lists(
        st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=24
    ),
    share=st.floats(0.05, 1),
    neighbours=st.integers(1, 30),
    include_self=st.booleans(),
)
def test_equals_the_dense_algorithm_with_ties_and_duplicates(
    coordinates: list[tuple[int, int]], share: float, neighbours: int, include_self: bool
) -> None:
    points = torch.tensor(coordinates, dtype=torch.float64)
    clusters = max(1, int(share * len(points)))
    most = len(points) - (not include_self)
    k = min(neighbours, most)
    found = density_peaks(points, clusters, k, include_self)
    expected = pairwise_density_peaks(points, clusters, k, include_self)
    assert found[0].tolist() == expected[0].tolist()
    torch.testing.assert_close(found[1], expected[1], rtol=1e-12, atol=1e-12)


def _line(n: int) -> Tensor:
    return torch.rand(n, 1, generator=torch.Generator().manual_seed(5))


def _random(n: int, dim: int = 7) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(6))


def _clustered(n: int, dim: int = 7) -> Tensor:
    return 5 * _random(n // 5 + 1, dim).repeat(5, 1)[:n] + 0.1 * _random(n, dim)


def _duplicated(n: int) -> Tensor:
    """Twelve of one, and pairs: more than the further candidates of a search, and fewer."""
    points = _random(n)
    points[:12] = points[0]
    points[12::2] = points[13::2]
    return points


def _equidistant(n: int) -> Tensor:
    """Corners of a simplex, four points in each."""
    return torch.eye(n // 4).repeat(4, 1)


def _far_from_the_origin(n: int) -> Tensor:
    """Distances of 1 at 2^20, where single precision has steps of 1/8."""
    return 2.0**20 + torch.arange(n)[:, None].float()


def _with_an_outlier(n: int) -> Tensor:
    """One point so far away that single precision does not tell the others apart."""
    points = 1e-4 * _random(n)
    points[3] += 100
    return points


def _minute(n: int) -> Tensor:
    """Squared distances below the smallest number of single precision."""
    return 1e-25 * _random(n)


def _huge(n: int) -> Tensor:
    """Squared distances above the largest."""
    return 1e25 * _random(n)


@pytest.mark.parametrize("k", range(1, 28))
@pytest.mark.parametrize(
    "points",
    [
        _line(28), _random(28), _clustered(28), _duplicated(28), _equidistant(28),
        _far_from_the_origin(28), _with_an_outlier(28), _minute(28), torch.ones(28, 3),
    ],
    ids=[
        "line", "random", "clustered", "duplicated", "equidistant",
        "far", "outlier", "minute", "equal",
    ],
)  # fmt: skip
def test_equals_the_dense_algorithm_for_every_k(points: Tensor, k: int) -> None:
    for clusters in (1, 3, 14, 28):
        found = density_peaks(points, clusters, k)
        expected = pairwise_density_peaks(points.double(), clusters, k)
        assert found[0].tolist() == expected[0].tolist()
        torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("k", [2, 20, 799])
@pytest.mark.parametrize(
    "points",
    [_line(800), _random(800, 60), _clustered(800, 60)],
    ids=["line", "random", "clustered"],
)
def test_equals_the_matrix_of_all_pairs(points: Tensor, k: int) -> None:
    points = points.double()
    for clusters in (16, 400):
        assignment, _ = density_peaks(points, clusters, k)
        assert torch.equal(assignment, dense_density_peaks(points, clusters, k)[0])


def test_more_neighbours_than_points_are_all_of_them() -> None:
    points = _random(28)
    assert torch.equal(density_peaks(points, 5, 99)[0], density_peaks(points, 5, 27)[0])


@pytest.mark.parametrize(
    "points",
    [_random(120, 16), _duplicated(120), _equidistant(120), _line(120)],
    ids=["random", "duplicated", "equidistant", "line"],
)
def test_neither_blocks_nor_threads_nor_candidates_change_the_result(
    monkeypatch: pytest.MonkeyPatch, points: Tensor
) -> None:
    threads = torch.get_num_threads()
    expected = density_peaks(points, 40, 10)
    try:
        for rows, columns, entries, slack, number in (
            (10, 60, 300, 0, 1),
            (33, 50, 900, 0, 2),
            (120, 40, 10**7, 1, 2),
            (1024, 119, 10**7, 120, 1),
        ):
            for name, value in (("ROWS", rows), ("COLUMNS", columns), ("ENTRIES", entries)):
                monkeypatch.setattr(neighbours, f"_{name}", value)
            monkeypatch.setattr(neighbours, "_DIFFERENCES", entries)
            monkeypatch.setattr(neighbours, "_SLACK", slack)
            torch.set_num_threads(number)
            found = density_peaks(points, 40, 10)
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])
    finally:
        torch.set_num_threads(threads)


def test_permuted_points_give_permuted_clusters() -> None:
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    points = _random(200)
    assignment, centroids = density_peaks(points, 20, 5)
    permuted, permuted_centroids = density_peaks(points[order], 20, 5)
    assert torch.equal(permuted, assignment[order])
    torch.testing.assert_close(permuted_centroids, centroids)


def test_permuted_duplicates_stay_with_their_likes() -> None:
    order = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    points = _random(50).repeat(4, 1)  # each four times
    # fewer clusters than places, and more neighbours than a place and the next one have: no ties
    assignment, _ = density_peaks(points, 20, 8)
    permuted, _ = density_peaks(points[order], 20, 8)
    assert torch.equal(permuted, assignment[order])
    assert torch.equal(assignment[:50], assignment[50:100])


def test_points_at_one_place_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = []

    def counted(queries: Tensor, points: Tensor, index: Tensor) -> Tensor:
        pairs.append(index.numel())
        return squared_distances(queries, points, index)

    monkeypatch.setattr(neighbours, "squared_distances", counted)
    points = _random(60)
    density_peaks(torch.cat([points, points[:1].expand(900, -1)]), 20, 8)
    assert pairs[0] == 60 * 16  # neighbours and further candidates of each place
    assert sum(pairs) < 60 * 60


def test_equal_points_are_one_cluster_and_its_idle_duplicates() -> None:
    # all are centres by their index alone; the rest goes to the first
    assignment, centroids = density_peaks(torch.ones(6000, 3), 1500, 20)
    assert assignment[:1500].tolist() == list(range(1500))
    assert not assignment[1500:].any()
    assert torch.equal(centroids, torch.ones(1500, 3))


def test_more_clusters_than_points_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 clusters of 2 points"):
        density_peaks(torch.zeros(2, 1), 3, 1)


def test_one_point() -> None:
    assignment, centroids = density_peaks(torch.tensor([[2.0]]), 1, 5)
    assert (assignment.tolist(), centroids.tolist()) == ([0], [[2.0]])


def test_means_of_clusters() -> None:
    points = torch.tensor([[0.0, 2.0], [2.0, 4.0], [5.0, 5.0]])
    means = cluster_means(points, torch.tensor([0, 0, 2]), 3)
    assert means.tolist() == [[1.0, 3.0], [0.0, 0.0], [5.0, 5.0]]


def test_far_apart_points_do_not_underflow() -> None:
    # the two groups of the first test, a thousand times wider: exp(-10^6) is 0, its log is not
    points = 1000 * torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    assignment, _ = density_peaks(points, num_clusters=2, k=2)
    assert assignment.tolist() == [0, 0, 0, 1, 1, 1]
