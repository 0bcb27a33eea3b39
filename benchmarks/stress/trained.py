"""Trained models under other conditions than those of their training: no step is trained here."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.stress.altered import alter, lacking, stand_ins, without
from recbole_missrec.data.completion import COMPLETIONS
from recbole_missrec.data.feature_store import FeatureStore
from recbole_missrec.data.features import read_features
from recbole_missrec.evaluation.ranking import per_row_metric
from recbole_missrec.evaluation.resampling import Interval, percentile_interval, resampled_means
from recbole_missrec.quick_start import restore
from recbole_missrec.trainer.checkpoint import load_checkpoint

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the items, that lack a modality
STRATEGIES = ("mask", *COMPLETIONS)
NOISE = (0.5, 1.0, 2.0)  # standard deviations of a feature dimension
WRONG = (0.25, 0.5, 1.0)  # of the items, whose features are another item's
SHORT = (1, 2, 3)  # events of a history
DRAWS = 0  # seed of all draws of items
RESAMPLES = 1000  # of the users


class Trained:
    """A model, its test rows and its features.

    Args:
        checkpoint: of it.

    Attributes:
        features: modality -> as the model reads them, ``[items, d_m]``.
        present: bool ``[modalities, items]``.
    """

    def __init__(self, checkpoint: Path) -> None:
        warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
        options = {"show_progress": "False", "state": "error"}
        trainer, loaders = restore(str(checkpoint), load_checkpoint(checkpoint), options)
        trainer.eval_collector.data_collect(loaders[0])
        self.trainer, self.model = trainer, trainer.model
        _, self.valid, self.test = loaders
        self.hits: Tensor | None = None
        self.whole = self.figures(load_best_model=True)
        holder = getattr(self.model, "adapted", self.model)
        self.features: dict[str, Tensor] = {
            modality: getattr(holder, f"features_{modality}").clone()
            for modality in trainer.config["modalities"]
        }
        self.present = self.model.present.clone()
        self.interest_ids = getattr(self.model, "interest_ids", None)
        targets = loaders[0]._dataset.inter_feat[self.model.ITEM_ID]
        self.counts = torch.bincount(targets, minlength=self.model.n_items)

    def figures(self, load_best_model: bool = False) -> dict[str, float]:
        """R@10 and N@10 on the test rows, of the model as it is now; and the ends of the 95 %
        interval over users (percentile bootstrap) of the share of R@10 that is left."""
        found = self.trainer.evaluate(self.test, load_best_model=load_best_model)
        ranks = self.trainer.ranks
        hits = per_row_metric(ranks.better, ranks.equal, "recall", 10)  # [rows]
        self.hits = hits if self.hits is None else self.hits
        low, high = kept_interval(hits.numpy(), self.hits.numpy())
        return {"R@10": found["recall@10"], "N@10": found["ndcg@10"], "low": low, "high": high}

    def altered(self, features: dict[str, Tensor], present: Tensor) -> dict[str, float]:
        """Figures with other features; those of the training are put back."""
        alter(self.model, features, present)
        found = self.figures()
        alter(self.model, self.features, self.present, self.interest_ids)
        return found

    def zero(self, modality: str) -> Tensor:
        """Features of zero as the model reads them, ``[d_m]``."""
        config = self.trainer.config
        file = read_features(
            Path(config["data_path"]) / f"{config['dataset']}.{modality}.safetensors"
        )
        tokens = self.test._dataset.field2id_token[self.model.ITEM_ID]
        store = FeatureStore(len(tokens), file.matrix.shape[1])
        store.add(file.matrix, torch.from_numpy(pd.Index(file.tokens).get_indexer(tokens)))
        if config["standardise_features"]:
            store.standardise()
        source = store.sources[0]
        return (-source.mean / source.scale).expand(store.shape[1])


def kept_interval(left: np.ndarray, whole: np.ndarray) -> Interval:
    """Ends of the 95 % interval of a ratio of means over the same users, ``[users]`` each."""
    both = np.stack([left, whole], 1)  # [users, 2]
    means = resampled_means(both, RESAMPLES, np.random.default_rng(DRAWS))  # [resamples, 2]
    return percentile_interval(means[:, 0] / means[:, 1].clip(min=1e-12))


def completeness(model: Trained) -> Iterator[dict[str, Any]]:
    """Items that lack a modality, by strategies that need no training."""
    for place, modality in enumerate(model.features):
        for how in STRATEGIES:
            instead = stand_ins(model.features, model.present, modality, how, model.zero(modality))
            for by in ("random", "popularity"):
                for share in SHARES if by == "random" else SHARES[:-1]:
                    generator = torch.Generator().manual_seed(DRAWS)
                    eligible = model.present[place]
                    items = lacking(model.counts, eligible, share, by, generator)
                    state = without(model.features, model.present, modality, items, instead)
                    row = {"lacking": modality, "share": share, "drawn": by, "strategy": how}
                    yield row | model.altered(*state)


def noise(model: Trained) -> Iterator[dict[str, Any]]:
    """Gaussian noise on features, and features of other items."""
    generator = torch.Generator().manual_seed(DRAWS)
    kinds = [*((name,) for name in model.features), tuple(model.features)]
    for names in kinds:
        for scale in NOISE:
            changed = dict(model.features)
            for name in names:
                there = model.features[name]
                spread = there[model.present[[*changed].index(name)]].std(0)  # [d_m]
                changed[name] = there + scale * spread * torch.randn(
                    there.shape, generator=generator
                )
            row = {"noise": "Gaussian", "on": " and ".join(names), "amount": scale}
            yield row | model.altered(changed, model.present)
        for share in WRONG:
            changed = dict(model.features)
            for name in names:
                eligible = model.present[[*changed].index(name)]
                rows = lacking(model.counts, eligible, share, "random", generator).nonzero()[:, 0]
                # neighbours in the catalogue are alike: items are numbered as histories name them
                rows = rows[torch.randperm(len(rows), generator=generator)]
                changed[name] = model.features[name].clone()
                changed[name][rows] = model.features[name][rows.roll(1)]
            row = {"noise": "another item's", "on": " and ".join(names), "amount": share}
            yield row | model.altered(changed, model.present)


def short_histories(model: Trained) -> Iterator[dict[str, Any]]:
    """The last events of each history alone."""
    histories = model.test._dataset.inter_feat.interaction
    lengths = histories.lengths
    for longest in SHORT:
        histories.lengths = lengths.clamp(max=longest)
        yield {"events": longest, **model.figures()}
    histories.lengths = lengths
    yield {"events": "all", "mean length": mean(lengths.tolist()), **model.figures()}


CONDITIONS = {"completeness": completeness, "noise": noise, "short histories": short_histories}
