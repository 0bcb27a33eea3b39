"""What it says of a candidate that the history holds it: not in the paper."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class History(NamedTuple):
    """Histories of a batch.

    Attributes:
        items: padded on the right with 0, long ``[batch, length]``.
        lengths: at least 1, long ``[batch]``.
        kept: which modalities each row is read and scored by, bool ``[modalities, batch]``; None
            for all.
        present: which items have which modalities in this batch, bool ``[modalities, items]``; None
            for those that they have.
    """

    items: Tensor
    lengths: Tensor
    kept: Tensor | None = None
    present: Tensor | None = None


class HistoryBias(nn.Module):
    """A learned number for candidates that stand in the history, another for the last item of it.

    A sequence embedding that is like the items of the history puts these at the top of the list,
    although people buy few things twice: cosines alone cannot learn that. Where people do repeat
    themselves, as with songs, the numbers become positive.

    Time and memory are those of the histories; of a matrix ``[batch, candidates]`` where the
    candidates are no slice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))  # of any item, and of the last one

    def forward(
        self, scores: Tensor, history: History, candidates: Tensor | slice, temperature: float
    ) -> Tensor:
        """Add to scores, in place.

        Args:
            scores: over the temperature, ``[batch, candidates]``.
            history: of each row.
            candidates: items, a slice with a start and a stop, or long ``[candidates]``.
            temperature: tau.

        Returns:
            The scores.
        """
        anywhere, at_the_end = self.weight / temperature
        last = history.items.gather(1, history.lengths[:, None] - 1)  # [batch, 1]
        if not isinstance(candidates, slice):
            scores += anywhere * held(history.items, candidates)
            return scores.add_(at_the_end * held(last, candidates))
        bias = anywhere + at_the_end * (history.items == last)  # [batch, length]
        here = (history.items >= max(1, candidates.start)) & (history.items < candidates.stop)
        place = (history.items - candidates.start).masked_fill(~here, 0)
        bias = bias * (here & first_times(history.items))
        return scores.scatter_add_(1, place, bias.to(scores.dtype))


def most_taken(bias: HistoryBias | None) -> float | Tensor:
    """The most that a bias may take from one score and give to another together, 0 or less."""
    return 0.0 if bias is None else -bias.weight.detach().abs().sum()


def first_times(items: Tensor) -> Tensor:
    """Whether an item stands for the first time in its row, bool ``[batch, length]``.

    >>> first_times(torch.tensor([[3, 5, 3, 3]]))
    tensor([[ True,  True, False, False]])
    """
    ordered, place = items.sort(dim=1, stable=True)
    first = torch.ones_like(items, dtype=torch.bool)
    return first.scatter_(1, place[:, 1:], ordered[:, 1:] != ordered[:, :-1])


def held(items: Tensor, candidates: Tensor) -> Tensor:
    """Whether a row holds a candidate; nothing waits for a device.

    Args:
        items: of each row, long ``[batch, length]``.
        candidates: items, long ``[candidates]``, which may hold an item several times.

    Returns:
        bool ``[batch, candidates]``.

    >>> held(torch.tensor([[3, 5, 0]]), torch.tensor([5, 4, 5]))
    tensor([[ True, False,  True]])
    """
    ordered = candidates.sort().values  # [candidates]
    place = torch.searchsorted(ordered, items)  # the first of equal candidates, [batch, length]
    there = ordered[place.clamp(max=len(ordered) - 1)] == items
    column = torch.where(there, place, len(ordered))  # what is not there falls into one beyond
    table = torch.zeros(len(items), len(ordered) + 1, dtype=torch.bool, device=items.device)
    return table.scatter_(1, column, True)[:, torch.searchsorted(ordered, candidates)]
