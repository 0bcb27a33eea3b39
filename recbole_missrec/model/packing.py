"""Sequences without padded arithmetic: groups of like length, sets of distinct interests."""

import torch
from torch import Tensor

_GROWTH = 1.35  # a group's longest sequence over its shortest, at most


def length_groups(sorted_lengths: Tensor) -> list[slice]:
    """Cut rows sorted by length into groups, so that little of a group's rectangle is padding.

    Args:
        sorted_lengths: ascending, ``[batch]``, at least 1.

    Returns:
        Slices of rows, in order; at most about log(longest) / log(1.35) + 3 of them.

    >>> length_groups(torch.tensor([1, 1, 2, 5, 6, 50]))
    [slice(0, 2, None), slice(2, 3, None), slice(3, 5, None), slice(5, 6, None)]
    """
    lengths = sorted_lengths.tolist()
    groups, start = [], 0
    for edge in torch.unique_consecutive(sorted_lengths).tolist():
        if edge > lengths[start] * _GROWTH:
            end = int(torch.searchsorted(sorted_lengths, edge))
            groups.append(slice(start, end))
            start = end
    return [*groups, slice(start, len(lengths))]


def unpack(packed: Tensor, real: Tensor) -> Tensor:
    """Lay packed tokens out in padded rows: ``[tokens, dim], bool [batch, length] -> [b, l, dim]``.

    Padding is zero. The tokens stand row by row.
    """
    padded = packed.new_zeros(*real.shape, packed.shape[-1])
    padded[real] = packed
    return padded


def distinct_interests(interest_ids: Tensor, absent: int) -> Tensor:
    """The set of interests of each row, ascending, padded with ``absent``, as narrow as it can be.

    Args:
        interest_ids: ids of a row's tokens, ``absent`` where there is none, long
            ``[batch, tokens]``.
        absent: a number above all ids.

    Returns:
        Long ``[batch, width]``, width at least 1.

    >>> distinct_interests(torch.tensor([[4, 2, 4], [9, 9, 9]]), absent=9)
    tensor([[2, 4],
            [9, 9]])
    """
    ids = interest_ids.sort(1).values  # [batch, tokens]
    ids[:, 1:][ids[:, 1:] == ids[:, :-1].clone()] = absent
    ids = ids.sort(1).values
    width = int((ids < absent).sum(1).max())
    return ids[:, : max(width, 1)]
