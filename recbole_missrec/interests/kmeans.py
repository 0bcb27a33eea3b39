"""k-means by scikit-learn, with a k-means++ start; the method of the released code, repaired."""

import warnings

import torch
from torch import Tensor

from recbole_missrec.interests.density_peaks import cluster_means


def kmeans(points: Tensor, num_clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    """Cluster points by Lloyd's algorithm. Time O(n num_clusters dim) an iteration, memory O(n).

    Args:
        points: ``[n, dim]``.
        num_clusters: at most n. Fewer are used where points have too few distinct values.
        seed: of the k-means++ start.

    Returns:
        Cluster of each point, long ``[n]``, and the mean of each cluster,
        ``[num_clusters, dim]``; the last clusters stay empty (zero) where fewer are used.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # one thread: several add their sums in the order in which they end
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        labels = KMeans(num_clusters, n_init=1, max_iter=30, random_state=seed).fit_predict(
            points.detach().float().cpu().numpy()
        )
    _, assignment = torch.from_numpy(labels).long().unique(return_inverse=True)
    assignment = assignment.to(points.device)
    return assignment, cluster_means(points, assignment, num_clusters)
