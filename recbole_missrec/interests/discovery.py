"""One interface to the clusterings: the tokens of a catalogue in, interests out."""

import math
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from logging import getLogger
from typing import Any

import torch
from torch import Tensor

from recbole_missrec.errors import Diverged, UsageError
from recbole_missrec.interests.density_peaks import cluster_means, density_peaks
from recbole_missrec.interests.health import Health, Interests, examine, movement
from recbole_missrec.interests.kmeans import kmeans
from recbole_missrec.interests.neighbours import cloud, nearest_centre
from recbole_missrec.machine import memory_limit_mib

# tokens up to which the exact search of 20 neighbours takes half a minute of one core, by
# `benchmarks.interests` (of a tenth of the tokens some minutes); on a GPU an estimate from its
# speed in matrix products, where none was at hand to measure with
EXACT_TOKENS = {"cpu": 30_000, "cuda": 300_000}


def num_interests(present: Tensor, options: Mapping[str, Any]) -> int:
    """K: of tokens clustered together ceil(``interest_ratio`` * their number), at least 1.

    Where they are more than ``interest_sample``, of that many.

    Args:
        present: bool ``[items, modalities]``.
        options: as of ``discover``.
    """
    if options["interest_method"] == "single":
        return 1
    if options["interest_method"] == "items":
        return int(present.any(1).sum())
    return sum(_share(own, options) for own in _together(present, options["interest_space"]))


def _share(own: Tensor, options: Mapping[str, Any]) -> int:
    tokens = int(own.sum())
    sampled = min(tokens, options["interest_sample"] or tokens)
    return max(1, math.ceil(options["interest_ratio"] * sampled))


def _together(present: Tensor, space: str) -> list[Tensor]:
    """Tokens that are clustered together: all, or a modality's, bool ``[items, modalities]``."""
    if space == "tokens":
        return [present]
    modalities = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
    return [present & modality for modality in modalities]


def num_neighbours(tokens: int, options: Mapping[str, Any]) -> int:
    """k of density peaks: ``knn_neighbours``, or ceil(``knn_local_ratio`` * tokens)."""
    return options["knn_neighbours"] or math.ceil(options["knn_local_ratio"] * tokens)


def discover(
    points: Tensor,
    present: Tensor,
    options: Mapping[str, Any],
    seed: int,
    last: Interests | None = None,
    features: Sequence[Any] = (),
) -> tuple[Interests, Health] | None:
    """Cluster the tokens of all items and modalities that are present (MISSRec, section 3.2).

    Args:
        points: those tokens, item by item, ``[tokens, dim]``.
        present: bool ``[items, modalities]``.
        options: the options of interests of ``props/model/MISSRec.yaml``.
        seed: of k-means and of the index.
        last: what was found the last time, if so.
        features: of the items, ``[items, d_m]`` for each modality, which are clustered in place
            of tokens, the first time; none by default.

    Returns:
        The interests, without gradient, and their health; None where tokens have not moved by
        more than ``interest_moved`` since the last time.

    Raises:
        Diverged: a token is not finite.
        UsageError: the neighbours of density peaks would take more memory than there is.
    """
    began = time.perf_counter()
    points = points.detach()
    if not points.isfinite().all():
        raise Diverged("a token of an item is not a number; try a lower --learning_rate")
    moved = 1.0
    if last is not None:
        moved = movement(points, last.ids[present], last.centroids)
        if moved <= options["interest_moved"] > 0:
            getLogger().info(f"interests are kept: tokens moved by {moved:.2%}")
            return None
    how, clusters = options["interest_method"], num_interests(present, options)
    ids = torch.full(present.shape, -1, dtype=torch.long, device=points.device)
    if how in WITHOUT_SEARCH:
        ids[present] = WITHOUT_SEARCH[how](present, clusters, options["seed"])
        centroids = cluster_means(points, ids[present], clusters)
    elif features and last is not None:  # which do not change
        ids[present] = last.ids[present]
        centroids, how = cluster_means(points, ids[present], clusters), f"{how} at first"
    else:
        first, parts = 0, []
        for own in _together(present, options["interest_space"]):
            start = None if last is None else last.ids[own] - first
            values = _values(own, points, present, features)
            sample = options["interest_sample"]
            search = _cluster_sample if sample and len(values) > sample else _cluster
            assignment, means, how = search(values, _share(own, options), options, seed, start)
            ids[own] = assignment + first
            parts.append(means)
            first += len(means)
        centroids = cluster_means(points, ids[present], clusters) if features else torch.cat(parts)
    interests = Interests(ids, centroids)
    health = examine(interests, last, moved, time.perf_counter() - began)
    getLogger().info(f"interests by {how}: {health}")
    return interests, health


def nearest_interests(tokens: Tensor, present: Tensor, centroids: Tensor) -> Tensor:
    """Interests of items that came after the discovery: the nearest centroid of each token.

    Args:
        tokens: ``[modalities, items, dim]``.
        present: bool ``[modalities, items]``.
        centroids: ``[interests + 1, dim]``, the last for none; those of zero are of no token.

    Returns:
        Long ``[items, modalities]`` on the processor; the number of interests where absent.
    """
    none, there = len(centroids) - 1, present.T.cpu()  # [items, modalities]
    ids = torch.full(there.shape, none)
    used = centroids[:none].cpu().any(1).nonzero().squeeze(1)  # k-means may leave clusters empty
    if len(used) and there.any():
        points = cloud(torch.cat([centroids[used].cpu(), tokens.transpose(0, 1).cpu()[there]]))
        place = torch.arange(len(points))
        ids[there] = used[nearest_centre(points[place[len(used) :]], points[place[: len(used)]])]
    return ids


