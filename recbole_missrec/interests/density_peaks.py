"""Density peaks on k nearest neighbours (DPC-KNN) without the N x N matrix.

Source: MISSRec, section 3.2; Du et al., Study on density peaks clustering based on k-nearest
neighbors, 2016.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recbole_missrec.interests.neighbours import (
    Cloud,
    blocks,
    cloud,
    distinct,
    nearest,
    nearest_centre,
    neighbours,
    squared_distances,
)
from recbole_missrec.machine import release_free_memory

_PEAKS = 2**12  # searched for together


def density_peaks(
    points: Tensor,
    num_clusters: int,
    k: int,
    include_self: bool = False,
    index_seed: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Cluster points around density peaks.

    Density falls with the mean squared distance to the k nearest neighbours; a centre is dense and
    far from any denser point. Denser is the lower mean squared distance, then the lower index, so
    that duplicates of a peak do not all become centres. If one of a point's neighbours is denser,
    the nearest such neighbour is its nearest denser point; only local peaks need a search over
    all points, among those that are denser. Points at one place are looked for once. For n places,
    memory O(n (k + dim)); time O(n^2 dim) in matrix products. Approximately, with an index for
    neighbours and nearest centres, O(n^1.5 dim), but for the peaks.

    Permuted points give the permuted clusters as long as only duplicates are equally dense, and
    the scores of the last centre and of the best point that is none differ.

    No earlier result helps: there are no iterations that could start from it, and neighbours are
    known to be the nearest only when all points have been looked at.

    Args:
        points: ``[n, dim]``.
        num_clusters: number of centres, at most n.
        k: number of nearest neighbours; n - 1 where it is more.
        include_self: count the point itself as its first neighbour, as the released code does.
        index_seed: of the index of an approximate search; None searches exactly.

    Returns:
        Cluster of each point, long ``[n]``, and the mean of each cluster, ``[num_clusters, dim]``
        in the dtype of ``points``. Cluster ids follow the centres' score, best first.

    Raises:
        ValueError: more clusters than points.
    """
    n, dim = points.shape
    if num_clusters > n:
        raise ValueError(f"{num_clusters} clusters of {n} points")
    points = points.detach()
    first, place, times = distinct(points)
    if len(first) == 1:
        numbers = torch.arange(n, device=points.device)
        assignment = numbers.where(numbers < num_clusters, 0)
    else:
        others = min(max(k, 1) - include_self, n - 1)
        places = points if len(first) == n else points[first]
        find_neighbours, find_centre = _searches(index_seed)
        index, total = _neighbours(places, times, max(others, 1), find_neighbours)
        if not others:
            total.zero_()  # each point is its own only neighbour
        mean_squared = total / ((others + include_self) * dim)  # [places], scaled by 1 / dim
        assignment = _assign(places, index, mean_squared, first, place, num_clusters, find_centre)
    return assignment, cluster_means(points, assignment, num_clusters)


def _neighbours(
    places: Tensor,
    times: Tensor,
    k: int,
    find_neighbours: Callable[[Tensor, int], Iterator[tuple[Tensor, Tensor, Tensor]]],
) -> tuple[Tensor, Tensor]:
    """Nearest places of each, and the sum of the squared distances of its k nearest points.

    Args:
        places: ``[places, dim]``.
        times: points at each, ``[places]``.
        k: at most the number of points but one.
        find_neighbours: gives k nearest others, as ``neighbours``.

    Returns:
        int32 ``[places, k or all others]``, nearest first, and float64 ``[places]``.
    """
    others = min(k, len(places) - 1)
    index = torch.empty(len(places), others, dtype=torch.int32, device=places.device)
    total = torch.empty(len(places), dtype=torch.float64, device=places.device)
    nth = torch.arange(k, device=places.device)
    for rows, squared, near in find_neighbours(places, others):
        twins = times[rows, None] - 1  # [rows, 1]
        ends = twins + times[near.long()].cumsum(1)  # points up to each neighbour, [rows, others]
        found = torch.searchsorted(ends, nth.repeat(len(rows), 1), right=True)  # [rows, k]
        index[rows] = near
        total[rows] = squared.gather(1, found).masked_fill_(nth < twins, 0).sum(1)
    release_free_memory()  # of the search
    return index, total


