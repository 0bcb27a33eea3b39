"""Sequence-item contrast: tell a sequence's next item from those of the other sequences.

Pre-training loss of MISSRec (Wang et al. 2023), section 3.5.
"""

from torch import Tensor

from recbole_missrec.losses.in_batch import in_batch_cross_entropy


def sequence_item_contrast(
    scores: Tensor, items: Tensor, own: Tensor, held: Tensor | None = None
) -> Tensor:
    """Mean over sequences b of ``log(exp s_b,own + sum over c != own of exp s_bc) - s_b,own``.

    c runs over the next items of all sequences of the batch but those that are b's next item, too.
    An item that is next in several other sequences counts for each.

    Args:
        scores: over the temperature, ``[rows, columns]``.
        items: next item of each column's sequence, long ``[columns]``.
        own: column of each row's sequence, long ``[rows]``.
        held: columns of items that the row's own sequence holds, bool ``[rows, columns]``, which
            are then no negatives of it.

    Returns:
        A scalar. Time and memory grow as ``rows * columns``.

    >>> from torch import arange, tensor
    >>> scores = tensor([[2.0, 2.0, 1.0], [2.0, 2.0, 1.0], [3.0, 3.0, 6.0]]).log()
    >>> loss = sequence_item_contrast(scores, items=tensor([8, 8, 5]), own=arange(3))
    >>> round(float((3 * loss).exp()), 4)  # (2 + 1) / 2 twice, (2 * 3 + 6) / 6
    4.5
    """
    masked = items == items[own][:, None]  # [rows, columns]
    return in_batch_cross_entropy(scores, own, masked if held is None else masked | held)
