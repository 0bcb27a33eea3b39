"""Cross-entropy of a row's own column among the columns of its batch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def in_batch_cross_entropy(scores: Tensor, own: Tensor, masked: Tensor | None = None) -> Tensor:
    """Mean over rows of ``log(sum over columns j that count of exp s_bj) - s_b,own(b)``.

    Rows and columns may differ, as where each process has its own rows and the columns of all.

    Args:
        scores: over the temperature, ``[rows, columns]``.
        own: column of each row's positive, long ``[rows]``.
        masked: columns that are no negatives of a row, bool ``[rows, columns]``; its own counts
            whatever it says.

    Returns:
        A scalar.

    >>> scores, own = torch.tensor([[2.0, 1.0, 5.0]]).log(), torch.tensor([0])
    >>> loss = in_batch_cross_entropy(scores, own, torch.tensor([[True, False, True]]))
    >>> round(float(loss.exp()), 4)  # (2 + 1) / 2
    1.5
    """
    if masked is not None:
        others = torch.arange(scores.shape[1], device=own.device) != own[:, None]
        scores = scores.masked_fill(masked & others, -torch.inf)
    return F.cross_entropy(scores, own)
