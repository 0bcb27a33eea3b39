"""Approximate nearest neighbours by an inverted file (IVF).

Points are put into lists, each with those that are nearest to one of faiss's k-means centroids;
the points of a list look for neighbours in the lists of the nearest centroids alone (Jegou et al.,
Product quantization for nearest neighbor search, 2011, without the quantisation). They do so
together, by matrix products, and exactly within these lists: see ``neighbours``. An index of
faiss, which looks for each point apart, took twice as long for 10^5 points. Results are the same
for a seed and a number of threads.
"""

import math
from collections.abc import Iterator

import faiss
import torch
from torch import Tensor

from recbole_missrec.interests.neighbours import Cloud, cloud, hide_at, nearest

LISTS = 4  # times the root of the points; more make lists shorter and their training longer
PROBES = 16  # lists looked into, at least
_POOL = 4  # points in them for each neighbour, on average, at least
_SHORTEST = 32  # points of a list, on average, at least
_SAMPLES = 64  # points of a list that its centroid is trained with
_STEPS = 10  # of this training


def likely_neighbours(points: Tensor, k: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """As ``neighbours``, but that those in lists that are not looked into are missed.

    Time O(n^1.5 dim), where k does not grow; memory O(n dim).
    """
    whole = cloud(points)
    yield from _search(whole, whole, k, seed)


def likely_nearest_centre(points: Cloud, centres: Cloud, seed: int) -> Tensor:
    """As ``nearest_centre``, but that those in lists that are not looked into are missed."""
    found = torch.empty(len(points), dtype=torch.long, device=points.points.device)
    for rows, _, index in _search(points, centres, 1, seed):
        found[rows] = index.squeeze(1).long()
    return found


def _search(
    queries: Cloud, points: Cloud, k: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The k likely nearest points of each query, other than itself where the queries are they."""
    apart = queries is not points
    centroids, index = _train(points.points, seed)
    lists = _split(index, points.points, len(centroids))
    asking = _split(index, queries.points, len(centroids)) if apart else lists
    probes = max(PROBES, math.ceil(_POOL * k * len(lists) / len(points)))
    middles = cloud(centroids)
    _, near = nearest(middles, middles, min(probes, len(lists)))  # [lists, probes]
    for own, (rows, others) in enumerate(zip(asking, near.tolist(), strict=True)):
        if not len(rows):
            continue
        pool = torch.cat([lists[own], *(lists[other] for other in others if other != own)])
        if len(pool) < k + 1:  # then all are looked into
            pool = torch.cat([lists[own], *lists[:own], *lists[own + 1 :]])
        hide = None if apart else hide_at(torch.arange(len(rows), device=rows.device))
        squared, found = nearest(queries[rows], points[pool], k, hide)
        yield rows, squared, pool[found].int()


def _train(points: Tensor, seed: int) -> tuple[Tensor, faiss.Index]:
    """Centroids of the lists, ``[lists, dim]``, and faiss's search for the nearest of them."""
    faiss.omp_set_num_threads(torch.get_num_threads())
    lists = max(1, int(min(LISTS * len(points) ** 0.5, len(points) / _SHORTEST)))
    training = faiss.Kmeans(
        points.shape[1],
        lists,
        niter=_STEPS,
        seed=seed,
        min_points_per_centroid=1,  # no warning on stderr
        max_points_per_centroid=_SAMPLES,
    )
    training.train(points.float().cpu().numpy())  # leaves the last centroids in the index
    return torch.from_numpy(training.centroids).to(points.device), training.index


def _split(index: faiss.Index, points: Tensor, lists: int) -> list[Tensor]:
    """Which points belong to each list, long ``[points of it]``."""
    _, found = index.search(points.float().cpu().numpy(), 1)
    home = torch.from_numpy(found[:, 0])
    order = home.argsort(stable=True).to(points.device)
    return list(order.split(torch.bincount(home, minlength=lists).tolist()))
