"""One interface to the clusterings: the tokens of a catalogue in, interests out."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_missrec.interests.density_peaks import density_peaks
from recbole_missrec.interests.kmeans import kmeans


@dataclass(frozen=True)
class Interests:
    """Interests of a catalogue.

    Attributes:
        ids: interest of each token, long ``[items, modalities]``, -1 where a modality is absent.
        centroids: mean token of each interest, ``[interests, dim]``.
    """

    ids: Tensor
    centroids: Tensor


@dataclass(frozen=True)
class Health:
    """What a clustering looks like: a collapse shows in ``used`` and ``largest_share``."""

    clusters: int
    used: int
    largest_share: float
    perplexity: float
    seconds: float


def num_interests(present: Tensor, ratio: float) -> int:
    """K = ceil(ratio * number of present tokens), at least 1."""
    return max(1, math.ceil(ratio * int(present.sum())))


def discover(
    tokens: Tensor,
    present: Tensor,
    ratio: float,
    method: str,
    knn_local_ratio: float,
    include_self: bool,
    seed: int,
) -> tuple[Interests, Health]:
    """Cluster the tokens of all items and modalities that are present (MISSRec, section 3.2).

    Args:
        tokens: ``[items, modalities, dim]``.
        present: bool ``[items, modalities]``; absent tokens take no part.
        ratio: interests as a share of the present tokens.
        method: ``dpc_knn`` or ``kmeans``.
        knn_local_ratio: neighbours of ``dpc_knn`` as a share of the present tokens.
        include_self: of ``dpc_knn``, count a token as its own neighbour.
        seed: of ``kmeans``.

    Returns:
        The interests, without gradient, and their health.
    """
    start = time.perf_counter()
    points = tokens.detach()[present]  # [tokens, dim], item by item
    clusters = num_interests(present, ratio)
    if method == "dpc_knn":
        neighbours = math.ceil(knn_local_ratio * len(points))
        assignment, centroids = density_peaks(points, clusters, neighbours, include_self)
    else:
        assignment, centroids = kmeans(points, clusters, seed)
    ids = torch.full(present.shape, -1, dtype=torch.long, device=tokens.device)
    ids[present] = assignment
    return Interests(ids, centroids), _health(assignment, clusters, time.perf_counter() - start)


def _health(assignment: Tensor, clusters: int, seconds: float) -> Health:
    share = torch.bincount(assignment, minlength=clusters).double() / len(assignment)
    entropy = -torch.special.xlogy(share, share).sum()
    return Health(
        clusters=clusters,
        used=int((share > 0).sum()),
        largest_share=float(share.max()),
        perplexity=float(entropy.exp()),
        seconds=seconds,
    )
