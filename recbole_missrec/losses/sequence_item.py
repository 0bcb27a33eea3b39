"""Sequence-item contrast: tell a sequence's next item from those of the other sequences.

Pre-training loss of MISSRec (Wang et al. 2023), section 3.5.
"""

import torch
from torch import Tensor

from recbole_missrec.losses.in_batch import in_batch_cross_entropy


def sequence_item_contrast(
    scores: Tensor, own: Tensor, counts: Tensor | None = None, held: Tensor | None = None
) -> Tensor:
    """Mean over sequences b of ``log(exp s_by + sum over j != y of n_j exp s_bj) - s_by``.

    y is the next item of b; j runs over the distinct next items of the batch. That of n_j sequences
    counts n_j times, as if it were scored for each of them; y is never a negative of b.

    Args:
        scores: of distinct items, over the temperature, ``[rows, items]``.
        own: column of each row's next item, long ``[rows]``.
        counts: n_j, how many sequences of the batch have the item next, ``[items]``; once each
            if not given.
        held: items that the row's own sequence holds, bool ``[rows, items]``, which are then no
            negatives of it.

    Returns:
        A scalar. Time and memory grow as ``rows * items``.

    >>> scores = torch.tensor([[2.0, 1.0], [2.0, 1.0], [3.0, 6.0]]).log()
    >>> own, counts = torch.tensor([0, 0, 1]), torch.tensor([2, 1])
    >>> loss = sequence_item_contrast(scores, own, counts)
    >>> round(float((3 * loss).exp()), 4)  # (2 + 1) / 2 twice, (2 * 3 + 6) / 6
    4.5
    """
    if counts is not None:
        others = torch.arange(scores.shape[1], device=own.device) != own[:, None]
        scores = scores + torch.where(others, counts.to(scores.dtype).log(), 0)
    return in_batch_cross_entropy(scores, own, held)
