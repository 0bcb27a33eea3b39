"""Are scores of items with one modality on the scale of those with two?

The score of an item with one modality is one cosine, of others a weighted mean of several, which
varies less. So a number for each modality, added to the scores of the items that have it alone, is
chosen on validation: where it gains nothing, they are on one scale.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.stress.trained import Trained
from recbole_missrec.evaluation.ranking import count_ranks, per_row_metric

SHIFTS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)  # of a score over the temperature


@torch.no_grad()
def calibration(checkpoint: Path) -> dict[str, Any]:
    """What a shift of the items with one modality gains.

    Args:
        checkpoint: of a model.

    Returns:
        ``shifts`` by modality, of the items that have it alone, the best by N@10 on validation;
        N@10 on validation, R@10 and N@10 on the test rows, each as it is and shifted; ``shown``
        and ``sought``: the share of such items among the first ten and among the test targets.
    """
    model = Trained(checkpoint)
    alone = {
        modality: model.present[place] & (model.present.sum(0) == 1)
        for place, modality in enumerate(model.features)
    }
    model.model.eval()
    valid, test = (scores_of(model.model, loader) for loader in (model.valid, model.test))
    return gains(valid, test, alone)


def gains(
    valid: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], alone: dict[str, Tensor]
) -> dict[str, Any]:
    """As ``calibration``.

    Args:
        valid: scores, ``[rows, items]``, and targets, long ``[rows]``.
        test: likewise.
        alone: modality -> items that have no other, bool ``[items]``.
    """
    found = {
        shifts: _mean(*valid, _shift(alone, shifts), "ndcg")
        for shifts in product(SHIFTS, repeat=len(alone))
    }
    none = (0.0,) * len(alone)
    best = max(found, key=lambda shifts: (found[shifts], -sum(map(abs, shifts))))
    single = torch.stack(list(alone.values())).any(0)  # [items]
    first = test[0].topk(min(10, len(single))).indices  # [rows, 10]
    return {
        "shifts": dict(zip(alone, best, strict=True)),
        "N@10 on validation": [found[none], found[best]],
        "R@10": [_mean(*test, _shift(alone, shifts), "recall") for shifts in (none, best)],
        "N@10": [_mean(*test, _shift(alone, shifts), "ndcg") for shifts in (none, best)],
        "shown": float(single[first].float().mean()),
        "sought": float(single[test[1]].float().mean()),
    }


def scores_of(model: Any, loader: Any) -> tuple[Tensor, Tensor]:
    """Scores, ``[rows, items]``, and targets, ``[rows]``, of all rows of a loader."""
    parts = [(model.full_sort_predict(batch), batch[model.POS_ITEM_ID]) for batch, *_ in loader]
    return torch.cat([scores for scores, _ in parts]), torch.cat([targets for _, targets in parts])


def _shift(alone: dict[str, Tensor], shifts: Sequence[float]) -> Tensor:
    """What each item's score is shifted by, ``[items]``."""
    return sum(
        (items * shift for items, shift in zip(alone.values(), shifts, strict=True)),
        torch.zeros(()),
    )


def _mean(scores: Tensor, targets: Tensor, shift: Tensor, metric: str) -> float:
    return float(per_row_metric(*count_ranks(scores + shift, targets), metric, 10).mean())
