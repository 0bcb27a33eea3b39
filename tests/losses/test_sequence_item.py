"""Sequence-item contrast: worked by hand, equal to a loop over sequences and next items."""

import math

import pytest
import torch
from torch import Tensor

from recbole_missrec.losses.sequence_item import sequence_item_contrast

F64 = torch.float64


def test_two_rows_of_three_items() -> None:
    # -log(2 / 4) and -log(4 / 8)
    scores = torch.tensor([[2.0, 1.0, 1.0], [3.0, 1.0, 4.0]]).log()
    loss = sequence_item_contrast(scores, torch.tensor([7, 8, 9]), torch.tensor([0, 2]))
    assert float(loss) == pytest.approx(math.log(2))


def test_an_item_next_in_several_sequences_counts_for_each_of_the_others() -> None:
    # -log(2 / (2 + 1 + 1)), the second 2 being the same item; -log(1 / (3 + 3 + 1 + 4))
    scores = torch.tensor([[2.0, 2.0, 1.0, 1.0], [3.0, 3.0, 1.0, 4.0]]).log()
    loss = sequence_item_contrast(scores, torch.tensor([7, 7, 8, 9]), torch.tensor([0, 2]))
    assert float(loss) == pytest.approx((math.log(2) + math.log(11)) / 2)


def test_items_of_the_own_sequence_are_no_negatives() -> None:
    # -log(2 / (2 + 1)), item 8 left out; -log(4 / 4), all others left out, its own kept
    scores = torch.tensor([[2.0, 7.0, 1.0], [3.0, 1.0, 4.0]]).log().requires_grad_()
    held = torch.tensor([[False, True, False], [True, True, True]])
    loss = sequence_item_contrast(scores, torch.tensor([7, 8, 9]), torch.tensor([0, 2]), held)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(1.5) / 2)
    assert scores.grad is not None
    assert scores.grad[0, 1] == 0
    assert scores.grad[1].tolist() == [0, 0, 0]


def loop(u: Tensor, v: Tensor, targets: list[int], histories: list[list[int]] | None) -> Tensor:
    """From the formula: each sequence against the next item of each of the others."""
    terms = []
    for row, own in enumerate(targets):
        total = (u[row] @ v[own]).exp()
        for item in targets:
            false = item == own or (histories is not None and item in histories[row])
            total = total + (0 if false else (u[row] @ v[item]).exp())
        terms.append(total.log() - u[row] @ v[own])
    return torch.stack(terms).mean()


def random_batch(rows: int = 12, items: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings of sequences and items, next items and histories, all with repetitions."""
    generator = torch.Generator().manual_seed(0)
    u, v = (torch.randn(n, 4, generator=generator, dtype=F64) for n in (rows, items))
    targets = torch.randint(items, (rows,), generator=generator)
    histories = torch.randint(items, (rows, 3), generator=generator)
    return u.requires_grad_(), v.requires_grad_(), targets, histories


@pytest.mark.parametrize("with_histories", [False, True])
def test_equals_a_loop_with_its_gradients(with_histories: bool) -> None:
    u, v, targets, histories = random_batch()
    assert len(targets.unique()) < len(targets)
    held = (histories[:, :, None] == targets).any(1)  # [rows, columns]
    assert held.any() and held.diagonal().any()
    loss = sequence_item_contrast(
        u @ v[targets].T, targets, torch.arange(len(u)), held if with_histories else None
    )
    expected = loop(u, v, targets.tolist(), histories.tolist() if with_histories else None)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(
        torch.autograd.grad(loss, [u, v]), torch.autograd.grad(expected, [u, v]), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_rows_in_parts_over_the_columns_of_all() -> None:
    # as where each process has a part of the rows
    u, v, targets, _ = random_batch()
    own = torch.arange(len(u))
    whole = sequence_item_contrast(u @ v[targets].T, targets, own)
    parts = [
        sequence_item_contrast(u[rows] @ v[targets].T, targets, own[rows])
        for rows in (slice(0, 6), slice(6, 12))
    ]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole, rtol=1e-12, atol=1e-12)


def test_gradients_against_finite_differences() -> None:
    u, v, targets, histories = random_batch(rows=5)
    held = (histories[:, :, None] == targets).any(1)
    own = torch.arange(len(u))
    assert torch.autograd.gradcheck(
        lambda u, v: sequence_item_contrast(u @ v[targets].T, targets, own, held), (u, v)
    )


def test_large_scores_stay_finite() -> None:
    scores = torch.tensor([[-1e4, 1e4], [1e4, -1e4]]).requires_grad_()
    loss = sequence_item_contrast(scores, torch.tensor([7, 8]), torch.tensor([0, 0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1e4)
    assert scores.grad is not None and scores.grad.isfinite().all()
