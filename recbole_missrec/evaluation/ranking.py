"""Ranking metrics of one target per row among all candidates, exact under ties.

With ``b`` candidates scored better than the target and ``e`` others scored equal, the target's rank
is any of ``b + 1 ... b + e + 1``, each equally likely. A metric is its mean over these ranks, so it
depends neither on the order of the items nor on a sorting routine.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from recbole_missrec.errors import UsageError, nearest

MAX_K = 1_000_000  # the cumulative gain is a table of k + 1 numbers
_BLOCK = 2**20  # comparisons held at once: summing booleans takes eight bytes for each


def count_ranks(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Count the candidates that are scored above each row's target, and those level with it.

    Rows are compared in blocks of about a million scores: time grows with batch * items, memory
    beyond the scores stays constant. Nothing is sorted.

    Args:
        scores: score of every candidate, ``[batch, items]``; an excluded candidate has ``-inf``.
        targets: index of each row's one positive item, ``[batch]``, int64.

    Returns:
        ``better``, the number of candidates scored strictly above the target, and ``equal``, the
        number of others with exactly its score; both ``[batch]``, int64.

    Raises:
        ValueError: a score is NaN, or a target is itself excluded.
    """
    if scores.amax(dim=1).isnan().any():  # the maximum of a row with a NaN is NaN
        raise ValueError("scores contain NaN: the model has diverged, or divides by zero")
    target_scores = scores.gather(1, targets.unsqueeze(1))  # [batch, 1]
    excluded = int(target_scores.isneginf().sum())
    if excluded:
        raise ValueError(f"{excluded} of {len(scores)} targets are scored -inf (excluded)")

    better, equal = torch.empty_like(targets), torch.empty_like(targets)  # [batch]
    rows = max(1, _BLOCK // scores.shape[1])
    for start in range(0, len(scores), rows):
        block = slice(start, start + rows)
        better[block] = (scores[block] > target_scores[block]).sum(dim=1)
        equal[block] = (scores[block] == target_scores[block]).sum(dim=1) - 1  # but for itself
    return better, equal


def expected_rank(better: Tensor, equal: Tensor) -> Tensor:
    """Mean of the equally likely ranks, counted from 1.

    Args:
        better: candidates scored above the target, ``[rows]``.
        equal: other candidates with its score, ``[rows]``.

    Returns:
        ``better + 1 + equal / 2``, ``[rows]``, float64.
    """
    return better.double() + 1 + equal.double() / 2


def _hit(ranks: Tensor) -> Tensor:
    return torch.ones_like(ranks)


def _discounted(ranks: Tensor) -> Tensor:
    return 1 / torch.log2(1 + ranks)


def _reciprocal(ranks: Tensor) -> Tensor:
    return 1 / ranks


def _share_of_list(ranks: Tensor) -> Tensor:
    return torch.full_like(ranks, 1 / len(ranks))


# The gain of a target at each of the ranks 1 ... k, float64 [k]; beyond rank k it is zero.
# With a single positive, recall is the hit rate and average precision the reciprocal rank.
METRICS: dict[str, Callable[[Tensor], Tensor]] = {
    "recall": _hit,
    "hit": _hit,
    "ndcg": _discounted,
    "mrr": _reciprocal,
    "precision": _share_of_list,
    "map": _reciprocal,
}


def metric_name(name: str) -> str:
    """The name in `METRICS` of a metric written in any case.

    Raises:
        UsageError: there is no such metric; the message has the nearest one.
    """
    if name.lower() not in METRICS:
        raise UsageError(f"no metric '{name}': {nearest(name, METRICS)}")
    return name.lower()


def per_row_metric(better: Tensor, equal: Tensor, metric: str, k: int) -> Tensor:
    """Expected value of one metric for every row.

    The sum of the gains over the ranks ``b + 1 ... b + e + 1`` is a difference of two cumulative
    sums, so that time and memory grow with rows + k, whatever the number of ties.

    Args:
        better: candidates scored above the target, ``[rows]``, int64.
        equal: other candidates with its score, ``[rows]``, int64.
        metric: a name of `METRICS`, in any case.
        k: length of the recommended list, from 1 to `MAX_K`.

    Returns:
        The metric of each row, ``[rows]``, float64.

    Raises:
        UsageError: no such metric, or k out of range.
    """
    gain = METRICS[metric_name(metric)]
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k must be from 1 to {MAX_K}, not {k}")
    ranks = torch.arange(1, k + 1, dtype=torch.float64, device=better.device)  # [k]
    up_to = torch.nn.functional.pad(gain(ranks).cumsum(0), (1, 0))  # [k + 1], up_to[0] = 0
    first = better.clamp(max=k)  # [rows]
    last = (better + equal + 1).clamp(max=k)  # [rows]
    return (up_to[last] - up_to[first]) / (equal + 1)


def ranking_metrics(
    better: Tensor, equal: Tensor, metrics: list[str], topk: list[int]
) -> dict[str, float]:
    """Means over all rows, under RecBole's keys and in RecBole's order.

    Args:
        better: candidates scored above the target, ``[rows]``, int64.
        equal: other candidates with its score, ``[rows]``, int64.
        metrics: names of `METRICS`, in any case.
        topk: lengths of the recommended list.

    Returns:
        ``{"recall@10": ..., "recall@50": ..., "ndcg@10": ...}``, not rounded.

    Raises:
        UsageError: no such metric, or a k out of range.
    """
    return {
        f"{metric_name(metric)}@{k}": float(per_row_metric(better, equal, metric, k).mean())
        for metric in metrics
        for k in topk
    }
