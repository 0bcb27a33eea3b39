"""A trained model whose items have other features than it was trained with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_missrec.data.completion import complete, completers
from recbole_missrec.data.feature_store import FeatureStore
from recbole_missrec.interests.discovery import nearest_interests
from recbole_missrec.model.missrec import MISSRec

FOLDS = 5


@torch.no_grad()
def alter(model: Any, features: Mapping[str, Tensor], present: Tensor) -> None:
    """Give all items other features; of MISSRec each token that changes takes the nearest interest.

    Args:
        model: MISSRec, UniSRec or SASRecContent.
        features: modality -> as the model reads them, ``[items, d_m]``.
        present: which items have which, bool ``[modalities, items]``, in the model's order.
    """
    holder = getattr(model, "adapted", model)
    changed = model.present != present  # [modalities, items]
    for place, (modality, matrix) in enumerate(features.items()):
        changed[place] |= (getattr(holder, f"features_{modality}") != matrix).any(1)
        setattr(holder, f"features_{modality}", matrix)
    model.present = holder.present = present
    if isinstance(model, MISSRec):
        model.slots = model.slots_of(present)
        found = nearest_interests(model.item_tokens(), present, model.centroids)
        model.interest_ids = torch.where(changed.T, found, model.interest_ids)
    model.eval()  # forgets the items as they were


def lacking(
    counts: Tensor, eligible: Tensor, share: float, by: str, generator: torch.Generator
) -> Tensor:
    """Draw items that are to lack a modality.

    Args:
        counts: training interactions of each item, long ``[items]``.
        eligible: items that may be drawn, bool ``[items]``.
        share: of the eligible ones.
        by: ``random``, or ``popularity``: the rarest, ties at random.
        generator: of the draws.

    Returns:
        bool ``[items]``.
    """
    rows = eligible.nonzero().squeeze(1)
    rows = rows[torch.randperm(len(rows), generator=generator)]
    if by == "popularity":
        rows = rows[counts[rows].argsort(stable=True)]
    drawn = torch.zeros_like(eligible)
    drawn[rows[: round(share * len(rows))]] = True
    return drawn


def made_up(
    features: Mapping[str, Tensor],
    present: Tensor,
    modality: str,
    without: Tensor,
    how: str,
    zero: Tensor,
) -> tuple[dict[str, Tensor], Tensor]:
    """Features of items that are to lack a modality, as a strategy has them.

    What a modality is made by is learned from items that have both, never from the item itself:
    items are put into five folds, and those of a fold are completed by the others.

    Args:
        features: modality -> ``[items, d_m]``.
        present: bool ``[modalities, items]``.
        modality: that is lacking.
        without: which items lack it, bool ``[items]``.
        how: ``mask``, or one of ``COMPLETIONS``.
        zero: features of zero of that modality, as the model reads them, ``[d_m]``.

    Returns:
        Features and presence, new where they differ.
    """
    place = list(features).index(modality)
    left = present.clone()
    left[place] &= ~without
    altered = dict(features)
    altered[modality] = features[modality] * left[place, :, None]
    if how == "mask":
        return altered, left
    if how == "zero":
        filled = without & present[place] & left.any(0)
        altered[modality][filled] = zero
        left[place] |= filled
        return altered, left
    fold = torch.from_numpy(np.random.default_rng(0).integers(0, FOLDS, len(without)))
    for number in range(FOLDS):
        there = present & (fold != number)
        by = completers(how, _stores(features, there), seed=0)
        hidden = without & (fold == number) & present[place]
        if modality not in by or not hidden.any():
            continue
        stores = _stores(features, left & hidden)
        complete(stores, {modality: by[modality]})
        filled = stores[modality].present & hidden
        altered[modality][filled] = stores[modality].in_memory()[filled]
        left[place] |= filled
    return altered, left


def _stores(features: Mapping[str, Tensor], present: Tensor) -> dict[str, FeatureStore]:
    stores = {}
    for (modality, matrix), there in zip(features.items(), present, strict=True):
        stores[modality] = FeatureStore(len(matrix), matrix.shape[1])
        stores[modality].add(matrix, torch.where(there, torch.arange(len(matrix)), -1))
    return stores
