"""The regulariser on numbers worked by hand."""

import math

import pytest
import torch
from torch import Tensor

from recbole_missrec.losses.orthogonality import ORTHOGONALITY


def regulariser(kind: str, interests: Tensor, real: Tensor) -> float:
    terms, reduce = ORTHOGONALITY[kind]
    return float(reduce(terms(interests, real), real.sum(1)))


def test_mean_squared_cosine_of_three_sequences() -> None:
    # first: two vectors at 60 degrees, cos^2 = 1/4, whatever their lengths; third slot is padding.
    # second: one interest, not counted. third: e1, e2, e1 + e2: (0 + 1/2 + 1/2) / 3 = 1/3.
    sixty = [3 * math.cos(math.pi / 3), 3 * math.sin(math.pi / 3)]
    interests = torch.tensor(
        [
            [[2.0, 0.0], sixty, [5.0, 5.0]],
            [[1.0, 1.0], [7.0, 7.0], [7.0, 7.0]],
            [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        ]
    )
    real = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    assert regulariser("mean_cosine", interests, real) == pytest.approx((1 / 4 + 1 / 3) / 2)
    assert regulariser("mean_cosine", interests[:2], real[:2]) == pytest.approx(1 / 4)
    assert regulariser("mean_cosine", interests[1:2], real[1:2]) == 0


def test_released_form() -> None:
    # dim 2, width 2. first: w = 2/2, sum (3, 4): 25 / 2. second: w = 1/2, (2, 0): 1 / 2.
    interests = torch.tensor([[[1.0, 4.0], [2.0, 0.0]], [[2.0, 0.0], [8.0, 8.0]]])
    real = torch.tensor([[True, True], [True, False]])
    assert regulariser("released", interests, real) == pytest.approx(12.5 + 0.5)


@pytest.mark.parametrize("kind", sorted(ORTHOGONALITY))
def test_padding_gets_no_gradient(kind: str) -> None:
    interests = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    real = torch.tensor([[True, True, False], [True, True, True]])
    terms, reduce = ORTHOGONALITY[kind]
    reduce(terms(interests, real), real.sum(1)).backward()
    assert interests.grad is not None
    assert interests.grad[0, 2].abs().sum() == 0
    assert interests.grad[0, :2].abs().sum() > 0
