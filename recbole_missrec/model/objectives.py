"""What the scores of a large catalogue are trained by, where its items do not fit in one chunk.

Memory is that of a chunk of ``CHUNK`` items beside the parameters and their gradients, whatever
the number of items.
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_missrec.losses.cross_entropy import full_cross_entropy
from recbole_missrec.losses.sampled import sampled_cross_entropy

if TYPE_CHECKING:
    from recbole_missrec.model.missrec import MISSRec

CHUNK = 2**14  # items whose tokens and scores are held at once


def full(model: "MISSRec", u: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over all items, chunk after chunk, each computed again in the backward pass.

    Args:
        model: the model.
        u: normalised sequence embeddings, ``[batch, dim]``.
        targets: items, long ``[batch]``.

    Returns:
        A scalar.
    """
    slices = [
        slice(start, min(start + CHUNK, model.n_items)) for start in range(1, model.n_items, CHUNK)
    ]
    sizes = [items.stop - items.start for items in slices]
    ids: list[Tensor | None] = [None] * len(slices)
    if model.item_embedding is not None:  # split once, so that the chunks share one gradient
        _, *ids = model.item_embedding.weight.split([1, *sizes])

    def scores(items: slice, ids: Tensor | None) -> Tensor:
        return model.score_candidates(u, model.candidates(model.item_table(items, ids)))

    chunks = [partial(scores, *chunk) for chunk in zip(slices, ids, strict=True)]
    return full_cross_entropy(chunks, sizes, targets - 1)


def sampled(model: "MISSRec", u: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over ``softmax_samples`` items, drawn by their share of the training rows.

    Args:
        model: the model.
        u: normalised sequence embeddings, ``[batch, dim]``.
        targets: items, long ``[batch]``.

    Returns:
        A scalar.
    """
    drawn = model.share.multinomial(model.options["softmax_samples"], replacement=True)
    candidates = model.candidates(model.item_table(torch.cat([drawn, targets])))
    negatives, own = model.score_candidates(u, candidates).split([len(drawn), len(targets)], 1)
    log_expected = (len(drawn) * model.share[drawn]).log()  # [samples]
    return sampled_cross_entropy(own.diagonal(), negatives, log_expected, drawn == targets[:, None])


OBJECTIVES = {"full": full, "sampled": sampled}
