"""Rows laid out: on cases worked by hand, and what holds for rows of any widths."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recbole_missrec.model.layout import (
    Layout,
    Queries,
    all_queries,
    concatenate,
    inverse,
    last_queries,
    last_slots,
    lay_out,
    widen,
)

Rows = list[list[Any]]


def layout_of(*widths: int) -> Layout:
    return lay_out(torch.tensor(widths))


def groups_of(layout: Layout) -> list[tuple[int, int, bool]]:
    return [(group.rows, group.width, group.full) for group in layout.groups]


def real_slots(layout: Layout) -> list[list[int]]:
    """Slots that hold tokens, of each row in the order of the batch."""
    slots: list[list[int]] = [[] for _ in layout.order]
    for slot, (row, pad) in enumerate(zip(layout.row.tolist(), layout.pad.tolist(), strict=True)):
        if not pad:
            slots[int(layout.order[row])].append(slot)
    return slots


def check_layout(layout: Layout, positions: Rows) -> None:
    """All parts of a layout agree, and each row holds tokens of these positions in this order."""
    assert sorted(layout.order.tolist()) == list(range(len(positions)))
    assert [layout.position[slots].tolist() for slots in real_slots(layout)] == positions
    row, start = 0, 0
    for group in layout.groups:
        size = group.rows * group.width
        pads = layout.pad[start : start + size]
        assert group.full == (not pads.any())
        for _ in range(group.rows):
            span = slice(start, start + group.width)
            assert layout.start[row] == start
            assert layout.row[span].tolist() == [row] * group.width
            assert layout.position[span].tolist() == list(range(group.width))
            row, start = row + 1, start + group.width
    assert row == len(positions)
    assert start == len(layout.row) == len(layout.position) == len(layout.pad)


def check_queries(queries: Queries, layout: Layout, memory: Layout) -> None:
    """Queries come back unchanged, and stand in their own row's rectangle in between."""
    sizes = [group.rows * width for group, width in zip(layout.groups, queries.widths, strict=True)]
    assert sum(sizes) == len(queries.slots) == len(queries.back)
    rows = [
        row
        for group, width in zip(memory.groups, queries.memory_widths, strict=True)
        for row in [width] * group.rows
    ]
    row_of_place = memory.order.repeat_interleave(torch.tensor(rows))  # not laid out
    assert len(row_of_place) == len(queries.there)
    asking = layout.order[layout.row[queries.slots]]
    assert torch.equal(queries.slots[queries.there][queries.back], queries.slots)
    assert torch.equal(row_of_place[queries.back], asking)
    assert len(set(queries.back.tolist())) == len(queries.back)
    most = asking.bincount(minlength=len(memory.order))[memory.order]  # no wider than needed
    parts = most.split([group.rows for group in memory.groups])
    assert [int(part.max()) for part in parts] == list(queries.memory_widths)


# --- by hand --------------------------------------------------------------------------------


def test_five_rows() -> None:
    layout = layout_of(2, 6, 1, 5, 1)
    assert layout.order.tolist() == [2, 4, 0, 3, 1]  # rows of one width keep their order
    assert groups_of(layout) == [(2, 1, True), (1, 2, True), (2, 6, False)]
    assert layout.row.tolist() == [0, 1, 2, 2, *[3] * 6, *[4] * 6]
    assert layout.position.tolist() == [0, 0, 0, 1, *range(6), *range(6)]
    assert layout.pad.nonzero().flatten().tolist() == [9]  # of the row of 5 in a width of 6
    assert layout.start.tolist() == [0, 1, 2, 4, 10]


@pytest.mark.parametrize(
    ("widths", "groups"),
    [
        ([3], [(1, 3, True)]),
        ([4, 4, 4], [(3, 4, True)]),
        ([4, 5], [(1, 4, True), (1, 5, True)]),  # 5 > 4.8
        ([5, 6], [(2, 6, False)]),  # 6 = 1.2 * 5
        ([12, 10, 11, 13], [(3, 12, False), (1, 13, True)]),  # of the narrowest, 10, not of 12
        ([10, 11, 12, 13, 14, 15], [(3, 12, False), (3, 15, False)]),
    ],
)
def test_groups_are_a_fifth_wider_than_their_narrowest_row(
    widths: list[int], groups: list[tuple[int, int, bool]]
) -> None:
    assert groups_of(layout_of(*widths)) == groups


def test_widen_two_slots_a_token() -> None:
    # laid out: row 1's token, then row 0's two
    layout = layout_of(2, 1)
    wide = widen(layout, torch.tensor([[True, True], [True, False], [False, True]]))
    assert wide.order.tolist() == [1, 0]
    assert groups_of(wide) == [(1, 2, True), (1, 4, False)]
    assert wide.row.tolist() == [0, 0, 1, 1, 1, 1]
    assert wide.position.tolist() == [0, 1, 0, 1, 2, 3]
    assert wide.pad.tolist() == [False, False, False, True, True, False]
    assert wide.start.tolist() == [0, 2]


