"""Cross-entropy over all items, a chunk of items at a time.

Fine-tuning loss of MISSRec, section 3.5: ``mean over rows of log sum over items i of exp s(u, i),
minus s(u, target)``.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Scores = Callable[[], Tensor]


def full_cross_entropy(chunks: Sequence[Scores], sizes: Sequence[int], targets: Tensor) -> Tensor:
    """Mean cross-entropy of the targets among all items.

    Several chunks are computed again in the backward pass, so that only one is held at a time:
    memory beyond gradients is that of a chunk, time a third more than that of the whole matrix.

    Args:
        chunks: each gives the scores of consecutive items, ``[batch, size]``.
        sizes: number of items of each chunk.
        targets: index of each row's item, counted through the chunks, long ``[batch]``.

    Returns:
        A scalar.

    >>> whole = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    >>> parts = [lambda: whole[:, :3], lambda: whole[:, 3:]]
    >>> full_cross_entropy(parts, [3, 1], torch.tensor([3])).exp().round()  # 1 of 4 alike
    tensor(4.)
    """
    if len(chunks) == 1:
        return F.cross_entropy(chunks[0](), targets)
    normalisers, scores, start = [], [], 0
    for chunk, size in zip(chunks, sizes, strict=True):
        normaliser, score = checkpoint(
            _chunk, chunk, targets - start, use_reentrant=False, preserve_rng_state=False
        )
        normalisers.append(normaliser)
        scores.append(score)
        start += size
    return (torch.stack(normalisers).logsumexp(0) - torch.stack(scores).sum(0)).mean()


def _chunk(scores: Scores, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the sum of exponentials, and the targets' scores, 0 outside; both ``[batch]``."""
    values = scores()  # [batch, size]
    last = values.shape[1] - 1
    score = values.gather(1, targets.clamp(0, last)[:, None]).squeeze(1)
    inside = (targets >= 0) & (targets <= last)
    return values.logsumexp(1), torch.where(inside, score, 0)
