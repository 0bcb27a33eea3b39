"""Density peaks: worked by hand, and equal to the dense algorithm, ties and duplicates included."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_missrec.interests import density_peaks as module
from recbole_missrec.interests.density_peaks import cluster_means, density_peaks
from tests.reference.density_peaks import density_peaks as dense_density_peaks


def test_two_groups_on_a_line() -> None:
    # groups 0 1 2 and 10 11 12, k = 2: mean squared distances 2.5 1 2.5 and 2.5 1 2.5.
    # Densest is the point at 1 (lower index at the tie with 11), far from the end at 12: 11.
    # The point at 11 is 10 away from it; all others 1 away from a denser point.
    points = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    assignment, centroids = density_peaks(points, num_clusters=2, neighbours=2)
    assert assignment.tolist() == [0, 0, 0, 1, 1, 1]
    assert centroids.tolist() == [[1.0], [11.0]]


def test_duplicates_of_a_peak_are_not_all_centres() -> None:
    # three points at 0 and two at 5: the duplicates are 0 away from a denser one, so score 0
    points = torch.tensor([[0.0], [5.0], [0.0], [5.0], [0.0]])
    assignment, centroids = density_peaks(points, num_clusters=2, neighbours=1)
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
    k = max(1 + include_self, min(neighbours, most))
    found = density_peaks(points, clusters, k, include_self)
    expected = dense_density_peaks(points, clusters, k, include_self)
    assert found[0].tolist() == expected[0].tolist()
    torch.testing.assert_close(found[1], expected[1], rtol=1e-12, atol=1e-12)


def test_neither_blocks_nor_threads_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
    points[100:150] = points[:50]
    threads = torch.get_num_threads()
    expected = density_peaks(points, 60, 12)
    try:
        for elements, number in ((1, 1), (5000, 2), (10**7, 2)):
            monkeypatch.setattr(module, "_BLOCK_ELEMENTS", elements)
            torch.set_num_threads(number)
            found = density_peaks(points, 60, 12)
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])
    finally:
        torch.set_num_threads(threads)


def test_permuted_points_give_permuted_clusters() -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(200, 8, generator=generator)
    order = torch.randperm(200, generator=generator)
    assignment, centroids = density_peaks(points, 20, 5)
    permuted, permuted_centroids = density_peaks(points[order], 20, 5)
    assert torch.equal(permuted, assignment[order])
    torch.testing.assert_close(permuted_centroids, centroids)


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
    assignment, _ = density_peaks(points, num_clusters=2, neighbours=2)
    assert assignment.tolist() == [0, 0, 0, 1, 1, 1]
