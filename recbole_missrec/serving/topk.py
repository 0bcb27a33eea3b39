"""The best items under any fusion: exact, block by block, no matrix of users by items kept."""

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_missrec.serving.histories import Held
from recbole_missrec.serving.scoring import Scorer

ROWS = 64  # that are scored together
SCORES = 2**19  # of a block: fewer cost more for its products, more leave the caches
WIDEST = 2**17  # items of a block


class Best(NamedTuple):
    """The best items of some rows, best first.

    Attributes:
        items: long ``[rows, k]``, 0 where there are fewer.
        scores: ``[rows, k]``, -inf where there are fewer.
    """

    items: Tensor
    scores: Tensor


def exact(
    scorer: Scorer, u: Tensor, held: Held, offered: Tensor, k: int, exclude: bool = False
) -> Best:
    """The k best of all offered items.

    Of items with equal scores the one with the lower row comes first. Time grows as
    ``rows * items * parts * dim``, memory beside the vectors as a block and ``rows * k``.

    Args:
        scorer: of the model.
        u: sequence embeddings, ``[rows, dim]``.
        held: items of the histories.
        offered: bool ``[items]``, on the processor.
        k: items of a row.
        exclude: leave out the items of its history.
    """
    parts = [
        _exact(scorer, u[first : first + ROWS], _of_rows(held, first), offered, k, exclude)
        for first in range(0, len(u), ROWS)
    ]
    return Best(*map(torch.cat, zip(*parts, strict=True)))


def _of_rows(held: Held, first: int) -> Held:
    inside = (held.row >= first) & (held.row < first + ROWS)
    return Held(held.item[inside], held.row[inside] - first, held.last[inside])


def _exact(scorer: Scorer, u: Tensor, held: Held, offered: Tensor, k: int, exclude: bool) -> Best:
    """The same for as many rows as are scored together."""
    best = Best(
        torch.zeros(len(u), k, dtype=torch.long, device=u.device),
        u.new_full((len(u), k), -torch.inf),
    )
    bias = None if scorer.model.history_bias is None else scorer.bias(held.last)
    width = min(WIDEST, max(1, SCORES // len(u)))
    for first in range(1, len(offered), width):  # after the padding
        inside = offered[first : first + width]
        whole = bool(inside.all())
        items = torch.arange(len(inside)) if whole else inside.nonzero().squeeze(1)
        items += first  # [candidates]
        if len(items):
            found = scorer.score(u, slice(first, first + len(items)) if whole else items)
            adjust(found, held, bias, items, exclude)
            _keep(best, found, items)
    return in_order(best)


def adjust(scores: Tensor, held: Held, bias: Tensor | None, items: Tensor, exclude: bool) -> None:
    """Add what histories add to the scores of their items, or leave these out; in place.

    Args:
        scores: ``[rows, items]``.
        held: items of the histories.
        bias: of them, ``[held]``, None for none.
        items: ascending, long ``[items]``.
        exclude: leave them out.
    """
    if exclude or bias is not None:
        which, row, column = held.within(items)
        if exclude:
            scores[row, column] = -torch.inf
        elif bias is not None:
            scores[row, column] += bias[which]


def _keep(best: Best, scores: Tensor, items: Tensor) -> None:
    """Let candidates take the places of worse ones; in place, in the rows where some are better."""
    k = best.scores.shape[1]
    rows = (scores.amax(1) > best.scores.amin(1)).nonzero().squeeze(1)
    if not len(rows):
        return
    scores = scores if len(rows) == len(scores) else scores[rows]
    found = scores.topk(min(k, scores.shape[1]))
    values = torch.cat([best.scores[rows], found.values], 1)
    places = torch.cat([best.items[rows], items.to(scores.device)[found.indices]], 1)
    kept = values.topk(k)
    best.scores[rows] = kept.values
    best.items[rows] = places.gather(1, kept.indices)


def in_order(best: Best) -> Best:
    """Best first, of equal scores the lower row first; what is left out or missing is 0."""
    items = best.items.masked_fill(best.scores.isneginf(), 0)
    by_item = items.argsort(dim=1, stable=True)
    order = best.scores.gather(1, by_item).argsort(dim=1, descending=True, stable=True)
    order = by_item.gather(1, order)
    return Best(items.gather(1, order), best.scores.gather(1, order))
