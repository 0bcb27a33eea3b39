"""Beyond accuracy: what the recommended lists hold, from counts per item alone."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

TAIL = 0.1  # of the items with interactions, RecBole's default of tail_ratio


def count_recommendations(scores: Tensor, topk: list[int]) -> dict[int, Tensor]:
    """Count how often each item stands in the recommended lists of a batch.

    Ties at a list's end are broken as ``torch.topk`` does. Excluded items fill no list, which is
    then shorter than k.

    Args:
        scores: score of every item, ``[batch, items]``; an excluded one has ``-inf``.
        topk: lengths of the lists.

    Returns:
        k -> int64 ``[items]``.
    """
    items = scores.shape[1]
    best = scores.topk(min(max(topk), items), dim=1)  # [batch, max k]
    listed = ~best.values.isneginf()  # [batch, max k]
    return {
        k: torch.bincount(best.indices[:, :k][listed[:, :k]], minlength=items).cpu() for k in topk
    }


def beyond_accuracy(recommended: Mapping[int, Tensor], popularity: Tensor) -> dict[str, float]:
    """Diversity, concentration and popularity of the recommended lists.

    With c the times that an item was recommended, p its popularity and n items:

    - coverage: share of the items that are recommended to anybody (RecBole's itemcoverage, which
      counts the padding among the items).
    - gini: inequality of c over all items, 0 if equal; RecBole's giniindex (with the padding).
    - shannonentropy: of c's distribution, in nats, divided by the number of different items
      recommended: RecBole's definition.
    - averagepopularity: mean p of a recommendation, as RecBole's.
    - tailpercentage: share of the recommendations that go to the least popular tenth of the items
      with p > 0, of equally popular ones those first in the data: RecBole's at its default.
    - novelty: mean of -log2((p + 1) / (sum of p + n)) over the recommendations, in bits
      (self-information: Zhou et al., PNAS 2010; the + 1 is for items without interactions).

    A mean is over recommendations: over users, too, where all lists are of the same length.

    Args:
        recommended: k -> times that each item was recommended, int64 ``[items]``. The first item
            is the padding, here and below, and is left out.
        popularity: interactions of each item in the training part, int64 ``[items]``.

    Returns:
        ``{"coverage@10": ..., "gini@10": ..., ...}``, not rounded.
    """
    p = popularity[1:].double().numpy()  # [items]
    known = np.flatnonzero(p)
    tail = np.zeros_like(p)  # [items]
    tail[known[p[known].argsort(kind="stable")][: max(int(len(known) * TAIL), 1)]] = 1
    surprise = -np.log2((p + 1) / (p + 1).sum())  # [items]
    figures: dict[str, float] = {}
    for k, counts in recommended.items():
        c = counts[1:].double().numpy()  # [items]
        share = c / c.sum()  # [items]
        listed = share[share > 0]
        ranks = np.arange(1, len(c) + 1)
        values = {
            "coverage": len(listed) / len(c),
            "gini": (2 * ranks - len(c) - 1) @ np.sort(share) / len(c),
            "shannonentropy": -(listed @ np.log(listed)) / len(listed),
            "averagepopularity": share @ p,
            "tailpercentage": share @ tail,
            "novelty": share @ surprise,
        }
        figures |= {f"{name}@{k}": float(value) for name, value in values.items()}
    return figures
