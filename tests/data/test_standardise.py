"""Standardised features on numbers worked by hand."""

import torch

from recbole_missrec.data.dataset import moments, shifted


def test_each_dimension_over_present_items() -> None:
    # dimension 0: 1, 3, 5 with mean 3 and deviation 2; dimension 1 is constant; item 0 is absent
    matrix = torch.tensor([[99.0, 99.0], [1.0, 4.0], [3.0, 4.0], [5.0, 4.0]])
    present = torch.tensor([False, True, True, True])
    expected = [[0.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]
    assert shifted(matrix, present, *moments(matrix[present])).tolist() == expected


def test_a_single_item_is_finite() -> None:
    matrix, present = torch.tensor([[0.0], [2.0]]), torch.tensor([False, True])
    standardised = shifted(matrix, present, *moments(matrix[present]))
    assert standardised.tolist() == [[0.0], [0.0]]
