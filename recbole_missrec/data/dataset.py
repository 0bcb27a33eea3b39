"""Sequences with item features of any number of modalities, joined by raw item token."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
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
        augmented: the same of augmented inputs, in the space of ``features``; those of the
            modalities that have them, read where the option ``sequence_contrast`` needs them.
        feature_digests: modality -> digest of the file that was read.
        encoders: modality -> name of the encoder of its features.

    Raises:
        UsageError: a feature file is missing, damaged, or fits no item.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.features: dict[str, torch.Tensor] = {}
        self.present: dict[str, torch.Tensor] = {}
        self.augmented: dict[str, torch.Tensor] = {}
        self.feature_digests: dict[str, str] = {}
        self.encoders: dict[str, str] = {}
        parts = domains(config)
        copies = "sequence_contrast" in config and config["sequence_contrast"] > 0
        for modality in config["modalities"]:
            plain = _read_all(parts, Domain.features, modality, alone=len(parts) == 1)
            augmented = _read_all(parts, Domain.augmented, modality) if copies else {}
            self._add(modality, plain, augmented)
            self.feature_digests[modality] = _digest(parts, plain, augmented)

    def _add(
        self, modality: str, plain: dict[str, FeatureFile], augmented: dict[str, FeatureFile]
    ) -> None:
        """Join the features of a modality to the items; each domain is standardised by itself."""
        first = _check_alike([*plain.values(), *augmented.values()])
        token2id, shape = (
            self.field2token_id[self.iid_field],
            (self.item_num, first.matrix.shape[1]),
        )
        features, present = torch.zeros(shape), torch.zeros(self.item_num, dtype=torch.bool)
        copies = torch.zeros(shape) if augmented else None
        unknown = copied = 0
        for name, file in plain.items():
            matrix, there, others = align_features(file, token2id, self.item_num)
            mean, scale = torch.zeros(()), torch.ones(())
            if self.config["standardise_features"]:
                mean, scale = moments(matrix[there])
            matrix = shifted(matrix, there, mean, scale)
            features += matrix
            present |= there
            unknown += others
            if copies is not None:
                if name in augmented:
                    copy, has, _ = align_features(augmented[name], token2id, self.item_num)
                    has &= there
                    matrix = torch.where(has[:, None], shifted(copy, has, mean, scale), matrix)
                    copied += int(has.sum())
                copies += matrix
        self.features[modality], self.present[modality] = features, present
        self.encoders[modality] = first.encoder
        if copies is not None:
            self.augmented[modality] = copies
        self.logger.info(
            f"{modality}: {int(present.sum()):,} of {self.item_num - 1:,} items "
            f"({int(present.sum()) / (self.item_num - 1):.1%}) have features of {first.encoder}"
            + (f", {copied:,} of them augmented ones, too" if copied else "")
            + (f"; {unknown:,} rows of other items ignored" if unknown else "")
        )


def _read_all(
    parts: list[Domain], path: Callable[[Domain, str], Path], modality: str, alone: bool = False
) -> dict[str, FeatureFile]:
    """Features of the domains that have them, by name, tokens as the items have them here.

    A data set that is ``alone`` must have them.
    """
    files = {}
    for domain in parts:
        if alone or path(domain, modality).is_file():
            file = read_features(path(domain, modality))
            tokens = [domain.prefix + token for token in file.tokens]
            files[domain.name] = replace(file, tokens=tokens)
    return files


def _check_alike(files: list[FeatureFile]) -> FeatureFile:
    """See that the features of a modality are of one encoder.

    Returns:
        The first file.

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
    return first


def _digest(parts: list[Domain], *kinds: dict[str, FeatureFile]) -> str:
    """Of one file its own; of several, one over theirs."""
    digests = [
        kind[part.name].digest if part.name in kind else "" for kind in kinds for part in parts
    ]
    if sum(map(bool, digests)) == 1 == len(parts):
        return digests[0]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and scale that give each feature dimension mean 0 and variance 1.

    The adapters can express the same functions either way; they learn them faster, because
    features of one encoder share a large mean.

    Args:
        rows: features of the items that have the modality, ``[present, dim]``.

    Returns:
        Both ``[dim]``; the scale of a constant dimension is small, but not 0.
    """
    return rows.mean(0), rows.std(0, unbiased=len(rows) > 1).clamp_min(1e-6)


def shifted(
    matrix: torch.Tensor, present: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Features less the mean, over the scale; zero rows where absent.

    Args:
        matrix: ``[items, dim]``.
        present: bool ``[items]``.
        mean: ``[dim]``.
        scale: ``[dim]``.

    Returns:
        ``[items, dim]``; a constant dimension becomes zero.
    """
    return torch.where(present[:, None], (matrix - mean) / scale, 0)


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
        "encoders": getattr(dataset, "encoders", {}),
    }