def test_widen_keeps_padding() -> None:
    wide = widen(layout_of(6, 5), torch.ones(12, 3, dtype=torch.bool))
    assert groups_of(wide) == [(2, 18, False)]
    assert wide.pad.nonzero().flatten().tolist() == [15, 16, 17]  # the sixth token of the row of 5
    assert wide.start.tolist() == [0, 18]


def test_slots_of_the_last_tokens() -> None:
    lengths = torch.tensor([6, 5, 1])
    layout = lay_out(lengths)  # rows 2, 1, 0 from slots 0, 1 and 7 of 13
    assert last_slots(layout, lengths, 1).tolist() == [0, 5, 12]
    wide = widen(layout, torch.ones(13, 2, dtype=torch.bool))
    assert last_slots(wide, lengths, 2).tolist() == [0, 1, 10, 11, 24, 25]


def test_last_queries_of_three_rows() -> None:
    lengths = torch.tensor([5, 6, 1])  # laid out 2, 0, 1
    layout, memory = lay_out(lengths), layout_of(3, 2, 1)  # laid out 2, 1, 0
    queries = last_queries(layout, lengths, 1, memory)
    assert queries.slots.tolist() == [0, 5, 12]
    assert queries.widths == (1, 1)
    assert queries.there.tolist() == [0, 2, 1]
    assert queries.back.tolist() == [0, 2, 1]
    assert queries.memory_widths == (1, 1, 1)


def test_last_queries_of_two_slots_a_token() -> None:
    lengths = torch.tensor([2, 1])  # laid out 1, 0
    layout = widen(lay_out(lengths), torch.ones(3, 2, dtype=torch.bool))
    queries = last_queries(layout, lengths, 2, layout_of(1, 2))  # laid out 0, 1
    assert queries.slots.tolist() == [0, 1, 4, 5]
    assert queries.widths == (2, 2)
    assert queries.there.tolist() == [2, 3, 0, 1]
    assert queries.back.tolist() == [2, 3, 0, 1]
    assert queries.memory_widths == (2, 2)


def test_all_queries_of_rows_in_another_order() -> None:
    # asking: rows 1, 0 of 1 and 3 slots; the memory has them as 0, 1 in one group
    queries = all_queries(layout_of(3, 1), layout_of(4, 4))
    assert queries.slots.tolist() == [0, 1, 2, 3]
    assert queries.widths == (1, 3)
    assert queries.memory_widths == (3,)
    assert queries.there.tolist() == [1, 2, 3, 0, 0, 0]  # two places of row 1 ask in vain
    assert queries.back.tolist() == [3, 0, 1, 2]


def test_padding_asks_as_well() -> None:
    queries = all_queries(layout_of(5, 6), layout_of(1, 2))
    assert queries.slots.tolist() == list(range(12))
    assert (queries.widths, queries.memory_widths) == ((6,), (6, 6))
    assert queries.there.tolist() == queries.back.tolist() == list(range(12))


def test_concatenate_two_rows() -> None:
    # first: row 1 in slot 0, row 0 in 1 and 2. second: row 0 in 3 to 6, row 1 in 7 to 10.
    layout, there, back = concatenate(layout_of(2, 1), layout_of(4, 4))
    assert layout.order.tolist() == [1, 0]
    assert groups_of(layout) == [(2, 6, False)]
    assert layout.pad.nonzero().flatten().tolist() == [5]
    assert there.tolist() == [0, 7, 8, 9, 10, 0, 1, 2, 3, 4, 5, 6]
    assert back.tolist() == [0, 6, 7, 8, 9, 10, 11, 1, 2, 3, 4]


def test_concatenate_leaves_padding_out() -> None:
    # first: row 1 in slot 0, 1 is padding; row 0 in 2 and 5. second: row 0 in 6, row 1 in 7.
    present = torch.tensor([[True, False], [True, False], [False, True]])
    layout, there, back = concatenate(widen(layout_of(2, 1), present), layout_of(1, 1))
    assert layout.order.tolist() == [1, 0]
    assert groups_of(layout) == [(1, 2, True), (1, 3, True)]
    assert there.tolist() == [0, 7, 2, 5, 6]
    assert back.tolist() == [0, 0, 2, 0, 0, 3, 4, 1]


def test_inverse_of_a_permutation() -> None:
    assert inverse(torch.tensor([2, 0, 3, 1])).tolist() == [1, 3, 0, 2]


