"""What the scores of a large catalogue are trained by, where its items do not fit in one chunk.

Memory is that of a chunk of ``CHUNK`` items beside the parameters and their gradients, whatever
the number of items.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_missrec.losses.cross_entropy import chunked_cross_entropy
from recbole_missrec.losses.sampled import sampled_cross_entropy
from recbole_missrec.losses.sequence_item import sequence_item_contrast
from recbole_missrec.model.history import History, held

if TYPE_CHECKING:
    from recbole_missrec.model.missrec import MISSRec

CHUNK = 2**12  # items whose tokens and scores are held at once: some megabytes, near the caches


def chunks(first: int, last: int) -> list[slice]:
    """Items ``first`` to ``last - 1`` in slices of at most ``CHUNK``."""
    return [slice(start, min(start + CHUNK, last)) for start in range(first, last, CHUNK)]


def full(model: "MISSRec", u: Tensor, targets: Tensor, history: History) -> Tensor:
    """Cross-entropy over all items, chunk after chunk, each computed again in the backward pass.

    Args:
        model: the model.
        u: normalised sequence embeddings, ``[batch, dim]``.
        targets: items, long ``[batch]``.
        history: of each row.

    Returns:
        A scalar.
    """

    def score(u: Tensor, ids: Tensor | None, items: slice) -> Tensor:
        return model.scores(u, model.candidates(model.item_table(items, ids)), history)

    ids = None if model.item_embedding is None else model.item_embedding.weight
    parts = (model.adapters, model.fusion, model.history_bias)
    read = [weight for part in parts if part is not None for weight in part.parameters()]
    return chunked_cross_entropy(score, chunks(1, model.n_items), targets, u, ids, read)


def sampled(model: "MISSRec", u: Tensor, targets: Tensor, history: History) -> Tensor:
    """Cross-entropy over ``softmax_samples`` items, drawn by their share of the training rows.

    Args:
        model: the model.
        u: normalised sequence embeddings, ``[batch, dim]``.
        targets: items, long ``[batch]``.
        history: of each row.

    Returns:
        A scalar.
    """
    drawn = model.share.multinomial(model.options["softmax_samples"], replacement=True)
    candidates = model.candidates(model.item_table(torch.cat([drawn, targets])))
    scores = model.scores(u, candidates, history)  # [batch, samples + batch]
    negatives, own = scores.split([len(drawn), len(targets)], 1)
    log_expected = (len(drawn) * model.share[drawn]).log().to(negatives.dtype)  # [samples]
    return sampled_cross_entropy(own.diagonal(), negatives, log_expected, drawn == targets[:, None])


def in_batch(model: "MISSRec", u: Tensor, targets: Tensor, history: History) -> Tensor:
    """Contrast with the next items of the other rows, of whatever domain.

    Args:
        model: the model.
        u: normalised sequence embeddings, ``[batch, dim]``.
        targets: items, long ``[batch]``.
        history: of each row, whose items are no negatives unless ``history_negatives``.

    Returns:
        A scalar.
    """
    scores = model.scores(u, model.candidates(model.item_table(targets)), history)  # [batch, batch]
    known = None if model.options["history_negatives"] else held(history.items, targets)
    own = torch.arange(len(u), device=u.device)
    return sequence_item_contrast(scores, targets, own, known)


OBJECTIVES = {"full": full, "sampled": sampled, "in_batch": in_batch}
