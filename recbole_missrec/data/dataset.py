"""Sequences with item features of any number of modalities, joined by raw item token."""

import hashlib
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from recbole.data.dataset import SequentialDataset

from recbole_missrec.data.domains import Domain, domains
from recbole_missrec.data.features import FeatureFile, align_features, read_features
from recbole_missrec.errors import UsageError


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
        parts = domains(config)
        for modality in config["modalities"]:
            files = [_read(domain, modality) for domain in parts]
            there = [file for file in files if file is not None]
            _check_alike(there)
            matrix, present, unknown = self._align(there)
            if config["standardise_features"]:
                matrix = standardise(matrix, present)
            self.features[modality], self.present[modality] = matrix, present
            self.feature_digests[modality] = _digest(files)
            covered = int(present.sum())
            self.logger.info(
                f"{modality}: {covered:,} of {self.item_num - 1:,} items "
                f"({covered / (self.item_num - 1):.1%}) have features of {there[0].encoder}"
                + (f"; {unknown:,} rows of other items ignored" if unknown else "")
            )

    def _align(self, files: list[FeatureFile]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """What ``align_features`` gives, over the files of all domains."""
        token2id = self.field2token_id[self.iid_field]
        (matrix, present, unknown), *others = (
            align_features(file, token2id, self.item_num) for file in files
        )
        for more, also_present, also_unknown in others:
            matrix += more
            present |= also_present
            unknown += also_unknown
        return matrix, present, unknown


def _read(domain: Domain, modality: str) -> FeatureFile | None:
    """Features of a domain with the tokens that its items have here; None if it has none."""
    path = domain.features(modality)
    if domain.prefix and not path.is_file():
        return None
    file = read_features(path)
    return replace(file, tokens=[domain.prefix + token for token in file.tokens])


def _check_alike(files: list[FeatureFile]) -> None:
    """See that the features of a modality are of one encoder.

    Raises:
        UsageError: names the two files that differ.
    """
    first, *others = files
    for other in others:
        kinds = [f"{file.matrix.shape[1]} numbers of {file.encoder}" for file in (first, other)]
        if kinds[0] != kinds[1]:
            raise UsageError(
                f"{other.path}: {kinds[1]}, but {first.path} has {kinds[0]}; domains that are "
                "trained on together need features of one encoder"
            )


def _digest(files: list[FeatureFile | None]) -> str:
    """Of one file its own; of several, one over theirs."""
    digests = [file.digest if file else "" for file in files]
    return digests[0] if len(files) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


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
