"""Sampled softmax with logQ correction, for catalogues whose full softmax is too slow."""

import torch
from torch import Tensor


def sampled_cross_entropy(
    positive: Tensor, negatives: Tensor, log_expected: Tensor, hits: Tensor
) -> Tensor:
    """Cross-entropy with the sum over the other items estimated from a sample.

    ``log(exp s_y + sum over sampled j, j != y, of exp(s_j) / (K q_j)) - s_y``. The sum estimates
    that over all items j != y without bias, so the positive itself is not corrected (Bengio and
    Senecal, Adaptive importance sampling, 2008).

    Args:
        positive: score of each row's item, ``[batch]``.
        negatives: scores of the K items drawn for all rows from q, with replacement,
            ``[batch, K]``.
        log_expected: ``log(K q_j)`` of each, ``[K]``.
        hits: where a drawn item is the row's own, bool ``[batch, K]``.

    Returns:
        A scalar, the mean over rows.

    >>> from torch import tensor
    >>> positive, negatives = tensor([2.0]).log(), tensor([[3.0, 2.0]]).log()
    >>> expected = tensor([0.5, 4.0]).log()  # how often each is drawn
    >>> loss = sampled_cross_entropy(positive, negatives, expected, tensor([[False, False]]))
    >>> round(float(loss.exp()), 4)  # (2 + 3 / 0.5 + 2 / 4) / 2
    4.25
    """
    corrected = (negatives - log_expected).masked_fill(hits, -torch.inf)  # [batch, K]
    everything = torch.cat([positive[:, None], corrected], 1)
    return (everything.logsumexp(1) - positive).mean()
