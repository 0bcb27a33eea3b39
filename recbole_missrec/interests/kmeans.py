"""k-means by scikit-learn, or by faiss where there are many tokens and clusters."""

import warnings
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from recbole_missrec.errors import UsageError
from recbole_missrec.interests.density_peaks import cluster_means

_LARGE = 2 * 10**7  # points times clusters; scikit-learn needs 20 s here, faiss a quarter of that
_STEPS = 20  # of faiss
_CHAIN = 50  # steps of the Markov chain that draws a first centroid
_INDEXED = 4096  # clusters above which an index finds the nearest centroid faster
_LISTS, _PROBES = 4, 16  # of the index: times the root of the clusters; looked into


def kmeans(
    points: Tensor, num_clusters: int, seed: int, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cluster points by Lloyd's algorithm, on the processor.

    Where points times clusters are at most 2 * 10^7, scikit-learn starts with k-means++ and
    compares all points with all centroids in each step; else faiss, which has to be installed,
    draws the start by a Markov chain (Bachem et al., Fast and provably good seedings for k-means,
    2016) and finds the nearest of many centroids by an index. Time of a step
    O(n num_clusters dim), or O(n num_clusters^0.5 dim); memory O((n + num_clusters) dim).

    Args:
        points: ``[n, dim]``.
        num_clusters: at most n. Fewer are used where points have too few distinct values.
        seed: of the start.
        start: cluster of each point, long ``[n]``, whose means are the first centroids instead.

    Returns:
        Cluster of each point, long ``[n]``, and the mean of each cluster,
        ``[num_clusters, dim]``; the last clusters stay empty (zero) where fewer are used.

    Raises:
        UsageError: faiss is needed and not installed.
    """
    large = len(points) * num_clusters > _LARGE
    if large and find_spec("faiss") is None:
        raise UsageError(
            f"k-means: {num_clusters:,} interests of {len(points):,} tokens need "
            "faiss; `pip install faiss-cpu`, or give a lower --interest_ratio or an "
            "--interest_sample"
        )
    array = points.detach().float().cpu().numpy()
    first = None
    if start is not None:
        first = cluster_means(points, start, num_clusters).float().cpu().numpy()
    by = _by_faiss if large else _by_scikit_learn
    labels = torch.from_numpy(by(array, num_clusters, seed, first)).long()
    _, assignment = labels.unique(return_inverse=True)
    assignment = assignment.to(points.device)
    return assignment, cluster_means(points, assignment, num_clusters)


def _by_scikit_learn(
    array: np.ndarray, num_clusters: int, seed: int, first: np.ndarray | None
) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    start = "k-means++" if first is None else first
    model = KMeans(num_clusters, init=start, n_init=1, max_iter=30, random_state=seed)
    # one thread: several add their sums in the order in which they end
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        return model.fit_predict(array)


def _by_faiss(
    array: np.ndarray, num_clusters: int, seed: int, first: np.ndarray | None
) -> np.ndarray:
    import faiss

    if num_clusters >= len(array):  # which an index of lists cannot be trained on
        return np.arange(len(array))
    faiss.omp_set_num_threads(torch.get_num_threads())
    dim = array.shape[1]
    model = faiss.Kmeans(
        dim,
        num_clusters,
        niter=_STEPS,
        seed=seed,
        init_method=faiss.ClusteringInitMethod_AFK_MC2,
        afkmc2_chain_length=_CHAIN,
        min_points_per_centroid=1,  # no warning on stderr
        update_index=True,  # centroids leave the lists that they were in at first
    )
    if num_clusters > _INDEXED:
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, int(_LISTS * num_clusters**0.5))
        index.cp.min_points_per_centroid, index.nprobe = 1, _PROBES
        model.index = index
    model.train(array, init_centroids=first)  # leaves the last centroids in the index
    _, labels = model.index.search(array, 1)
    nowhere = (labels < 0)[:, 0]  # the lists that were looked into are empty
    if nowhere.any():
        _, labels[nowhere] = faiss.knn(array[nowhere], np.asarray(model.centroids), 1)
    return labels[:, 0]
