"""Candidate fusion on numbers worked by hand."""

import math

import pytest
import torch

from recbole_missrec.model.fusion import CandidateFusion
from recbole_missrec.options import CHOICES

# one sequence, three candidates: both modalities, the second alone, none
COSINES = torch.tensor([[[0.8, 0.0, 0.0]], [[0.2, 0.5, 0.0]]])
PRESENT = torch.tensor([[True, False, False], [True, True, False]])[:, None]
EVERYTHING = slice(None)
U = torch.tensor([[0.6, 0.8]])


def make(kind: str, counts: tuple[int, ...] = (0, 5, 30)) -> CandidateFusion:
    return CandidateFusion(kind, torch.tensor(counts), 2, 2)


def fill(fusion: CandidateFusion, alpha: float | torch.Tensor) -> None:
    assert fusion.alpha is not None
    with torch.no_grad():
        fusion.alpha.copy_(torch.as_tensor(alpha))


@pytest.mark.parametrize("kind", CHOICES["item_mm_fusion"])
def test_fusion_starts_as_the_mean_over_present_modalities(kind: str) -> None:
    score = make(kind)(COSINES, PRESENT, EVERYTHING, U)
    torch.testing.assert_close(score, torch.tensor([[0.5, 0.5, 0.0]]))


def test_alpha_leans_towards_the_better_modality() -> None:
    fusion = make("dynamic_shared")
    fill(fusion, math.log(3) / 0.6)  # weights 3 : 1, since 0.8 - 0.2 = 0.6
    score = fusion(COSINES, PRESENT, EVERYTHING, U)
    torch.testing.assert_close(score, torch.tensor([[0.75 * 0.8 + 0.25 * 0.2, 0.5, 0.0]]))


def test_alpha_of_an_item_changes_that_item_alone() -> None:
    fusion = make("dynamic_instance", (4, 4))
    cosines = torch.tensor([[[0.8, 0.8]], [[0.2, 0.2]]])
    fill(fusion, torch.tensor([0.0, 1e4]))
    score = fusion(cosines, torch.ones(2, 1, 2, dtype=torch.bool), EVERYTHING, U)
    torch.testing.assert_close(score, torch.tensor([[0.5, 0.8]]))


def test_absent_modalities_get_no_gradient() -> None:
    cosines = COSINES.clone().requires_grad_()
    fusion = make("dynamic_shared")
    fill(fusion, 2.0)
    fusion(cosines, PRESENT, EVERYTHING, U).sum().backward()
    assert cosines.grad is not None
    assert cosines.grad[0, 0, 1] == 0  # absent beside a present one
    assert cosines.grad.isfinite().all()


def test_rare_items_have_nearly_the_shared_alpha() -> None:
    fusion = make("dynamic_shrunk", (0, 10, 30))
    fill(fusion, 2.0)
    assert fusion.own is not None
    with torch.no_grad():
        fusion.own.fill_(4.0)
    alphas = fusion.alphas(torch.tensor([0, 1, 2]))
    assert isinstance(alphas, torch.Tensor)
    assert alphas.tolist() == [2.0, 4.0, 5.0]  # 2 + (0, 1/2, 3/4) * 4
    fusion.add_items(1)
    added = fusion.alphas(slice(3, 4))
    assert isinstance(added, torch.Tensor)
    assert added.tolist() == [2.0]


def test_the_gate_weighs_by_user() -> None:
    fusion = make("gate")
    assert fusion.gate is not None
    with torch.no_grad():
        fusion.gate.copy_(torch.tensor([[math.log(3) / 0.6, 0.0], [0.0, 0.0]]))
    cosines = COSINES.expand(2, 2, 3)
    users = torch.tensor([[0.6, 0.8], [0.0, 1.0]])  # weights 3 : 1, and 1 : 1
    score = fusion(cosines, PRESENT, EVERYTHING, users)
    mixed = 0.75 * 0.8 + 0.25 * 0.2
    torch.testing.assert_close(score, torch.tensor([[mixed, 0.5, 0.0], [0.5, 0.5, 0.0]]))


@pytest.mark.parametrize("kind", CHOICES["item_mm_fusion"])
def test_a_number_is_added_for_each_modality_that_an_item_lacks(kind: str) -> None:
    fusion = CandidateFusion(kind, torch.tensor([0, 5, 30]), 2, 2, calibrate=True)
    assert fusion.lacking is not None
    assert (
        fusion(COSINES, PRESENT, EVERYTHING, U).tolist()
        == make(kind)(COSINES, PRESENT, EVERYTHING, U).tolist()
    )
    with torch.no_grad():
        fusion.lacking.copy_(torch.tensor([0.3, -0.1]))
    score = fusion(COSINES, PRESENT, EVERYTHING, U)
    torch.testing.assert_close(score, torch.tensor([[0.5, 0.8, 0.2]]))
    assert float(fusion.most_taken()) == pytest.approx(-0.1)
    left_out = torch.tensor([[True, True], [False, True]])[:, :, None] & PRESENT  # of two rows
    score = fusion(COSINES * left_out, left_out, EVERYTHING, U.expand(2, 2))
    torch.testing.assert_close(score[0], torch.tensor([0.7, 0.2, 0.2]))


@pytest.mark.parametrize("kind", CHOICES["item_mm_fusion"])
def test_candidates_of_each_row_are_columns_of_all(kind: str) -> None:
    torch.manual_seed(1)
    fusion = make(kind)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    cosines = torch.rand(2, 4, 3) * PRESENT
    users = torch.rand(4, 2)
    own = torch.tensor([[2, 0], [1, 1], [0, 2], [1, 0]])
    everything = fusion(cosines, PRESENT, EVERYTHING, users)
    picked = cosines.gather(2, own.expand(2, 4, 2))
    found = fusion(picked, PRESENT[:, 0][:, own], own, users)
    torch.testing.assert_close(found, everything.gather(1, own))
