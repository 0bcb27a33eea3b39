"""What a clustering looks like, and how it differs from the one before."""

from dataclasses import dataclass
from logging import getLogger

import torch
from torch import Tensor

from recbole_missrec.interests.density_peaks import cluster_means
from recbole_missrec.machine import peak_memory_mib

COLLAPSED_SHARE = 0.5  # of the tokens in one cluster
COLLAPSED_USED = 0.01  # of the clusters


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
    """What a clustering looks like.

    Attributes:
        clusters: their number.
        used: those with tokens.
        smallest: tokens of the smallest that is used.
        median: tokens of the median one of those used, the lower of two.
        largest: tokens of the largest.
        largest_share: of the tokens, those in the largest.
        perplexity: exp of the entropy of the clusters' shares of the tokens, 1 to ``used``.
        mixed_share: of the clusters used, those with tokens of more than one modality.
        changed_share: of the tokens, those that did not stay in their cluster; 1 the first time.
        moved: see ``movement``; 1 the first time, next to 0 with ``interest_gradient``.
        seconds: that the discovery took.
        peak_memory_mib: highest memory of the process so far, on the GPU if one is used.
    """

    clusters: int
    used: int
    smallest: int
    median: int
    largest: int
    largest_share: float
    perplexity: float
    mixed_share: float
    changed_share: float
    moved: float
    seconds: float
    peak_memory_mib: float

    def __str__(self) -> str:
        return (
            f"{self.used:,} of {self.clusters:,} used, of {self.smallest:,} to {self.largest:,} "
            f"tokens (median {self.median:,}, largest {self.largest_share:.1%}), "
            f"perplexity {self.perplexity:,.1f}, {self.mixed_share:.0%} mix modalities; "
            f"{self.changed_share:.1%} of the tokens changed; {self.seconds:.1f} s, "
            f"at most {self.peak_memory_mib:,.0f} MiB"
        )


def examine(interests: Interests, last: Interests | None, moved: float, seconds: float) -> Health:
    """Measure a clustering, in the time of sorting its tokens; warn where it has collapsed.

    Args:
        interests: found now.
        last: found the last time, if so.
        moved: by how much tokens have moved since.
        seconds: that the discovery took.
    """
    clusters = len(interests.centroids)
    present = interests.ids >= 0  # [items, modalities]
    assignment = interests.ids[present]  # [tokens]
    sizes = torch.bincount(assignment, minlength=clusters)
    taken = sizes[sizes > 0]
    share = taken.double() / len(assignment)
    modalities = torch.zeros(clusters, present.shape[1], dtype=torch.bool, device=sizes.device)
    modalities[assignment, present.nonzero()[:, 1]] = True
    health = Health(
        clusters=clusters,
        used=len(taken),
        smallest=int(taken.min()),
        median=int(taken.median()),
        largest=int(taken.max()),
        largest_share=float(share.max()),
        perplexity=float(torch.exp(-torch.special.xlogy(share, share).sum())),
        mixed_share=int((modalities.sum(1) > 1).sum()) / len(taken),
        changed_share=1.0 if last is None else changed_share(last.ids[present], assignment),
        moved=moved,
        seconds=seconds,
        peak_memory_mib=peak_memory_mib(),
    )
    largest = health.largest_share > COLLAPSED_SHARE and clusters > 2
    if largest or health.used < COLLAPSED_USED * clusters:
        getLogger().warning(
            f"interests have collapsed: {health}. Many items with the same features, or a few far "
            "from all others, do so: look at the features; or try another --interest_method, "
            "more --knn_neighbours, a lower --interest_ratio or --learning_rate"
        )
    return health


def changed_share(before: Tensor, now: Tensor) -> float:
    """Share of the tokens that did not stay in their cluster.

    A cluster is taken to be the earlier one with which it shares most tokens, where that one
    shares most with it, too; at ties the pair of lowest ids. Time that of sorting the tokens.

    Args:
        before: clusters at first, long ``[tokens]``.
        now: clusters now, ``[tokens]``; their numbers need not be the same.
    """
    width = int(now.max()) + 1
    pairs, shared = (before * width + now).unique(return_counts=True)  # by pair of ids
    first, second = pairs // width, pairs % width
    # one number to compare: tokens shared, then the lower pair
    rank = shared * len(pairs) + torch.arange(len(pairs), device=pairs.device).flip(0)
    best = [
        rank.new_zeros(int(ids.max()) + 1).scatter_reduce_(0, ids, rank, "amax")[ids]
        for ids in (first, second)
    ]
    stays = (rank == best[0]) & (rank == best[1])
    return 1 - int(shared[stays].sum()) / len(now)


def movement(points: Tensor, assignment: Tensor, centroids: Tensor) -> float:
    """How far tokens have moved since their interests were found, as these see it.

    The distance between an interest's mean then and now, relative to the length of the mean then,
    both averaged over tokens. Where the tokens of an interest move apart, it is less than what
    each of them moves.

    Args:
        points: tokens now, ``[tokens, dim]``.
        assignment: interest of each token, ``[tokens]``.
        centroids: mean token of each interest then, ``[interests, dim]``.
    """
    sizes = torch.bincount(assignment, minlength=len(centroids)).double()
    now = cluster_means(points, assignment, len(centroids))
    moved = (now - centroids).norm(dim=1).double() @ sizes
    return float(moved / (centroids.norm(dim=1).double() @ sizes).clamp(min=1e-30))