def _values(own: Tensor, points: Tensor, present: Tensor, features: Sequence[Any]) -> Tensor:
    """What is clustered: tokens, or the features of their only modality, ``[tokens, dim]``."""
    if features:
        items, modality = own.nonzero().T
        return features[int(modality[0])][items]
    return points if own is present else points[own[present]]


def _cluster(
    points: Tensor, clusters: int, options: Mapping[str, Any], seed: int, start: Tensor | None
) -> tuple[Tensor, Tensor, str]:
    """Cluster of each point, ``[n]``, the means, ``[clusters, dim]``, and how they were found."""
    method, reason = options["interest_method"], ""
    k = min(num_neighbours(len(points), options), max(1, len(points) - 1))
    size = len(points), points.shape[1], k
    if method == "auto":
        method, reason = choose(*size, points.device)
    elif method != "kmeans" and _needed_mib(*size) > memory_limit_mib(points.device):
        raise UsageError(
            f"--interest_method={method}: k {k:,} for {len(points):,} tokens takes "
            f"{_needed_mib(*size):,.0f} MiB, more than there are; give --knn_neighbours, like 20, "
            "or --interest_method=auto"
        )
    if method == "kmeans":
        start = start if options["interest_warm_start"] else None
        assignment, means = kmeans(points, clusters, seed, start)
    else:
        index_seed = seed if method == "dpc_knn_ivf" else None
        include_self = options["knn_include_self"]
        assignment, means = density_peaks(points, clusters, k, include_self, index_seed)
    return assignment, means, method + reason


def _cluster_sample(
    points: Tensor, clusters: int, options: Mapping[str, Any], seed: int, start: Tensor | None
) -> tuple[Tensor, Tensor, str]:
    """As ``_cluster``, of the same sample each time; the other points go to the nearest mean."""
    generator = torch.Generator().manual_seed(options["seed"])
    order = torch.randperm(len(points), generator=generator).to(points.device)
    drawn, others = (
        part.sort().values for part in order.tensor_split([options["interest_sample"]])
    )
    start = None if start is None else start[drawn]
    assignment = torch.empty_like(order)
    assignment[drawn], means, how = _cluster(points[drawn], clusters, options, seed, start)
    used = int(assignment[drawn].max()) + 1  # k-means may leave the last clusters empty
    whole = cloud(torch.cat([means[:used], points[others]]))
    assignment[others] = nearest_centre(whole[used:], whole[:used])
    return (
        assignment,
        cluster_means(points, assignment, clusters),
        f"{how} of {len(drawn):,} tokens",
    )


def _at_random(present: Tensor, clusters: int, seed: int) -> Tensor:
    """Clusters of equal size, the same in each epoch, ``[tokens]``."""
    order = torch.randperm(int(present.sum()), generator=torch.Generator().manual_seed(seed))
    return (order % clusters).to(present.device)


def _single(present: Tensor, clusters: int, seed: int) -> Tensor:
    """One cluster, ``[tokens]``."""
    return torch.zeros(int(present.sum()), dtype=torch.long, device=present.device)


def _items(present: Tensor, clusters: int, seed: int) -> Tensor:
    """Each item its own cluster, ``[tokens]``."""
    number = present.any(1).cumsum(0) - 1  # [items]
    return number[present.nonzero()[:, 0]]


# what searches are compared with: presence, clusters and a seed give the cluster of each token
WITHOUT_SEARCH = {"random": _at_random, "single": _single, "items": _items}


def _needed_mib(tokens: int, dim: int, k: int) -> float:
    """Memory of density peaks: points in several forms, the list of neighbours, and blocks."""
    return tokens * (16 * dim + 4 * k) / 2**20 + 512


def choose(tokens: int, dim: int, k: int, device: torch.device) -> tuple[str, str]:
    """The method of ``auto``: exact density peaks, with an index, or k-means.

    Half of the memory that there is may be used; what is free at the moment does not matter, so
    that a run that is repeated beside others gives the same figures.

    Args:
        tokens: their number.
        dim: their dimension.
        k: neighbours of density peaks.
        device: where they are.

    Returns:
        The method, and why.
    """
    needed = _needed_mib(tokens, dim, k)
    there = memory_limit_mib(device) / 2
    memory = f"{needed:,.0f} MiB of {there:,.0f} MiB"
    if needed > there:
        return "kmeans", f" (auto: k {k:,} for {tokens:,} tokens would take {memory})"
    limit = EXACT_TOKENS[device.type]
    if tokens <= limit:
        return "dpc_knn", f" (auto: {tokens:,} tokens, at most {limit:,}; {memory})"
    if find_spec("faiss") is None:
        return "dpc_knn", f" (auto: no faiss for the index of more than {limit:,} tokens; {memory})"
    return "dpc_knn_ivf", f" (auto: {tokens:,} tokens, more than {limit:,}; {memory})"
