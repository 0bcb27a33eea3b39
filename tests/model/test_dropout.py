"""Dropout of 16 bits a value: what it keeps, how much of it, and its gradient."""

import math

import pytest
import torch

from recbole_missrec.model.dropout import dropout

RATES = [0.1, 0.5, 0.9]


def scale(p: float) -> float:
    return 2**16 / (2**16 - round(p * 2**16))


def test_half_is_kept_and_doubled() -> None:
    torch.manual_seed(0)
    x = torch.arange(1.0, 65.0)
    y = dropout(x, 0.5, True)
    kept = y != 0
    assert 0 < kept.sum() < 64
    assert torch.equal(y[kept], 2 * x[kept])


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_evaluation_changes_nothing(p: float) -> None:
    x = torch.randn(5, 3)
    assert dropout(x, p, False) is x


@pytest.mark.parametrize("p", [0.0, 2**-18])
def test_a_rate_of_zero_changes_nothing(p: float) -> None:
    x = torch.randn(5, 3)
    before = torch.get_rng_state()
    assert dropout(x, p, True) is x
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [2**-16, 0.1, 0.3, 0.9, 0.99])
def test_kept_values_are_scaled_exactly(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = torch.rand(50, 40, dtype=dtype) + 1  # no zeros
    y = dropout(x, p, True)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    kept = y != 0
    assert kept.any()
    assert torch.equal(y[kept], x[kept] * torch.tensor(scale(p), dtype=dtype))


@pytest.mark.parametrize("p", RATES)
def test_share_of_zeros_and_mean(p: float) -> None:
    torch.manual_seed(2)
    n = 400_003
    y = dropout(torch.ones(n, dtype=torch.float64), p, True)
    error = math.sqrt(p * (1 - p) / n)
    assert float((y == 0).double().mean()) == pytest.approx(p, abs=4 * error)
    assert float(y.mean()) == pytest.approx(1, abs=4 * error * scale(p))


@pytest.mark.parametrize("p", [2**-16, 1 - 2**-16])
def test_the_smallest_and_the_largest_rate(p: float) -> None:
    torch.manual_seed(10)
    n = 2**22
    found = int((dropout(torch.ones(n), p, True) == 0).sum())
    assert found == pytest.approx(p * n, abs=4 * 8)  # 64 expected of one kind


@pytest.mark.parametrize("distance", [1, 2, 3, 4])
def test_values_are_dropped_on_their_own(distance: int) -> None:
    # four neighbours share a random number: both of a pair are zero in a share of p^2
    torch.manual_seed(3)
    p, n = 0.3, 400_000
    zero = dropout(torch.ones(n), p, True) == 0
    pairs = (zero[:-distance] & zero[distance:]).view(-1).double()
    # overlapping pairs: p^2 (1 - p^2), and twice the covariance p^3 - p^4 of those that share one
    error = math.sqrt((p**2 - p**4 + 2 * (p**3 - p**4)) / len(pairs))
    assert float(pairs.mean()) == pytest.approx(p**2, abs=4 * error)


@pytest.mark.parametrize("p", RATES)
def test_a_seed_gives_one_mask(p: float) -> None:
    x = torch.rand(101, 7) + 1
    masks = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        masks.append(dropout(x, p, True) != 0)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    torch.manual_seed(4)
    dropout(x, p, True)
    assert not torch.equal(dropout(x, p, True) != 0, masks[0])  # the next draw is another


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", RATES)
def test_gradient_is_the_scaled_mask(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(6)
    x = (torch.rand(30, 11, dtype=dtype) + 1).requires_grad_()
    weight = torch.randn(30, 11, dtype=dtype)
    y = dropout(x, p, True)
    (y * weight).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, weight * ((y != 0) * torch.tensor(scale(p), dtype=dtype)))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 1), (7, 3), (2, 3, 5), (0,), (4, 0), (0, 3)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    torch.manual_seed(7)
    x = torch.ones(shape)
    seen = set()
    for _ in range(30):
        y = dropout(x, 0.5, True)
        assert y.shape == x.shape
        seen |= set(y.flatten().tolist())
    assert seen == ({0.0, 2.0} if x.numel() else set())


def test_the_last_values_are_dropped_like_the_first() -> None:
    torch.manual_seed(8)
    zeros = torch.stack([dropout(torch.ones(7), 0.5, True) == 0 for _ in range(4000)])
    error = math.sqrt(0.25 / 4000)
    for share in zeros.double().mean(0).tolist():
        assert share == pytest.approx(0.5, abs=4.5 * error)


def test_strides_do_not_matter() -> None:
    x = torch.arange(1.0, 36.0).view(5, 7)
    torch.manual_seed(9)
    expected = dropout(x, 0.5, True)
    torch.manual_seed(9)
    assert torch.equal(dropout(x.T.contiguous().T, 0.5, True), expected)
