"""Cross-entropy over all items, a chunk of items at a time.

Fine-tuning loss of MISSRec, section 3.5: the mean over rows of
``log(sum over items i of exp s(u, i)) - s(u, target)``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# scores [batch, items] of a slice of items, from u and, where there are any, their id embeddings
Score = Callable[[Tensor, Tensor | None, slice], Tensor]


def chunked_cross_entropy(
    score: Score,
    slices: Sequence[slice],
    targets: Tensor,
    u: Tensor,
    ids: Tensor | None,
    parameters: Sequence[Tensor],
) -> Tensor:
    """Mean cross-entropy of the targets among the items of some slices.

    A chunk is computed twice, for the loss and for its gradient, and is held alone: memory beyond
    the arguments and their gradients is that of one chunk, whatever the number of items; the
    scores are computed once more than by the whole matrix.

    Args:
        score: scores of a chunk.
        slices: items of each chunk, without overlap.
        targets: item of each row, in one of the slices, long ``[batch]``.
        u: normalised sequence embeddings, ``[batch, dim]``.
        ids: id embeddings of all items, ``[items, dim]``.
        parameters: what ``score`` reads beside its arguments and what has a gradient.

    Returns:
        A scalar, once differentiable with respect to ``u``, ``ids`` and ``parameters``.

    >>> from torch import tensor
    >>> table = tensor([[1.0], [0.0], [2.0]])  # [items, dim]
    >>> def score(u, ids, items):
    ...     return u @ table[items].T
    >>> u, targets = tensor([[1.0]]), tensor([2])  # of one row
    >>> chunks = [slice(0, 2), slice(2, 3)]
    >>> loss = chunked_cross_entropy(score, chunks, targets, u, None, [])
    >>> round(float(loss), 4)  # log(e + 1 + e^2) - 2
    0.4076
    """
    return _Chunked.apply(score, slices, targets, u, ids, *parameters)


class _Chunked(torch.autograd.Function):
    """Nothing is allocated in a loop and kept, so that the chunks' memory is used again."""

    @staticmethod
    def forward(
        ctx: Any,
        score: Score,
        slices: Sequence[slice],
        targets: Tensor,
        u: Tensor,
        ids: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        normaliser = u.new_full((len(u),), -torch.inf)  # log of the sum so far, [batch]
        own = u.new_zeros(len(u))  # scores of the targets, [batch]
        for items in slices:
            scores = score(u, None if ids is None else ids[items], items)  # [batch, size]
            torch.logaddexp(normaliser, scores.logsumexp(1), out=normaliser)
            place, inside = _places(targets, items)
            own += torch.where(inside, scores.gather(1, place[:, None]).squeeze(1), 0)
        ctx.save_for_backward(targets, u, ids, normaliser, *parameters)
        ctx.score, ctx.slices = score, slices
        return (normaliser - own).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        targets, u, ids, normaliser, *parameters = ctx.saved_tensors
        # gradients of u, of a chunk of ids, and of the parameters, as far as they are asked for
        totals = [
            torch.zeros_like(x) if needed else None
            for x, needed in zip((u, ids, *parameters), ctx.needs_input_grad[3:], strict=True)
        ]
        for items in ctx.slices:
            leaf = u.detach().requires_grad_()
            part = None if ids is None else ids[items].detach().requires_grad_()
            with torch.enable_grad():
                scores = ctx.score(leaf, part, items)  # [batch, size]
            change = (scores.detach() - normaliser[:, None]).exp_()  # probabilities
            place, inside = _places(targets, items)
            change.scatter_add_(1, place[:, None], -inside.to(change.dtype)[:, None])
            change *= gradient / len(u)
            sums = [totals[0], None if totals[1] is None else totals[1][items], *totals[2:]]
            pairs = [
                (total, x)
                for total, x in zip(sums, (leaf, part, *parameters), strict=True)
                if total is not None
            ]
            found = torch.autograd.grad(scores, [x for _, x in pairs], change, allow_unused=True)
            for (total, _), new in zip(pairs, found, strict=True):
                if new is not None:
                    total += new
        return None, None, None, *totals


def _places(targets: Tensor, items: slice) -> tuple[Tensor, Tensor]:
    """Place of each row's target in a chunk, clamped into it, and whether it is there."""
    inside = (targets >= items.start) & (targets < items.stop)
    return (targets - items.start).clamp(0, items.stop - items.start - 1), inside
