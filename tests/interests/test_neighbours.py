"""The exact search: bounds are bounds, ties go to the lowest index, all of a query are found."""

import pytest
import torch
from torch import Tensor

from recbole_missrec.interests.neighbours import (
    cloud,
    distinct,
    nearest,
    nearest_centre,
    neighbours,
    squared_distances,
)


def test_neighbours_on_a_line() -> None:
    points = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    ((rows, squared, near),) = neighbours(points, 2)
    assert rows.tolist() == [0, 1, 2, 3]
    assert near.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert squared.tolist() == [[1, 9], [1, 4], [4, 9], [16, 36]]
    assert near.dtype == torch.int32 and squared.dtype == torch.float64


def test_places_in_the_order_of_their_first_points() -> None:
    points = torch.tensor([[2.0, 1.0], [0.0, -0.0], [2.0, 1.0], [1.0, 2.0], [-0.0, 0.0]])
    first, place, times = distinct(points)
    assert first.tolist() == [0, 1, 3]
    assert place.tolist() == [0, 1, 0, 2, 1]
    assert times.tolist() == [2, 2, 1]


def test_squared_distances_of_pairs() -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    index = torch.tensor([[1, 2], [1, 0]])
    assert squared_distances(points[:2], points, index).tolist() == [[25, 2], [0, 25]]


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4])
def test_bounds_are_below_the_distances_and_near_them(scale: float, offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.logspace(-6, 0, 60)[:, None]  # of points near the middle and far from it
    points = scale * (offset + spread * torch.randn(60, 300, generator=generator))
    made = cloud(points)
    everyone = torch.arange(60).expand(60, 60)
    exact = squared_distances(points, points, everyone) / made.unit**2
    centred, norms = made.factors[:, :-1], made.factors[:, -1].double()
    bounds = norms + norms[:, None] - 2 * (centred @ centred.T).double()
    lengths = centred.double().square().sum(1)
    below = exact - bounds
    assert below.min() >= 0
    assert (below <= 1e-4 * (lengths + lengths[:, None]) + 1e-29).all()


def test_the_lowest_of_many_equally_near() -> None:
    # forty-one points at distance 5 from (10, 0, ...), more than the first candidates; the first
    # is nearest to the middle of all, so that its bound is the highest
    sides = 5 * torch.eye(21)
    around = 10 * torch.eye(21)[:1] + torch.cat([-sides[:1], sides[1:], -sides[1:]])
    made = cloud(torch.cat([around, -around, 2 * sides[:1]]))
    query = made[82:]
    assert nearest_centre(query, made[:41]).tolist() == [0]
    squared, index = nearest(query, made[:41], 3)
    assert index.tolist() == [[0, 1, 2]]
    assert squared.tolist() == [[25, 25, 25]]


def test_hidden_points_are_not_found() -> None:
    points = torch.arange(100.0)[:, None]

    def hide(bounds: Tensor, rows: Tensor, first: int) -> None:
        bounds[:, max(0, 3 - first) :] = torch.inf  # from point 3 on

    made = cloud(points)
    squared, index = nearest(made[:2], made, 3, hide)
    assert index.tolist() == [[0, 1, 2], [1, 0, 2]]
    assert squared.tolist() == [[0, 1, 4], [0, 1, 1]]


def test_of_many_centres_at_one_place_the_first_is_found() -> None:
    centres = torch.cat([torch.zeros(1, 3), torch.ones(40, 3), torch.zeros(40, 3)])
    whole = cloud(torch.cat([centres, torch.tensor([[0.9] * 3, [0.1] * 3])]))
    assert nearest_centre(whole[81:], whole[:81]).tolist() == [1, 0]
