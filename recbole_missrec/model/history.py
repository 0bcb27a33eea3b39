"""What it says of a candidate that the history holds it: not in the paper."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class History(NamedTuple):
    """Histories of a batch.

    Attributes:
        items: padded on the right with 0, long ``[batch, length]``.
        lengths: at least 1, long ``[batch]``.
    """

    items: Tensor
    lengths: Tensor


class HistoryBias(nn.Module):
    """A learned number for candidates that stand in the history, another for the last item of it.

    A sequence embedding that is like the items of the history puts these at the top of the list,
    although people buy few things twice: cosines alone cannot learn that. Where people do repeat
    themselves, as with songs, the numbers become positive.

    Time and memory are those of a matrix ``[batch, candidates]``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))  # of any item, and of the last one

    def forward(self, history: History, candidates: Tensor | slice) -> Tensor:
        """What to add to the scores.

        Args:
            history: of each row.
            candidates: items, a slice with a start and a stop, or long ``[candidates]``.

        Returns:
            ``[batch, candidates]``.
        """
        last = history.items.gather(1, history.lengths[:, None] - 1)  # [batch, 1]
        anywhere, at_the_end = (
            held(items, candidates).to(self.weight.dtype) for items in (history.items, last)
        )
        return self.weight[0] * anywhere + self.weight[1] * at_the_end


def held(items: Tensor, candidates: Tensor | slice) -> Tensor:
    """Whether a row holds a candidate; nothing waits for a device.

    Args:
        items: of each row, long ``[batch, length]``.
        candidates: items, a slice with a start and a stop, or long ``[candidates]``, which may
            hold an item several times.

    Returns:
        bool ``[batch, candidates]``.

    >>> held(torch.tensor([[3, 5, 0]]), slice(2, 6))
    tensor([[False,  True, False,  True]])
    >>> held(torch.tensor([[3, 5, 0]]), torch.tensor([5, 4, 5]))
    tensor([[ True, False,  True]])
    """
    if isinstance(candidates, slice):
        return _held(items - candidates.start, candidates.stop - candidates.start)
    ordered = candidates.sort().values  # [candidates]
    place = torch.searchsorted(ordered, items)  # the first of equal candidates, [batch, length]
    absent = ordered[place.clamp(max=len(ordered) - 1)] != items
    columns = _held(place.masked_fill(absent, -1), len(ordered))
    return columns[:, torch.searchsorted(ordered, candidates)]


def _held(places: Tensor, width: int) -> Tensor:
    """True at the places of each row, ``[batch, width]``; those below 0 or beyond are left out."""
    outside = (places < 0) | (places >= width)
    table = torch.zeros(len(places), width + 1, dtype=torch.bool, device=places.device)
    return table.scatter_(1, places.masked_fill(outside, width), True)[:, :width]
