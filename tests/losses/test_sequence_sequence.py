"""Sequence-sequence contrast: worked by hand, equal to a loop over sequences and copies."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_missrec.losses.sequence_sequence import sequence_sequence_contrast

F64 = torch.float64


def test_two_sequences_by_hand() -> None:
    # cosines over the temperature: log 3 and log 1; log 2 and log 4
    u = torch.eye(2)
    augmented = torch.tensor([[3.0, 2.0], [1.0, 4.0]]).log() / 2
    loss = sequence_sequence_contrast(u, augmented, torch.tensor([0, 1]), temperature=0.5)
    assert float(loss) == pytest.approx((math.log(4 / 3) + math.log(6 / 4)) / 2)


def test_copies_of_equal_sequences_are_no_negatives() -> None:
    u = torch.eye(2).requires_grad_()
    augmented = torch.tensor([[3.0, 2.0], [1.0, 4.0], [5.0, 1.0]]).log()
    same = torch.tensor([[True, False, True], [False, False, False]])
    loss = sequence_sequence_contrast(u, augmented, torch.tensor([0, 1]), 1.0, same)
    assert float(loss.detach()) == pytest.approx((math.log(4 / 3) + math.log(7 / 4)) / 2)


def random_embeddings(rows: int = 6, dim: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    u, augmented = torch.randn(2, rows, dim, generator=generator, dtype=F64)
    return F.normalize(u, dim=1).requires_grad_(), F.normalize(augmented, dim=1).requires_grad_()


def test_equals_a_loop_with_its_gradients() -> None:
    u, augmented = random_embeddings()
    terms = []
    for row in range(len(u)):
        powers = [(u[row] @ copy / 0.07).exp() for copy in augmented]
        terms.append(-(powers[row] / torch.stack(powers).sum()).log())
    expected = torch.stack(terms).mean()
    loss = sequence_sequence_contrast(u, augmented, torch.arange(len(u)), 0.07)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(
        torch.autograd.grad(loss, [u, augmented]),
        torch.autograd.grad(expected, [u, augmented]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_rows_in_parts_over_the_copies_of_all() -> None:
    u, augmented = random_embeddings()
    whole = sequence_sequence_contrast(u, augmented, torch.arange(6), 0.07)
    parts = [
        sequence_sequence_contrast(u[first : first + 3], augmented, torch.arange(3) + first, 0.07)
        for first in (0, 3)
    ]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole, rtol=1e-12, atol=1e-12)


def test_gradients_against_finite_differences() -> None:
    same = torch.rand(6, 6, generator=torch.Generator().manual_seed(1)) < 0.3
    assert torch.autograd.gradcheck(
        lambda u, v: sequence_sequence_contrast(u, v, torch.arange(6), 0.5, same),
        random_embeddings(),
    )
