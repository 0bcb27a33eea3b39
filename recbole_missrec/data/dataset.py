"""Sequences with item features of any number of modalities, joined by raw item token."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from recbole.data.dataset import SequentialDataset

from recbole_missrec.data.features import align_features, read_features


def feature_path(config: Any, modality: str) -> Path:
    """Path of the feature file of one modality, beside the interactions."""
    return Path(config["data_path"]) / f"{config['dataset']}.{modality}.safetensors"


class MultiModalSequentialDataset(SequentialDataset):
    """RecBole's sequential data set plus one feature matrix per modality.

    Features are joined to items after RecBole's filtering and never change ``item_num``, so that
    every model ranks the same candidates. An item without a row lacks the modality.
    Memory: ``item_num * dim`` float32 per modality.

    Attributes:
        features: modality -> float32 ``[item_num, dim]``, zero rows where absent.
        present: modality -> bool ``[item_num]``; the padding item 0 is never present.
        feature_digests: modality -> digest of the file that was read.

    Raises:
        UsageError: a feature file is missing, damaged, or fits no item.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.features: dict[str, torch.Tensor] = {}
        self.present: dict[str, torch.Tensor] = {}
        self.feature_digests: dict[str, str] = {}
        token2id = self.field2token_id[self.iid_field]
        for modality in config["modalities"]:
            file = read_features(feature_path(config, modality))
            matrix, present, unknown = align_features(file, token2id, self.item_num)
            if config["standardise_features"]:
                matrix = standardise(matrix, present)
            self.features[modality], self.present[modality] = matrix, present
            self.feature_digests[modality] = file.digest
            covered = int(present.sum())
            self.logger.info(
                f"{modality}: {covered:,} of {self.item_num - 1:,} items "
                f"({covered / (self.item_num - 1):.1%}) have features of {file.encoder}"
                + (f"; {unknown:,} rows of other items ignored" if unknown else "")
            )


def standardise(matrix: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Give each feature dimension mean 0 and variance 1 over the items that have the modality.

    The adapters can express the same functions either way; they learn them faster, because
    features of one encoder share a large mean.

    Args:
        matrix: ``[items, dim]``.
        present: bool ``[items]``.

    Returns:
        ``[items, dim]``, zero rows where absent; a constant dimension becomes zero.
    """
    rows = matrix[present]  # [present, dim]
    scale = rows.std(0, unbiased=len(rows) > 1).clamp_min(1e-6)
    return torch.where(present[:, None], (matrix - rows.mean(0)) / scale, 0)


def data_identity(dataset: Any) -> dict[str, Any]:
    """Digests of a data set before its split: items in their internal order, interactions
    (internal ids in order of reading, and times), feature files."""
    tokens = dataset.field2id_token[dataset.iid_field]
    columns = [dataset.uid_field, dataset.iid_field, dataset.time_field]
    rows = dataset.inter_feat[[column for column in columns if column in dataset.inter_feat]]
    interactions = pd.util.hash_pandas_object(rows, index=False).to_numpy()  # uint64 [rows]
    return {
        "interactions": hashlib.sha256(interactions.tobytes()).hexdigest(),
        "items": hashlib.sha256("\n".join(map(str, tokens)).encode()).hexdigest(),
        "features": getattr(dataset, "feature_digests", {}),
    }
