"""What the scores of a large catalogue are trained by, where its items do not fit in one chunk.

Memory is that of a chunk of ``CHUNK`` items beside the parameters and their gradients, whatever
the number of items.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_missrec import processes
from recbole_missrec.losses.cross_entropy import chunked_cross_entropy
from recbole_missrec.losses.sampled import sampled_cross_entropy
from recbole_missrec.losses.sequence_item import sequence_item_contrast
from recbole_missrec.losses.sequence_sequence import sequence_sequence_contrast
from recbole_missrec.model.history import History, held
from recbole_missrec.model.packing import Batch, Copies

if TYPE_CHECKING:
    from recbole_missrec.model.missrec import MISSRec

CHUNK = 2**12  # items whose tokens and scores are held at once: some megabytes, near the caches


def chunks(first: int, last: int) -> list[slice]:
    """Items ``first`` to ``last - 1`` in slices of at most ``CHUNK``."""
    return [slice(start, min(start + CHUNK, last)) for start in range(first, last, CHUNK)]


def full(model: "MISSRec", u: Tensor, batch: Batch, history: History) -> Tensor:
    """Cross-entropy over all items, chunk after chunk, each computed again in the backward pass.

    Args:
        model: the model.
        u: normalised sequence embeddings, ``[rows, dim]``.
        batch: that the rows are of.
        history: of each row.

    Returns:
        A scalar.
    """
    targets = batch.targets[batch.own]

    def score(u: Tensor, ids: Tensor | None, items: slice) -> Tensor:
        table = model.item_table(items, ids, present=history.present)
        return model.without_unseen(model.scores(u, model.candidates(table), history), items)

    ids = None if model.item_embedding is None else model.item_embedding.weight
    parts = (model.adapters, model.fusion, model.history_bias)
    read = [weight for part in parts if part is not None for weight in part.parameters()]
    read += [] if model.missing_token is None else [model.missing_token]
    return chunked_cross_entropy(score, chunks(1, model.n_items), targets, u, ids, read)


def sampled(model: "MISSRec", u: Tensor, batch: Batch, history: History) -> Tensor:
    """Cross-entropy over ``softmax_samples`` items, drawn by their share of the training rows.

    Args:
        model: the model.
        u: normalised sequence embeddings, ``[rows, dim]``.
        batch: that the rows are of.
        history: of each row.

    Returns:
        A scalar.
    """
    targets = batch.targets[batch.own]
    drawn = model.share.multinomial(model.options["softmax_samples"], replacement=True)
    table = model.item_table(torch.cat([drawn, targets]), present=history.present)
    candidates = model.candidates(table)
    scores = model.scores(u, candidates, history)  # [batch, samples + batch]
    negatives, own = scores.split([len(drawn), len(targets)], 1)
    log_expected = (len(drawn) * model.share[drawn]).log().to(negatives.dtype)  # [samples]
    return sampled_cross_entropy(own.diagonal(), negatives, log_expected, drawn == targets[:, None])


def in_batch(model: "MISSRec", u: Tensor, batch: Batch, history: History) -> Tensor:
    """Contrast with the next items of the other rows of the batch, of whatever domain and process.

    Args:
        model: the model.
        u: normalised sequence embeddings, ``[rows, dim]``.
        batch: that the rows are of.
        history: of each row, whose items are no negatives unless ``history_negatives``.

    Returns:
        A scalar.
    """
    targets = batch.targets
    candidates = model.candidates(model.item_table(targets, present=history.present))
    scores = model.scores(u, candidates, history)  # [rows, batch]
    known = None if model.options["history_negatives"] else held(history.items, targets)
    return sequence_item_contrast(scores, targets, batch.own, known)


def copy_contrast(u: Tensor, v: Tensor, batch: Batch, copies: Copies, temperature: float) -> Tensor:
    """Contrast of sequences with their augmented copies, those of all processes.

    Args:
        u: normalised embeddings of the rows, ``[rows, dim]``.
        v: those of their copies, ``[rows, dim]``.
        batch: that the rows are of.
        copies: of the rows.
        temperature: tau.

    Returns:
        A scalar.
    """
    everyone = processes.joined(v)  # [batch, dim], process by process
    place = torch.arange(len(batch.targets), device=u.device)
    order = place.view(-1, processes.world_size()).T.flatten()  # row of the batch of each of these
    same = copies.history[order] == copies.history[batch.own][:, None]  # [rows, batch]
    own = processes.rank() * len(u) + place[: len(u)]
    return sequence_sequence_contrast(u, everyone, own, temperature, same)


OBJECTIVES = {"full": full, "sampled": sampled, "in_batch": in_batch}
