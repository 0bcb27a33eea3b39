"""Sequence-sequence contrast: tell a sequence's augmented copy from those of the others.

Pre-training loss of MISSRec (Wang et al. 2023), section 3.5.
"""

from torch import Tensor

from recbole_missrec.losses.in_batch import in_batch_cross_entropy


def sequence_sequence_contrast(
    u: Tensor, augmented: Tensor, own: Tensor, temperature: float, same: Tensor | None = None
) -> Tensor:
    """Mean over b of ``log(sum over c of exp(u_b . v_c / tau)) - u_b . v_b / tau``.

    v_c is the embedding of the augmented copy of sequence c.

    Args:
        u: normalised sequence embeddings, ``[rows, dim]``.
        augmented: those of augmented copies, ``[columns, dim]``.
        own: which of these is each row's copy, long ``[rows]``.
        temperature: tau.
        same: copies of sequences that are equal to the row's, bool ``[rows, columns]``, which are
            then no negatives of it.

    Returns:
        A scalar. Time and memory grow as ``rows * (columns + dim)``.

    >>> from torch import arange, eye
    >>> loss = sequence_sequence_contrast(eye(2), 2 * eye(2), arange(2), temperature=0.5)
    >>> round(float(loss), 4)  # log(1 + exp(-4))
    0.0181
    """
    return in_batch_cross_entropy(u @ augmented.T / temperature, own, same)
