"""Rows of different widths in one long matrix, almost without padding.

Linear layers run over the matrix as it is; attention runs over its groups, each of which is a
rectangle ``[rows, width]`` of rows of like width. All indices are made on the CPU, before a batch
moves to its device, so that a training step never waits for one.
"""

from typing import NamedTuple

import torch
from torch import Tensor

GROWTH = 1.2  # a group's width over that of its narrowest row, at most


class Group(NamedTuple):
    """A rectangle of slots.

    Attributes:
        rows: number of rows.
        width: slots of each.
        full: whether no slot is padding.
    """

    rows: int
    width: int
    full: bool


class Layout(NamedTuple):
    """Where the tokens of each row stand.

    Attributes:
        order: which row each laid-out row is, from the narrowest to the widest, long ``[rows]``.
        row: laid-out row of each slot, long ``[slots]``.
        position: of each slot in its row, long ``[slots]``.
        pad: True where a slot is padding, bool ``[slots]``.
        start: first slot of each laid-out row, long ``[rows]``.
        groups: the rectangles, whose slots follow each other.
    """

    order: Tensor
    row: Tensor
    position: Tensor
    pad: Tensor
    start: Tensor
    groups: tuple[Group, ...]

    @property
    def sizes(self) -> list[int]:
        """Slots of each group, padding included."""
        return [group.rows * group.width for group in self.groups]


class Queries(NamedTuple):
    """Slots of a layout that ask its own slots, then those of a memory.

    The memory has the same rows in another order: the queries are brought to rectangles of its
    groups, and back.

    Attributes:
        slots: those that ask, long ``[queries]``.
        widths: queries of a row, for each group of their own layout.
        there: the query in each slot of the rectangles, long ``[crossed]``.
        back: slot of the rectangles of each query, long ``[queries]``.
        memory_widths: queries of a row, for each group of the memory.
    """

    slots: Tensor
    widths: tuple[int, ...]
    there: Tensor
    back: Tensor
    memory_widths: tuple[int, ...]


def lay_out(widths: Tensor) -> Layout:
    """Lay rows out.

    Args:
        widths: tokens of each row, at least 1, long ``[rows]``, on the CPU.

    Returns:
        The layout; at most about log(widest) / log(1.2) + 5 groups. Slots exceed tokens by less
        than a fifth.

    >>> [tuple(group) for group in lay_out(torch.tensor([2, 6, 1, 5, 1])).groups]
    [(2, 1, True), (1, 2, True), (2, 6, False)]
    """
    order = widths.argsort(stable=True)
    ascending = widths[order]
    return _rectangles(order, ascending, _groups(ascending))


def _groups(ascending: Tensor) -> tuple[Group, ...]:
    values, counts = torch.unique_consecutive(ascending, return_counts=True)
    groups: list[Group] = []
    narrowest = 0
    for width, rows in zip(values.tolist(), counts.tolist(), strict=True):
        if groups and width <= narrowest * GROWTH:
            groups[-1] = Group(groups[-1].rows + rows, width, False)
        else:
            groups.append(Group(rows, width, True))
            narrowest = width
    return tuple(groups)


def _rectangles(order: Tensor, widths: Tensor, groups: tuple[Group, ...]) -> Layout:
    """Slots of groups of laid-out rows that hold ``widths`` tokens, ``[rows]``."""
    wide = torch.tensor([group.width for group in groups])
    wide = wide.repeat_interleave(torch.tensor([group.rows for group in groups]))  # [rows]
    start = wide.cumsum(0) - wide  # [rows]
    row = torch.arange(len(wide)).repeat_interleave(wide)  # [slots]
    position = torch.arange(len(row)) - start[row]
    return Layout(order, row, position, position >= widths[row], start, groups)


