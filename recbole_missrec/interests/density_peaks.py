"""Density peaks on k nearest neighbours (DPC-KNN), exact, without the N x N matrix.

Source: MISSRec, section 3.2; Du et al., Study on density peaks clustering based on k-nearest
neighbors, 2016. Matrix products only find candidates; every distance that decides is recomputed
by direct differences in float64, so that results depend on neither block size nor threads.
"""

import torch
from torch import Tensor

_BLOCK_ELEMENTS = 2**21  # entries of a temporary matrix: 16 MiB, near the caches
_SLACK = 8  # further candidates, against rounding in the matrix products


def density_peaks(
    points: Tensor, num_clusters: int, neighbours: int, include_self: bool = False
) -> tuple[Tensor, Tensor]:
    """Cluster points around density peaks.

    Density falls with the mean squared distance to the k nearest neighbours; a centre is dense and
    far from any denser point. Denser is the lower mean squared distance, then the lower index, so
    that duplicates of a peak do not all become centres. If one of a point's neighbours is denser,
    the nearest such neighbour is its nearest denser point; only local peaks need a search over
    all points. Time O(n^2 dim) in matrix products, memory O(n neighbours).

    Args:
        points: ``[n, dim]``.
        num_clusters: number of centres, at most n.
        neighbours: k of the k nearest neighbours.
        include_self: count the point itself as its first neighbour, as the released code does.

    Returns:
        Cluster of each point, long ``[n]``, and the mean of each cluster, ``[num_clusters, dim]``
        in the dtype of ``points``. Cluster ids follow the centres' score, best first.

    Raises:
        ValueError: more clusters than points.
    """
    n = len(points)
    if num_clusters > n:
        raise ValueError(f"{num_clusters} clusters of {n} points")
    x = points.detach().double()  # [n, dim]
    k = max(1, min(neighbours - include_self, n - 1))
    index, squared = _nearest_neighbours(x, k)  # [n, k]
    mean_squared = squared.sum(1) / ((k + include_self) * x.shape[1])  # [n], scaled by 1 / dim
    density_rank = torch.argsort(torch.argsort(mean_squared, stable=True))  # [n], 0 is the densest
    delta = _distance_to_denser(x, index, squared, density_rank) / x.shape[1] ** 0.5  # [n]
    score = delta.log() - mean_squared  # log of exp(-mean_squared) * delta, which underflows
    centres = torch.sort(score, descending=True, stable=True).indices[:num_clusters]
    assignment = _nearest_centre(x, centres)
    return assignment, cluster_means(points, assignment, num_clusters)


def cluster_means(points: Tensor, assignment: Tensor, num_clusters: int) -> Tensor:
    """Mean of the points of each cluster, ``[num_clusters, dim]``; zero for an empty one."""
    sums = torch.zeros(num_clusters, points.shape[1], dtype=torch.float64, device=points.device)
    sums.index_add_(0, assignment, points.detach().double())
    sizes = torch.bincount(assignment, minlength=num_clusters).clamp(min=1)
    return (sums / sizes[:, None]).to(points.dtype)


def _nearest_neighbours(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest other points of each point and their squared distances, both ``[n, k]``."""
    if len(x) == 1:
        return x.new_zeros(1, 1, dtype=torch.long), x.new_zeros(1, 1)
    candidates = min(k + _SLACK, len(x) - 1)
    index = torch.empty(len(x), k, dtype=torch.long, device=x.device)
    squared = x.new_empty(len(x), k)  # both at once: kept parts of each block would scatter memory
    for rows in _blocks(len(x), max(len(x), candidates * x.shape[1])):
        rough = _rough_squared(x[rows], x)
        rough[torch.arange(len(rows)), rows] = torch.inf
        near = rough.topk(candidates, largest=False).indices  # [rows, candidates]
        exact, order = _exact_squared(x[rows], x[near]).sort(1)
        index[rows], squared[rows] = near.gather(1, order)[:, :k], exact[:, :k]
    return index, squared


def _distance_to_denser(x: Tensor, index: Tensor, squared: Tensor, density_rank: Tensor) -> Tensor:
    """Distance of each point to its nearest denser one; of the densest to its farthest, ``[n]``."""
    denser = density_rank[index] < density_rank[:, None]  # [n, k]
    delta = squared.masked_fill(~denser, torch.inf).min(1).values.sqrt()  # [n]
    peaks = torch.isinf(delta).nonzero().squeeze(1)  # the densest of their neighbours
    for rows in _blocks(len(peaks), len(x)):
        peak = peaks[rows]
        rough = _rough_squared(x[peak], x)
        is_densest = density_rank[peak] == 0
        rough[density_rank[None, :] >= density_rank[peak, None]] = torch.inf
        near = rough.topk(min(_SLACK, len(x)), largest=False)
        exact = _exact_squared(x[peak], x[near.indices]).masked_fill(near.values.isinf(), torch.inf)
        delta[peak] = exact.min(1).values.sqrt()
        if is_densest.any():
            top = x[peak[is_densest]]  # [1, dim]
            far = _rough_squared(top, x).topk(min(_SLACK, len(x))).indices
            delta[peak[is_densest]] = _exact_squared(top, x[far]).max(1).values.sqrt()
    return delta


def _nearest_centre(x: Tensor, centres: Tensor) -> Tensor:
    """Cluster of each point, ``[n]``: its nearest centre, the lower at ties; a centre: its own."""
    assignment = torch.empty(len(x), dtype=torch.long, device=x.device)
    candidates = min(_SLACK, len(centres))
    for rows in _blocks(len(x), max(len(centres), candidates * x.shape[1])):
        near = _rough_squared(x[rows], x[centres]).topk(candidates, largest=False).indices
        exact = _exact_squared(x[rows], x[centres[near]])  # [rows, candidates]
        nearest = exact == exact.min(1, keepdim=True).values
        assignment[rows] = near.masked_fill(~nearest, len(centres)).min(1).values
    assignment[centres] = torch.arange(len(centres), device=x.device)
    return assignment


def _blocks(rows: int, columns: int) -> tuple[Tensor, ...]:
    """Row indices in blocks, so that a block's ``rows * columns`` temporary stays small."""
    return torch.arange(rows).split(max(1, _BLOCK_ELEMENTS // columns))


def _rough_squared(rows: Tensor, x: Tensor) -> Tensor:
    """Squared distances by a matrix product, ``[rows, n]``, exact up to rounding."""
    return torch.addmm(rows.square().sum(1)[:, None] + x.square().sum(1), rows, x.T, alpha=-2)


def _exact_squared(rows: Tensor, others: Tensor) -> Tensor:
    """Squared distances by direct differences: ``[rows, dim], [rows, m, dim] -> [rows, m]``."""
    return (others - rows[:, None]).square_().sum(2)