# --- of any widths --------------------------------------------------------------------------

widths_lists = st.lists(st.integers(1, 30) | st.integers(1, 4), min_size=1, max_size=12)


@st.composite
def widened(draw: st.DrawFn) -> tuple[Layout, Rows, list[int], int]:
    """A widened layout, its rows' positions, their widths before, and slots a token."""
    widths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=6))
    times = draw(st.integers(1, 3))
    kinds = st.lists(st.booleans(), min_size=times, max_size=times).filter(any)
    tokens = [draw(st.lists(kinds, min_size=width, max_size=width)) for width in widths]
    narrow = lay_out(torch.tensor(widths))
    present = torch.ones(len(narrow.row), times, dtype=torch.bool)  # padding may say so, too
    for row, slots in enumerate(real_slots(narrow)):
        present[slots] = torch.tensor(tokens[row])
    positions = [
        [place for place, kept in enumerate(sum(row, [])) if kept]  # token after token
        for row in tokens
    ]
    return widen(narrow, present), positions, widths, times


@settings(deadline=None)
@given(widths=widths_lists)
def test_every_token_stands_once_and_in_order(widths: list[int]) -> None:
    layout = layout_of(*widths)
    check_layout(layout, [list(range(width)) for width in widths])
    assert layout.order.tolist() == sorted(range(len(widths)), key=lambda row: widths[row])


@settings(deadline=None)
@given(widths=st.lists(st.integers(1, 200), min_size=1, max_size=60))
def test_padding_is_below_a_fifth_and_groups_are_few(widths: list[int]) -> None:
    layout = layout_of(*widths)
    assert len(layout.row) < 1.2 * sum(widths)
    ascending = sorted(widths)
    for group in layout.groups:
        rows, ascending = ascending[: group.rows], ascending[group.rows :]
        assert rows[-1] == group.width <= 1.2 * rows[0]
    assert not ascending
    assert len(layout.groups) <= math.log(max(widths), 1.2) + 5


@settings(deadline=None)
@given(case=widened())
def test_widened_tokens_stand_once_and_in_order(
    case: tuple[Layout, Rows, list[int], int],
) -> None:
    layout, positions, widths, times = case
    check_layout(layout, positions)
    lasts = last_slots(layout, torch.tensor(widths), times)
    for row, slots in zip(layout.order.tolist(), lasts.view(-1, times), strict=True):
        first = (widths[row] - 1) * times
        assert layout.position[slots].tolist() == list(range(first, first + times))
        assert layout.order[layout.row[slots]].tolist() == [row] * times


@settings(deadline=None)
@given(case=widened(), data=st.data())
def test_queries_are_brought_there_and_back(
    case: tuple[Layout, Rows, list[int], int], data: st.DataObject
) -> None:
    layout, _, widths, times = case
    others = st.lists(st.integers(1, 8), min_size=len(widths), max_size=len(widths))
    memory = lay_out(torch.tensor(data.draw(others)))
    last = last_queries(layout, torch.tensor(widths), times, memory)
    check_queries(last, layout, memory)
    assert set(last.widths) == set(last.memory_widths) == {times}
    everyone = all_queries(layout, memory)
    check_queries(everyone, layout, memory)
    assert everyone.slots.tolist() == list(range(len(layout.row)))
    check_queries(all_queries(memory, layout), memory, layout)


@settings(deadline=None)
@given(case=widened(), data=st.data())
def test_concatenated_rows_hold_the_tokens_of_the_first_then_of_the_second(
    case: tuple[Layout, Rows, list[int], int], data: st.DataObject
) -> None:
    first, positions, _, _ = case
    rows = len(positions)
    second = lay_out(
        torch.tensor(data.draw(st.lists(st.integers(1, 8), min_size=rows, max_size=rows)))
    )
    layout, there, back = concatenate(first, second)
    shifted = [[len(first.row) + slot for slot in slots] for slots in real_slots(second)]
    expected = [a + b for a, b in zip(real_slots(first), shifted, strict=True)]
    check_layout(layout, [list(range(len(row))) for row in expected])
    assert [there[slots].tolist() for slots in real_slots(layout)] == expected
    real: Tensor = ~torch.cat([first.pad, second.pad])
    assert torch.equal(there[back[real]], real.nonzero().squeeze(1))
    assert back[~real].sum() == 0
    assert torch.equal(back[there[~layout.pad]], (~layout.pad).nonzero().squeeze(1))


@settings(deadline=None)
@given(order=st.permutations(range(9)))
def test_inverse_undoes_a_permutation(order: list[int]) -> None:
    given_order = torch.tensor(order)
    assert given_order[inverse(given_order)].tolist() == list(range(9))
    assert inverse(given_order)[given_order].tolist() == list(range(9))
