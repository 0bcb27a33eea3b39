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
def alter(
    model: Any,
    features: Mapping[str, Tensor],
    present: Tensor,
    interest_ids: Tensor | None = None,
) -> None:
    """Give all items other features; of MISSRec each token that changes takes the nearest interest.

    Args:
        model: MISSRec, UniSRec or SASRecContent.
        features: modality -> as the model reads them, ``[items, d_m]``.
        present: which items have which, bool ``[modalities, items]``, in the model's order.
        interest_ids: of the tokens that come of it, where they are known, long ``[items,
            modalities]``; the nearest one need not be that of the discovery.
    """
    holder = getattr(model, "adapted", model)
    changed = model.present != present  # [modalities, items]
    for place, (modality, matrix) in enumerate(features.items()):
        changed[place] |= (getattr(holder, f"features_{modality}") != matrix).any(1)
        setattr(holder, f"features_{modality}", matrix)
    model.present = holder.present = present
    if isinstance(model, MISSRec):
        model.slots = model.slots_of(present)
        if interest_ids is None:
            found = nearest_interests(model.item_tokens(), present, model.centroids)
            interest_ids = torch.where(changed.T, found, model.interest_ids)
        model.interest_ids = interest_ids
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


def stand_ins(
    features: Mapping[str, Tensor], present: Tensor, modality: str, how: str, zero: Tensor
) -> tuple[Tensor, Tensor]:
    """What each item would have in place of a modality that it lacked.

    What a modality is made by is learned from items that have it and another one, never from the
    item itself: items are put into five folds, and those of a fold are completed by the others.

    Args:
        features: modality -> ``[items, d_m]``.
        present: bool ``[modalities, items]``.
        modality: that is lacking.
        how: ``mask``, or one of ``COMPLETIONS``.
        zero: features of zero of that modality, as the model reads them, ``[d_m]``.

    Returns:
        Features, zero where there are none, ``[items, d_m]``, and which items get them, bool
        ``[items]``.
    """
    place = list(features).index(modality)
    left = present.clone()
    left[place] = False
    found = torch.zeros_like(features[modality])
    if how == "mask":
        return found, left[place]
    if how == "zero":
        return found + zero * left.any(0)[:, None], left.any(0)
    fold = torch.from_numpy(np.random.default_rng(0).integers(0, FOLDS, len(found)))
    filled = left[place].clone()
    for number in range(FOLDS):
        by = completers(how, _stores(features, present & (fold != number)), seed=0)
        stores = _stores(features, left & (fold == number))
        complete(stores, {name: by[name] for name in (modality,) if name in by})
        filled |= stores[modality].present
        found += stores[modality].in_memory()
    return found, filled


def without(
    features: Mapping[str, Tensor],
    present: Tensor,
    modality: str,
    items: Tensor,
    instead: tuple[Tensor, Tensor],
) -> tuple[dict[str, Tensor], Tensor]:
    """Features and presence where some items lack a modality.

    Args:
        features: modality -> ``[items, d_m]``.
        present: bool ``[modalities, items]``.
        modality: that is lacking.
        items: which items lack it, bool ``[items]``.
        instead: of ``stand_ins``.
    """
    place = list(features).index(modality)
    made, filled = instead
    changed = dict(features)
    changed[modality] = torch.where(items[:, None], made, features[modality])
    there = present.clone()
    there[place] = torch.where(items, filled & present[place], present[place])
    return changed, there


def _stores(features: Mapping[str, Tensor], present: Tensor) -> dict[str, FeatureStore]:
    stores = {}
    for (modality, matrix), there in zip(features.items(), present, strict=True):
        stores[modality] = FeatureStore(len(matrix), matrix.shape[1])
        stores[modality].add(matrix, torch.where(there, torch.arange(len(matrix)), -1))
    return stores
