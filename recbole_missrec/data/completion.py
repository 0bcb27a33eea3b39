"""Features of items that lack a modality, made of those that they have."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_missrec.data.feature_store import BLOCK, FeatureStore

COMPLETIONS = ("zero", "mean", "ridge", "translator")
SAMPLE = 20_000  # items that a model is fitted on, at most
RIDGES = np.logspace(0, 5, 11)  # strengths, of which the items' own errors choose one
HIDDEN = 256  # units of the translator
Stores = Mapping[str, FeatureStore]
# from features [items, sum of the other modalities' d] to those of the modality, [items, d_m]
Completer = Callable[[Tensor], Tensor]


def completers(how: str, stores: Stores, seed: int) -> dict[str, Completer]:
    """What makes the features of each modality, learned from the items that have it.

    Time of ``ridge`` and ``translator`` is that of fitting at most `SAMPLE` items, whatever their
    number.

    Args:
        how: ``zero``, features of zero as encoders give them; ``mean``, of all items; ``ridge``,
            regression on the other modalities in closed form, its strength chosen by the
            leave-one-out error; ``translator``, a network of one hidden layer, trained until a
            tenth of the items, held out, gains nothing.
        stores: modality -> features; what is missing counts as the mean.
        seed: of the sample and of the network.

    Returns:
        Modality -> function; none of a modality that no item has beside another one.
    """
    found: dict[str, Completer] = {}
    for modality, store in stores.items():
        if how == "zero":
            first = store.sources[0]  # as features are taken: shifted and scaled
            found[modality] = _constant((-first.mean / first.scale).expand(store.shape[1]))
        elif how == "mean":
            found[modality] = _constant(store[_some(store.present, seed)].mean(0))
        elif len(rows := _some(store.present & _others_present(stores, modality), seed)) > 1:
            model = _regression(how, seed, len(rows))
            model.fit(_inputs(stores, modality, rows).numpy(), store[rows].numpy())
            found[modality] = _predictor(model, store.shape[1])
    return found


def complete(stores: Stores, by: Mapping[str, Completer]) -> dict[str, int]:
    """Give features to items that lack a modality but have another one.

    Memory is that of the new features.

    Args:
        stores: modality -> features, which are added to.
        by: functions of ``completers``, of these modalities or of others like them.

    Returns:
        Modality -> number of items that were given features.
    """
    lacking = {m: (~stores[m].present & _others_present(stores, m)).nonzero()[:, 0] for m in by}
    made = {
        m: torch.cat([by[m](_inputs(stores, m, part)) for part in rows.split(BLOCK)])
        for m, rows in lacking.items()
        if len(rows)
    }
    for modality, features in made.items():  # after all are made: none of what was made itself
        store = stores[modality]
        row = torch.full((store.shape[0],), -1)
        row[lacking[modality]] = torch.arange(len(features))
        store.add(features, row)
    return {modality: len(features) for modality, features in made.items()}


def _some(items: Tensor, seed: int) -> Tensor:
    """At most `SAMPLE` of some items, bool ``[items]``, as their numbers in ascending order."""
    rows = items.nonzero().squeeze(1)
    if len(rows) <= SAMPLE:
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[:SAMPLE]].sort().values


def _constant(value: Tensor) -> Completer:
    return lambda inputs: value.expand(len(inputs), -1)


def _regression(how: str, seed: int, items: int) -> Any:
    from sklearn.linear_model import RidgeCV
    from sklearn.neural_network import MLPRegressor

    if how == "ridge":
        return RidgeCV(alphas=RIDGES)
    return MLPRegressor(
        hidden_layer_sizes=(HIDDEN,), random_state=seed, early_stopping=items >= 20, max_iter=500
    )


def _predictor(model: Any, dim: int) -> Completer:
    return lambda inputs: torch.from_numpy(
        np.asarray(model.predict(inputs.numpy()), np.float32).reshape(-1, dim)
    )


def _others_present(stores: Stores, modality: str) -> Tensor:
    """Which items have another modality, bool ``[items]``."""
    others = [store.present for m, store in stores.items() if m != modality]
    return torch.stack([torch.zeros_like(stores[modality].present), *others]).any(0)


def _inputs(stores: Stores, modality: str, rows: Tensor) -> Tensor:
    """Features of the other modalities side by side, ``[rows, dims]``."""
    return torch.cat([store[rows] for m, store in stores.items() if m != modality], 1)
