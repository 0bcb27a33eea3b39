"""Density peaks on k nearest neighbours with the N x N matrix, as the paper and the reference."""

import torch
from torch import Tensor

from recbole_missrec.interests.density_peaks import cluster_means


def dense_density_peaks(points: Tensor, num_clusters: int, k: int) -> tuple[Tensor, Tensor]:
    """As ``density_peaks``, up to rounding; time O(n^2 dim), memory O(n^2).

    Args:
        points: ``[n, dim]``.
        num_clusters: number of centres.
        k: number of nearest neighbours, at most n - 1.

    Returns:
        Cluster of each point, long ``[n]``, and the mean of each, ``[num_clusters, dim]``.
    """
    n, dim = points.shape
    distances = torch.cdist(points, points) / dim**0.5  # [n, n]
    distances.fill_diagonal_(torch.inf)  # a point is none of its neighbours
    mean_squared = distances.topk(k, largest=False).values.square().mean(1)  # [n]
    distances.fill_diagonal_(0)
    order = mean_squared.argsort(stable=True)  # densest first
    rank = torch.empty_like(order)
    rank[order] = torch.arange(n)
    farthest = distances[order[0]].max()
    denser = rank[None, :] < rank[:, None]  # [n, n]
    delta = distances.masked_fill(~denser, torch.inf).amin(1)  # [n]
    delta[order[0]] = farthest
    score = delta.log() - mean_squared
    centres = score.sort(descending=True, stable=True).indices[:num_clusters]
    assignment = distances[:, centres].argmin(1)
    assignment[centres] = torch.arange(num_clusters)
    return assignment, cluster_means(points, assignment, num_clusters)
