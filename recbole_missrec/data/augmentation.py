"""Augmented copies of histories, for the sequence-sequence contrast of pre-training."""

from typing import NamedTuple

import torch
from torch import Tensor

ITEM_DROP_SHARE = 0.9  # of histories
RATE = 0.2  # of items, or of texts


class Augmented(NamedTuple):
    """Augmented copies of histories.

    Attributes:
        items: padded on the right with 0, long ``[rows, width]``.
        lengths: at least 1, long ``[rows]``.
        replaced: items whose text is to be that with words dropped, bool ``[rows, width]``.
    """

    items: Tensor
    lengths: Tensor
    replaced: Tensor


def augment(
    items: Tensor,
    lengths: Tensor,
    generator: torch.Generator,
    item_drop_share: float = ITEM_DROP_SHARE,
    rate: float = RATE,
) -> Augmented:
    """Drop items of some histories, texts' words in the others (MISSRec, section 3.5).

    Each history is drawn by itself, where the released code draws once a batch. One that loses
    items keeps their order and its first one; what is lost is lost in all modalities. In the
    others all items stay, and each may have its text replaced. Time and memory grow as
    ``rows * width``.

    Args:
        items: histories, padded on the right with 0, long ``[rows, width]``.
        lengths: at least 1, long ``[rows]``.
        generator: of all draws, on the device of the histories.
        item_drop_share: probability that a history loses items, and not words.
        rate: probability of an item to be dropped, or of its text to be replaced.

    >>> histories = torch.tensor([[7, 5, 3, 9, 4], [2, 8, 6, 0, 0]])
    >>> generator = torch.Generator().manual_seed(0)
    >>> augment(histories, torch.tensor([5, 3]), generator, item_drop_share=1.0, rate=0.5).items
    tensor([[7, 9, 0, 0, 0],
            [2, 6, 0, 0, 0]])
    """
    rows, width = items.shape
    place = torch.arange(width, device=items.device)
    real = place < lengths[:, None]  # [rows, width]
    loses = torch.rand(rows, 1, generator=generator, device=items.device) < item_drop_share
    drawn = torch.rand(rows, width, generator=generator, device=items.device) < rate
    kept = real & ~(drawn & loses & (place > 0))
    column = (kept.cumsum(1) - 1).masked_fill(~kept, width)  # the last column is thrown away
    compact = items.new_zeros(rows, width + 1).scatter_(1, column, items)[:, :width]
    return Augmented(compact, kept.sum(1), drawn & ~loses & real)