def _assign(
    places: Tensor,
    index: Tensor,
    mean_squared: Tensor,
    first: Tensor,
    place: Tensor,
    num_clusters: int,
    find_centre: Callable[[Cloud, Cloud], Tensor],
) -> Tensor:
    """Cluster of each point, ``[n]``.

    Args:
        places: ``[places, dim]``.
        index: neighbours of each, nearest first, ``[places, k]``.
        mean_squared: mean squared distance to the nearest points, over the dimension, ``[places]``.
        first: of the points at each, ``[places]``.
        place: of each point, ``[n]``.
        num_clusters: number of centres.
        find_centre: of places and centres, gives the nearest centre of each place.
    """
    order = torch.argsort(mean_squared, stable=True)  # densest first
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    ranked = cloud(places[order])
    delta = torch.empty_like(mean_squared)
    delta[order] = _squared_to_denser(ranked, index, order, rank).sqrt() / places.shape[1] ** 0.5
    score = delta.new_full(place.shape, -torch.inf)  # a duplicate is 0 away from a denser point
    score[first] = delta.log() - mean_squared  # log of exp(-mean_squared) * delta, which underflows
    centres = torch.sort(score, descending=True, stable=True).indices[:num_clusters]
    apart = rank[place[centres[: len(first)]]]  # duplicates come last
    nearest_of = torch.empty_like(order)
    nearest_of[order] = find_centre(ranked, ranked[apart])
    assignment = nearest_of[place]
    assignment[centres] = torch.arange(num_clusters, device=order.device)
    return assignment


def cluster_means(points: Tensor, assignment: Tensor, num_clusters: int) -> Tensor:
    """Mean of the points of each cluster, ``[num_clusters, dim]``; zero for an empty one.

    Each sum is taken in the order of the points, on a GPU too; a few columns at a time, so that
    memory stays below that of the points.
    """
    order = assignment.argsort(stable=True)
    sizes = torch.bincount(assignment, minlength=num_clusters)
    means = [
        torch.segment_reduce(part[order].double(), "mean", lengths=sizes, initial=0)
        for part in points.detach().split(16, dim=1)
    ]
    return torch.cat(means, 1).to(points.dtype)


def _searches(index_seed: int | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What finds the neighbours of all points, and what the nearest centre of each."""
    if index_seed is None:
        return neighbours, nearest_centre
    from recbole_missrec.interests.ivf import likely_nearest_centre, likely_neighbours

    return (
        partial(likely_neighbours, seed=index_seed),
        partial(likely_nearest_centre, seed=index_seed),
    )


def _squared_to_denser(ranked: Cloud, index: Tensor, order: Tensor, rank: Tensor) -> Tensor:
    """Squared distance of each place to its nearest denser one, of the densest to its farthest.

    Args:
        ranked: the places, densest first.
        index: neighbours of each place, nearest first, before they were ranked, ``[n, k]``.
        order: place of each rank, ``[n]``.
        rank: of each place, ``[n]``.

    Returns:
        ``[n]``, of the ranked places.
    """
    n, k = index.shape
    squared = torch.empty(n, dtype=torch.float64, device=order.device)
    peaks = []
    for rows in blocks(n, max(ranked.points.shape[1], k), order.device):
        near = rank[index[order[rows]]]  # [rows, k]
        denser = near < rows[:, None]
        nearest_denser = near.gather(1, denser.byte().argmax(1, keepdim=True))  # [rows, 1]
        squared[rows] = squared_distances(
            ranked.points[rows], ranked.points, nearest_denser
        ).squeeze(1)
        peaks.append(rows[~denser.any(1)])
    _search_peaks(ranked, torch.cat(peaks)[1:], squared)  # the first is the densest of all
    everyone = torch.arange(n, device=order.device)[None]
    squared[0] = squared_distances(ranked.points[:1], ranked.points, everyone).max()
    return squared


def _search_peaks(ranked: Cloud, peaks: Tensor, squared: Tensor) -> None:
    """Fill in the squared distance of some ranked points to the nearest of all denser ones."""
    for start in range(0, len(peaks), _PEAKS):
        group = peaks[start : start + _PEAKS]

        def hide(bounds: Tensor, part: Tensor, first: int, group: Tensor = group) -> None:
            limit = group[part] - first  # [part]
            columns = torch.arange(bounds.shape[1], device=limit.device)
            start = int(limit.min().clamp(0, len(columns)))
            bounds[:, start:].masked_fill_(columns[start:] >= limit[:, None], torch.inf)

        found, _ = nearest(ranked[group], ranked[: int(group[-1])], 1, hide)
        squared[group] = found.squeeze(1)
