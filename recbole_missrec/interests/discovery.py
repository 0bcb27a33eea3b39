"""One interface to the clusterings: the tokens of a catalogue in, interests out."""

import math
import time
from collections.abc import Mapping
from importlib.util import find_spec
from logging import getLogger
from typing import Any

import torch
from torch import Tensor

from recbole_missrec.errors import Diverged
from recbole_missrec.interests.density_peaks import density_peaks
from recbole_missrec.interests.health import Health, Interests, examine, movement
from recbole_missrec.interests.kmeans import kmeans
from recbole_missrec.machine import memory_limit_mib

# tokens up to which the exact search takes half a minute of one core, by `benchmarks.interests`; on
# a GPU an estimate from its speed in matrix products, where none was at hand to measure with
EXACT_TOKENS = {"cpu": 30_000, "cuda": 300_000}


def num_interests(present: Tensor, ratio: float) -> int:
    """K = ceil(ratio * number of present tokens), at least 1."""
    return max(1, math.ceil(ratio * int(present.sum())))


def num_neighbours(tokens: int, options: Mapping[str, Any]) -> int:
    """k of density peaks: ``knn_neighbours``, or ceil(``knn_local_ratio`` * tokens)."""
    return options["knn_neighbours"] or math.ceil(options["knn_local_ratio"] * tokens)


def discover(
    points: Tensor,
    present: Tensor,
    options: Mapping[str, Any],
    seed: int,
    last: Interests | None = None,
) -> tuple[Interests, Health] | None:
    """Cluster the tokens of all items and modalities that are present (MISSRec, section 3.2).

    Args:
        points: those tokens, item by item, ``[tokens, dim]``.
        present: bool ``[items, modalities]``.
        options: the options of interests of ``props/model/MISSRec.yaml``.
        seed: of k-means and of the index.
        last: what was found the last time, if so.

    Returns:
        The interests, without gradient, and their health; None where tokens have not moved by
        more than ``interest_moved`` since the last time.

    Raises:
        Diverged: a token is not finite.
    """
    began = time.perf_counter()
    points = points.detach()
    if not points.isfinite().all():
        raise Diverged("a token of an item is not a number; try a lower --learning_rate")
    moved, before = 1.0, None
    if last is not None:
        before = last.ids[present]  # [tokens]
        moved = movement(points, before, last.centroids)
        if moved <= options["interest_moved"] > 0:
            getLogger().info(f"interests are kept: tokens moved by {moved:.2%}")
            return None
    clusters = num_interests(present, options["interest_ratio"])
    method, reason = options["interest_method"], ""
    k = num_neighbours(len(points), options)
    if method == "auto":
        method, reason = choose(len(points), points.shape[1], k, points.device)
    if method == "kmeans":
        start = before if options["interest_warm_start"] else None
        assignment, centroids = kmeans(points, clusters, seed, start)
    else:
        index_seed = seed if method == "dpc_knn_ivf" else None
        assignment, centroids = density_peaks(
            points, clusters, k, options["knn_include_self"], index_seed
        )
    ids = torch.full(present.shape, -1, dtype=torch.long, device=points.device)
    ids[present] = assignment
    interests = Interests(ids, centroids)
    health = examine(interests, last, moved, time.perf_counter() - began)
    getLogger().info(f"interests by {method}{reason}: {health}")
    return interests, health


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
    needed = tokens * (16 * dim + 4 * k) / 2**20 + 512  # MiB
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
