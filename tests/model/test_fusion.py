"""Candidate fusion on numbers worked by hand."""

import math

import pytest
import torch

from recbole_missrec.model.fusion import CandidateFusion

# one sequence, three candidates: both modalities, the second alone, none
COSINES = torch.tensor([[[0.8, 0.0, 0.0]], [[0.2, 0.5, 0.0]]])
PRESENT = torch.tensor([[True, False, False], [True, True, False]])


def fill(fusion: CandidateFusion, alpha: float | torch.Tensor) -> None:
    assert fusion.alpha is not None
    with torch.no_grad():
        fusion.alpha.copy_(torch.as_tensor(alpha))


@pytest.mark.parametrize("kind", ["static", "dynamic_shared", "dynamic_instance"])
def test_fusion_starts_as_the_mean_over_present_modalities(kind: str) -> None:
    score = CandidateFusion(kind, 3)(COSINES, PRESENT)
    torch.testing.assert_close(score, torch.tensor([[0.5, 0.5, 0.0]]))


def test_alpha_leans_towards_the_better_modality() -> None:
    fusion = CandidateFusion("dynamic_shared", 3)
    fill(fusion, math.log(3) / 0.6)  # weights 3 : 1, since 0.8 - 0.2 = 0.6
    score = fusion(COSINES, PRESENT)
    torch.testing.assert_close(score, torch.tensor([[0.75 * 0.8 + 0.25 * 0.2, 0.5, 0.0]]))


def test_alpha_of_an_item_changes_that_item_alone() -> None:
    fusion = CandidateFusion("dynamic_instance", 2)
    cosines = torch.tensor([[[0.8, 0.8]], [[0.2, 0.2]]])
    fill(fusion, torch.tensor([0.0, 1e4]))
    score = fusion(cosines, torch.ones(2, 2, dtype=torch.bool))
    torch.testing.assert_close(score, torch.tensor([[0.5, 0.8]]))


def test_absent_modalities_get_no_gradient() -> None:
    cosines = COSINES.clone().requires_grad_()
    fusion = CandidateFusion("dynamic_shared", 3)
    fill(fusion, 2.0)
    fusion(cosines, PRESENT).sum().backward()
    assert cosines.grad is not None
    assert cosines.grad[0, 0, 1] == 0  # absent beside a present one
    assert cosines.grad.isfinite().all()
