"""What modality dropout leaves."""

import torch

from recbole_missrec.model.packing import at_least_one
from recbole_missrec.model.training import LeftOut


def test_nothing_loses_all_that_it_has() -> None:
    there = torch.tensor([[True, True, False, False], [True, False, True, False]])
    left_out = LeftOut(torch.tensor([0.9, 0.9]), "items", there, at_least_one)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([left_out.draw(there, generator) for _ in range(400)])  # [400, 2, 4]
    assert not (drawn & ~there).any()
    assert drawn[:, 0, 1].all() and drawn[:, 1, 2].all()  # what is alone stays
    assert drawn[:, :, 0].any(1).all()
    assert not drawn[:, :, 3].any()
    both = drawn[:, :, 0].all(1).double().mean()
    assert 0.75 < both < 0.9  # 0.1^2 kept anyway, 0.9^2 given back


def test_rates_leave_that_share_out() -> None:
    there = torch.ones(2, 10_000, dtype=torch.bool)
    left_out = LeftOut(torch.tensor([0.3, 0.0]), "sequences", there, at_least_one)
    kept = left_out.draw(there, torch.Generator().manual_seed(0)).double().mean(1)
    assert abs(kept[0] - 0.7) < 0.02
    assert kept[1] == 1


def test_one_modality_is_never_left_out() -> None:
    options = {"modality_dropout": 0.5, "modality_dropout_of": "both", "modalities": ["text"]}
    assert LeftOut.by(options, torch.ones(1, 3, dtype=torch.bool), at_least_one) is None
