"""Density peaks on k nearest neighbours (DPC-KNN) without the N x N matrix.

Source: MISSRec, section 3.2; Du et al., Study on density peaks clustering based on k-nearest
neighbors, 2016.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recbole_missrec.interests.neighbours import (
    Cloud,
    blocks,
    cloud,
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
    all points, among those that are denser. Memory O(n (k + dim)); time O(n^2 dim) in matrix
    products. Approximately, with an index for neighbours and nearest centres, O(n^1.5 dim), but
    for the peaks.

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
    if n == 1:
        return torch.zeros(1, dtype=torch.long, device=points.device), points.clone()
    k = min(max(1, k - include_self), n - 1)
    index = torch.empty(n, k, dtype=torch.int32, device=points.device)
    total = torch.empty(n, dtype=torch.float64, device=points.device)
    find_neighbours, find_centre = _searches(index_seed)
    for rows, squared, near in find_neighbours(points, k):
        index[rows], total[rows] = near, squared.sum(1)
    release_free_memory()  # of the search
    mean_squared = total / ((k + include_self) * dim)  # [n], scaled by 1 / dim
    assignment = _assign(points, index, mean_squared, num_clusters, find_centre)
    return assignment, cluster_means(points, assignment, num_clusters)


def _assign(
    points: Tensor,
    index: Tensor,
    mean_squared: Tensor,
    num_clusters: int,
    find_centre: Callable[[Cloud, Cloud], Tensor],
) -> Tensor:
    """Cluster of each point, ``[n]``.

    Args:
        points: ``[n, dim]``.
        index: neighbours of each, nearest first, ``[n, k]``.
        mean_squared: mean squared distance to them, over the dimension, ``[n]``.
        num_clusters: number of centres.
        find_centre: of points and centres, gives the nearest centre of each point.
    """
    order = torch.argsort(mean_squared, stable=True)  # densest first
    place = torch.empty_like(order)  # in this order
    place[order] = torch.arange(len(order), device=order.device)
    ranked = cloud(points[order])
    delta = torch.empty_like(mean_squared)
    delta[order] = _squared_to_denser(ranked, index, order, place).sqrt() / points.shape[1] ** 0.5
    score = delta.log() - mean_squared  # log of exp(-mean_squared) * delta, which underflows
    centres = torch.sort(score, descending=True, stable=True).indices[:num_clusters]
    # where a centre is 0 away from a denser point, the first point at this place is a centre, too
    apart = place[centres[: max(1, int((delta[centres] > 0).sum()))]]
    assignment = torch.empty_like(order)
    assignment[order] = find_centre(ranked, ranked[apart])
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


def _squared_to_denser(ranked: Cloud, index: Tensor, order: Tensor, place: Tensor) -> Tensor:
    """Squared distance of each point to its nearest denser one, of the densest to its farthest.

    Args:
        ranked: the points, densest first.
        index: neighbours of each point, nearest first, before they were ranked, ``[n, k]``.
        order: point of each place, ``[n]``.
        place: place of each point, ``[n]``.

    Returns:
        ``[n]``, of the ranked points.
    """
    n, k = index.shape
    squared = torch.empty(n, dtype=torch.float64, device=order.device)
    peaks = []
    for rows in blocks(n, max(ranked.points.shape[1], k), order.device):
        near = place[index[order[rows]]]  # [rows, k]
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
