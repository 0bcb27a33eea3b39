"""Groups of like length and sets of interests: exact cases and properties."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_missrec.model.packing import distinct_interests, length_groups, unpack


def test_groups_of_like_length() -> None:
    groups = length_groups(torch.tensor([1, 1, 2, 5, 6, 50]))
    assert groups == [slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80))
def test_groups_cover_all_rows_with_little_padding(lengths: list[int]) -> None:
    lengths.sort()
    groups = length_groups(torch.tensor(lengths))
    assert [row for group in groups for row in range(group.start, group.stop)] == list(
        range(len(lengths))
    )
    for group in groups:
        assert lengths[group.stop - 1] <= lengths[group.start] * 1.35


def test_unpack_lays_tokens_out_row_by_row() -> None:
    packed = torch.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    real = torch.tensor([[True, False], [True, True]])
    padded = unpack(packed, real)
    assert padded.tolist() == [[[1.0], [0.0]], [[2.0], [3.0]]]
    (padded * torch.tensor([[[1.0], [9.0]], [[2.0], [3.0]]])).sum().backward()
    assert packed.grad is not None
    assert packed.grad.tolist() == [[1.0], [2.0], [3.0]]


def test_distinct_interests_of_three_rows() -> None:
    ids = torch.tensor([[4, 2, 4, 4], [9, 9, 9, 9], [0, 9, 0, 1]])
    assert distinct_interests(ids, absent=9).tolist() == [[2, 4], [9, 9], [0, 1]]
    assert distinct_interests(ids[1:2], absent=9).tolist() == [[9]]


@given(st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=5), min_size=1, max_size=8))
def test_distinct_interests_are_sets(rows: list[list[int]]) -> None:
    found = distinct_interests(torch.tensor(rows), absent=6).tolist()
    for row, interests in zip(rows, found, strict=True):
        wanted = sorted(set(row) - {6})
        assert interests == wanted + [6] * (len(interests) - len(wanted))
