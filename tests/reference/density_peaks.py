"""Density peaks on k nearest neighbours (DPC-KNN), dense, one pair of tokens at a time."""

import math

import torch
from torch import Tensor


def density_peaks(
    points: Tensor, num_clusters: int, k: int, include_self: bool = False
) -> tuple[Tensor, Tensor]:
    """Cluster tokens around density peaks (Du et al. 2016; used by MISSRec, arXiv 2308.11175).

    With d_ij = |x_i - x_j| / sqrt(D): rho_i = exp(-mean of d_ij^2 over the k nearest), delta_i is
    the distance to the nearest denser token, and the tokens of largest rho_i * delta_i are centres.
    Squared distances are correctly rounded sums, so equal sets of differences tie exactly. Time
    and memory grow with n^2.

    Args:
        points: Tokens, [n, dim], float64.
        num_clusters: Number of centres, 1 to n.
        k: Number of nearest neighbours, 1 to n - 1 (to n with `include_self`).
        include_self: Whether a token is the first of its own k neighbours.

    Returns:
        The cluster of each token, [n], clusters being numbered by descending rho * delta, and the
        mean of each cluster's tokens, [num_clusters, dim].

    Raises:
        ValueError: If `num_clusters` or `k` is out of range.
    """
    n, dim = points.shape
    tokens = range(n)
    if not (1 <= num_clusters <= n and 1 <= k <= n - (not include_self)):
        raise ValueError(f"num_clusters={num_clusters} or k={k} is out of range for {n} tokens")

    rows = points.tolist()
    squared = [  # |x_i - x_j|^2
        [math.fsum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True)) for j in tokens]
        for i in tokens
    ]

    mean_squared = []  # over the k nearest; smaller is denser
    for i in tokens:
        neighbours = sorted(squared[i][j] for j in tokens if include_self or j != i)
        mean_squared.append(math.fsum(neighbours[:k]) / (k * dim))

    score = []  # rho * delta
    for i in tokens:
        denser = [j for j in tokens if (mean_squared[j], j) < (mean_squared[i], i)]
        nearest = min(squared[i][j] for j in denser) if denser else max(squared[i])
        score.append(math.exp(-mean_squared[i]) * math.sqrt(nearest / dim))

    centres = sorted(tokens, key=lambda i: (-score[i], i))[:num_clusters]
    assignment = torch.tensor(
        [
            centres.index(i)
            if i in centres
            else min(range(num_clusters), key=lambda c: (squared[i][centres[c]], c))
            for i in tokens
        ]
    )
    centroids = [points[assignment == c].mean(dim=0) for c in range(num_clusters)]
    return assignment, torch.stack(centroids)
