"""Density peaks by an index: near the exact result, repeatable, and exact where lists are few."""

import pytest
import torch
from torch import Tensor

from benchmarks.tokens import structured_tokens
from recbole_missrec.interests import ivf
from recbole_missrec.interests.density_peaks import density_peaks
from recbole_missrec.interests.health import changed_share
from recbole_missrec.interests.neighbours import neighbours


def _duplicated(places: int, times: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(places, 8, generator=generator).repeat(times, 1)


@pytest.mark.parametrize("ratio", [0.02, 0.5])
def test_assignments_are_nearly_the_exact_ones(ratio: float) -> None:
    points = structured_tokens(6000, 40)
    clusters = int(ratio * len(points))
    exact, _ = density_peaks(points, clusters, 20)
    likely, centroids = density_peaks(points, clusters, 20, index_seed=1)
    assert not torch.equal(likely, exact)  # the index does look into some lists only
    assert changed_share(exact, likely) < 0.05
    mean = points[likely == 7].double().mean(0)
    torch.testing.assert_close(centroids[7].double(), mean, rtol=1e-6, atol=1e-6)


def test_few_points_are_all_looked_at() -> None:
    points = structured_tokens(500, 40)  # 15 lists, of which 16 are looked into
    exact, likely = density_peaks(points, 50, 20), density_peaks(points, 50, 20, index_seed=1)
    assert torch.equal(exact[0], likely[0]) and torch.equal(exact[1], likely[1])


def test_the_same_for_a_seed() -> None:
    points = structured_tokens(6000, 40)
    first, second, other = (
        torch.cat([near for _, _, near in ivf.likely_neighbours(points, 20, seed)])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    first, second = (density_peaks(points, 99, 20, index_seed=1)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_short_lists_are_made_up_for_by_all_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    # two points a list, of which only their own is looked into: too few for 20
    for name, value in (("LISTS", 100), ("PROBES", 1), ("_SHORTEST", 2), ("_POOL", 0)):
        monkeypatch.setattr(ivf, name, value)
    points = structured_tokens(400, 20)
    ((_, _, expected),) = neighbours(points, 20)
    blocks = list(ivf.likely_neighbours(points, 20, seed=1))
    assert len(blocks) > 100
    assert sorted(torch.cat([rows for rows, _, _ in blocks]).tolist()) == list(range(400))
    for rows, _, near in blocks:
        assert torch.equal(near, expected[rows])


def test_no_point_is_its_own_neighbour_among_duplicates() -> None:
    points = _duplicated(10, 40)
    for rows, squared, near in ivf.likely_neighbours(points, 20, seed=1):
        assert not (near == rows[:, None]).any()
        assert not squared.any()
    assignment, _ = density_peaks(points, 10, 20, index_seed=1)
    assert torch.equal(assignment, assignment[:10].repeat(40))
    assert len(assignment.unique()) == 10
