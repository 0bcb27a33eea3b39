"""Sampled softmax: worked by hand, without bias, exact where every item is drawn once."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_missrec.losses.sampled import sampled_cross_entropy

F64 = torch.float64


def test_two_rows_and_three_drawn_items() -> None:
    # first row: 2, and 6 / 2 + 3 / 0.5 beside a hit: -log(2 / 11).
    # second: 1, and 2 / 2 + 1 / 0.5 + 10 / 5: -log(1 / 6).
    positive = torch.tensor([2.0, 1.0]).log()
    negatives = torch.tensor([[6.0, 3.0, 100.0], [2.0, 1.0, 10.0]]).log()
    log_expected = torch.tensor([2.0, 0.5, 5.0]).log()
    hits = torch.tensor([[False, False, True], [False, False, False]])
    loss = sampled_cross_entropy(positive, negatives, log_expected, hits)
    assert float(loss) == pytest.approx((math.log(5.5) + math.log(6)) / 2)


def exact_arguments(items: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(rows, items, generator=generator, dtype=F64)
    targets = torch.randint(items, (rows,), generator=generator)
    return scores.requires_grad_(), targets, torch.arange(items)


def test_every_item_drawn_once_is_the_exact_softmax() -> None:
    scores, targets, drawn = exact_arguments(items=9, rows=5)
    positive = scores.gather(1, targets[:, None]).squeeze(1)
    log_expected = (len(drawn) * torch.full((9,), 1 / 9, dtype=F64)).log()
    loss = sampled_cross_entropy(positive, scores, log_expected, drawn == targets[:, None])
    exact = F.cross_entropy(scores, targets)
    torch.testing.assert_close(loss, exact, rtol=1e-12, atol=1e-12)
    (found,), (expected,) = (torch.autograd.grad(x, scores) for x in (loss, exact))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_every_item_drawn_by_any_counts_is_exact_where_these_are_expected() -> None:
    # item j drawn c_j times of K with q_j = c_j / K: each copy counts 1 / c_j
    scores, targets, _ = exact_arguments(items=4, rows=6)
    counts = torch.tensor([1, 3, 2, 5])
    drawn = torch.arange(4).repeat_interleave(counts)
    loss = sampled_cross_entropy(
        scores.gather(1, targets[:, None]).squeeze(1),
        scores[:, drawn],
        counts[drawn].to(F64).log(),
        drawn == targets[:, None],
    )
    torch.testing.assert_close(loss, F.cross_entropy(scores, targets), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("target", [0, 4])  # a rare and a frequent item
def test_the_sum_of_exponentials_is_estimated_without_bias(target: int) -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(1, 6, generator=generator, dtype=F64)
    q = torch.tensor([0.05, 0.1, 0.1, 0.2, 0.4, 0.15], dtype=F64)
    draws, k = 4000, 5
    positive, targets = scores[:, target], torch.tensor([target])
    estimates = []
    for drawn in q.expand(draws, 6).multinomial(k, replacement=True, generator=generator):
        loss = sampled_cross_entropy(
            positive, scores[:, drawn], (k * q[drawn]).log(), drawn == targets[:, None]
        )
        estimates.append(float((loss + positive).exp()))
    found = torch.tensor(estimates, dtype=F64)
    error = float(found.std() / math.sqrt(draws))
    everything = float(scores.exp().sum())
    assert error < everything / 50  # tight enough to tell
    assert float(found.mean()) == pytest.approx(everything, abs=4 * error)


def test_hits_contribute_nothing() -> None:
    positive = torch.tensor([0.3, -0.2])
    negatives = torch.tensor([[0.1, 0.5, -0.4], [0.2, 0.7, 0.9]])
    log_expected = torch.tensor([0.2, -0.3, 0.4])
    hits = torch.tensor([[False, True, False], [True, False, False]])
    without = torch.stack(  # the rows on their own, without their hits
        [
            sampled_cross_entropy(
                positive[row : row + 1],
                negatives[row : row + 1, ~hits[row]],
                log_expected[~hits[row]],
                torch.zeros(1, 2, dtype=torch.bool),
            )
            for row in range(2)
        ]
    ).mean()
    for value in (-1e4, 0.0, 1e4):
        scores = negatives.masked_fill(hits, value).requires_grad_()
        loss = sampled_cross_entropy(positive, scores, log_expected, hits)
        loss.backward()
        torch.testing.assert_close(loss, without)
        assert scores.grad is not None
        assert scores.grad[hits].tolist() == [0, 0]
        assert (scores.grad[~hits] > 0).all()


def test_a_row_of_hits_alone_loses_nothing() -> None:
    positive = torch.tensor([1.5]).requires_grad_()
    negatives = torch.tensor([[1.5, 1.5]]).requires_grad_()
    loss = sampled_cross_entropy(positive, negatives, torch.zeros(2), torch.ones(1, 2).bool())
    loss.backward()
    assert float(loss.detach()) == 0
    assert positive.grad is not None and negatives.grad is not None
    assert positive.grad.tolist() == [0]
    assert negatives.grad.tolist() == [[0, 0]]


def test_large_scores_stay_finite() -> None:
    positive = torch.tensor([-1e4, 1e4]).requires_grad_()
    negatives = torch.tensor([[1e4, 0.0], [-1e4, 0.0]]).requires_grad_()
    loss = sampled_cross_entropy(positive, negatives, torch.zeros(2), torch.zeros(2, 2).bool())
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1e4)
    assert positive.grad is not None and negatives.grad is not None
    assert positive.grad.isfinite().all() and negatives.grad.isfinite().all()