def widen(layout: Layout, present: Tensor) -> Layout:
    """Several slots in place of each.

    Args:
        layout: of one slot a token.
        present: whether each of a slot's new slots holds a token, bool ``[slots, times]``.
    """
    times = present.shape[1]
    pad = ~(present & ~layout.pad[:, None])  # [slots, times]
    full = [not bool(part.any()) for part in pad.split(layout.sizes)]
    groups = tuple(
        Group(group.rows, group.width * times, whole)
        for group, whole in zip(layout.groups, full, strict=True)
    )
    within = torch.arange(times)
    return Layout(
        order=layout.order,
        row=layout.row.repeat_interleave(times),
        position=(layout.position[:, None] * times + within).flatten(),
        pad=pad.flatten(),
        start=layout.start * times,
        groups=groups,
    )


def all_queries(layout: Layout, memory: Layout) -> Queries:
    """Every slot asks, padding included."""
    widths = tuple(group.width for group in layout.groups)
    counts = torch.bincount(layout.row)  # [rows]
    return _queries(layout, torch.arange(len(layout.row)), widths, counts, memory)


def last_queries(layout: Layout, lengths: Tensor, times: int, memory: Layout) -> Queries:
    """The slots of the last token of each row ask.

    Args:
        layout: of ``times`` slots a token.
        lengths: tokens of each row, not laid out, long ``[rows]``.
        times: slots of a token.
        memory: any layout of these rows.
    """
    slots = last_slots(layout, lengths, times)
    counts = torch.full_like(layout.order, times)
    return _queries(layout, slots, (times,) * len(layout.groups), counts, memory)


def last_slots(layout: Layout, lengths: Tensor, times: int) -> Tensor:
    """Slots of the last token of each row, row by row, long ``[rows * times]``."""
    first = layout.start + (lengths[layout.order] - 1) * times  # [rows]
    return (first[:, None] + torch.arange(times)).flatten()


def _queries(
    layout: Layout, slots: Tensor, widths: tuple[int, ...], counts: Tensor, memory: Layout
) -> Queries:
    """Queries of which laid-out row r has ``counts[r]``, one after the other."""
    row = inverse(layout.order)[memory.order]  # [rows of the memory], among the queries' rows
    sizes = [group.rows for group in memory.groups]
    widest = [int(part.max()) for part in counts[row].split(sizes)]
    groups = tuple(Group(rows, width, True) for rows, width in zip(sizes, widest, strict=True))
    crossed = _rectangles(memory.order, counts[row], groups)
    first = counts.cumsum(0) - counts  # [rows], the first query of each
    there = (first[row][crossed.row] + crossed.position).masked_fill(crossed.pad, 0)
    back = torch.empty_like(slots)
    back[there[~crossed.pad]] = (~crossed.pad).nonzero().squeeze(1)
    return Queries(slots, widths, there, back, tuple(widest))


def inverse(order: Tensor) -> Tensor:
    """The permutation that undoes another, long ``[rows]``."""
    undone = torch.empty_like(order)
    undone[order] = torch.arange(len(order))
    return undone


def concatenate(first: Layout, second: Layout) -> tuple[Layout, Tensor, Tensor]:
    """One layout in which each row holds its tokens of two others.

    Returns:
        The layout; the slot that stands in each of its slots, counted through the first layout
        and on through the second, long ``[slots]``; and the other way round, long
        ``[first slots + second slots]``, 0 for padding.
    """
    rows = torch.cat([first.order[first.row], second.order[second.row]])  # not laid out
    real = (~torch.cat([first.pad, second.pad])).nonzero().squeeze(1)  # [tokens]
    tokens = real[rows[real].argsort(stable=True)]  # row by row
    counts = torch.bincount(rows[tokens])  # [rows]
    layout = lay_out(counts)
    within = torch.arange(len(tokens)) - (counts.cumsum(0) - counts)[rows[tokens]]
    slot = layout.start[inverse(layout.order)][rows[tokens]] + within  # [tokens]
    there = torch.zeros_like(layout.row)
    there[slot] = tokens
    back = torch.zeros_like(rows)
    back[tokens] = slot
    return layout, there, back
