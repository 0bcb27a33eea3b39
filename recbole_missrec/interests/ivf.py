"""Approximate nearest neighbours by an inverted file of faiss (IVF), on the processor.

Points are put into lists around coarse centroids (Jegou et al., Product quantization for nearest
neighbor search, 2011, without the quantisation); a query looks into the lists of the nearest ones.
Distances that decide are computed by direct differences in float64, as in ``neighbours``. Results
are the same for a seed and a number of threads.
"""

import math
from collections.abc import Iterator

import faiss
import torch
from torch import Tensor

from recbole_missrec.interests.neighbours import Cloud, blocks, squared_distances

LISTS = 4  # times the root of the points; more make lists shorter and their search longer
PROBES = 16  # lists looked into, at least
_SHORTEST = 32  # points of a list, on average, at least
_SAMPLES = 64  # points of a list that its centroid is trained with
_STEPS = 10  # of this training
_CENTRES = 8  # candidates for the nearest centre


def empty_index(n: int, dim: int, k: int, seed: int) -> faiss.IndexIVFFlat:
    """An index without points.

    Args:
        n: number of points that it is to hold.
        dim: their dimension.
        k: neighbours that are to be found; more lists are looked into where they are many.
        seed: of the training of its lists.
    """
    faiss.omp_set_num_threads(torch.get_num_threads())
    lists = max(1, int(min(LISTS * n**0.5, n / _SHORTEST)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, lists)
    index.cp.seed, index.cp.niter = seed, _STEPS
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, _SAMPLES
    index.nprobe = min(lists, max(PROBES, math.ceil(4 * k * lists / n)))
    return index


def index_of(points: Tensor, k: int, seed: int) -> faiss.IndexIVFFlat:
    """An index of points ``[n, dim]``; time O(n^1.5 dim), memory that of the points in float32."""
    index = empty_index(len(points), points.shape[1], k, seed)
    array = points.float().cpu().numpy()
    index.train(array)
    index.add(array)
    return index


def search(index: faiss.IndexIVFFlat, queries: Tensor, k: int) -> Tensor:
    """k points near each query, ``[q, k]``; in all lists, where those nearest to it hold fewer."""
    array = queries.float().cpu().numpy()
    _, found = index.search(array, k)
    few = (found < 0).any(1)
    if few.any():
        probes, index.nprobe = index.nprobe, index.nlist
        _, found[few] = index.search(array[few], k)
        index.nprobe = probes
    return torch.from_numpy(found).to(queries.device)


def likely_neighbours(points: Tensor, k: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """As ``neighbours``, but that those in lists that are not looked into are missed."""
    index = index_of(points, k, seed)
    for rows in blocks(len(points), k, points.device):
        near = search(index, points[rows], k + 1)  # [rows, k + 1]
        itself = near == rows[:, None]
        itself[~itself.any(1), k] = True  # crowded out by duplicates
        near = near[~itself].view(len(rows), k)
        squared, order = squared_distances(points[rows], points, near).sort(stable=True)
        yield rows, squared, near.gather(1, order).int()


def likely_nearest_centre(points: Cloud, centres: Cloud, seed: int) -> Tensor:
    """As ``nearest_centre``, but that those in lists that are not looked into are missed."""
    index = index_of(centres.points, _CENTRES, seed)
    nearest = torch.empty(len(points), dtype=torch.long, device=points.points.device)
    for rows in blocks(len(points), _CENTRES, nearest.device):
        near = search(index, points.points[rows], min(_CENTRES, len(centres))).sort(1).values
        squared = squared_distances(points.points[rows], centres.points, near)
        nearest[rows] = near.gather(1, squared.argmin(1, keepdim=True)).squeeze(1)
    return nearest
