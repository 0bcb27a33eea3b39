"""Sequences with item features of any number of modalities, joined by raw item token."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from recbole.data.dataset import SequentialDataset

from recbole_missrec import processes
from recbole_missrec.data.completion import COMPLETIONS, complete, completers
from recbole_missrec.data.domains import Domain, domains
from recbole_missrec.data.feature_store import FeatureStore
from recbole_missrec.data.features import FeatureFile, item_rows, read_features
from recbole_missrec.errors import UsageError
from recbole_missrec.machine import memory_limit_mib

MAPPED_SHARE = 1 / 16  # of the memory, above which features stay in their files


class MultiModalSequentialDataset(SequentialDataset):
    """RecBole's sequential data set plus one feature matrix per modality.

    Features are joined to items after RecBole's filtering and never change ``item_num``, so that
    every model ranks the same candidates. An item without a row lacks the modality.
    Memory: ``item_num * dim`` float32 per modality; next to nothing where features stay in their
    files, as the option ``map_features`` says or, without it, where they would take more than
    `MAPPED_SHARE` of the machine's memory, shared among its processes.

    Attributes:
        features: modality -> float32 ``[item_num, dim]``, zero rows where absent; or a
            ``FeatureStore``, which gives the same rows.
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
        self.features: dict[str, Any] = {}
        self.present: dict[str, torch.Tensor] = {}
        self.augmented: dict[str, Any] = {}
        self.feature_digests: dict[str, str] = {}
        self.encoders: dict[str, str] = {}
        parts = domains(config)
        copies = "sequence_contrast" in config and config["sequence_contrast"] > 0
        for modality in config["modalities"]:
            plain = _read_all(parts, Domain.features, modality, alone=len(parts) == 1)
            augmented = _read_all(parts, Domain.augmented, modality) if copies else {}
            self._add(modality, plain, augmented)
            self.feature_digests[modality] = _digest(parts, plain, augmented)
        self._complete()
        self._read_into_memory()

    def _complete(self) -> None:
        """Give features to items that lack a modality, if the option ``missing`` says how."""
        how = "missing" in self.config and self.config["missing"]
        if how == "zero" and self.config["standardise_features"] and len(domains(self.config)) > 1:
            raise UsageError(
                "--missing=zero: features of several data sets are standardised each by itself, "
                "where zero is another vector in each; use mean"
            )
        if how in COMPLETIONS:
            by = completers(how, self.features, self.config["seed"])
            for modality, items in complete(self.features, by).items():
                self.present[modality] = self.features[modality].present
                self.logger.info(f"{modality}: features by {how} for {items:,} items without it")
            for modality, copies in self.augmented.items():  # which have those of plain texts, too
                made = (self.features[modality].present & ~copies.present).nonzero().squeeze(1)
                row = torch.full((self.item_num,), -1)
                row[made] = torch.arange(len(made))
                copies.add(self.features[modality][made], row)

    def _add(
        self, modality: str, plain: dict[str, FeatureFile], augmented: dict[str, FeatureFile]
    ) -> None:
        """Join the features of a modality to the items; each domain is standardised by itself."""
        first = _check_alike([*plain.values(), *augmented.values()])
        token2id, size = self.field2token_id[self.iid_field], self.item_num
        features, copies = (FeatureStore(size, first.matrix.shape[1]) for _ in range(2))
        unknown = copied = 0
        for name, file in plain.items():
            row, others = item_rows(file, token2id, size)
            unknown += others
            features.add(file.matrix, row)
            if self.config["standardise_features"]:
                features.standardise()
            copies.add(file.matrix, row, features.sources[-1])
            if name in augmented:
                other = item_rows(augmented[name], token2id, size)[0].masked_fill(row < 0, -1)
                copies.add(augmented[name].matrix, other, features.sources[-1])
                copied += int((other >= 0).sum())
        self.features[modality], self.present[modality] = features, features.present
        self.encoders[modality] = first.encoder
        if augmented:
            self.augmented[modality] = copies
            if lacking := plain.keys() - augmented.keys():
                self.logger.warning(
                    f"{', '.join(sorted(lacking))}: no features of augmented {modality} "
                    "(--augmented-text of a builder): copies of these sequences have the features "
                    "of the plain ones"
                )
        there = int(features.present.sum())
        self.logger.info(
            f"{modality}: {there:,} of {size - 1:,} items "
            f"({there / (size - 1):.1%}) have features of {first.encoder}"
            + (f", {copied:,} of them augmented ones, too" if copied else "")
            + (f"; {unknown:,} rows of other items ignored" if unknown else "")
        )

    def _read_into_memory(self) -> None:
        """Read features into memory, unless they are to stay in their files."""
        stores: list[FeatureStore] = [*self.features.values(), *self.augmented.values()]
        needed = sum(4 * store.shape.numel() for store in stores) / 2**20
        mapped = "map_features" in self.config and self.config["map_features"]
        if mapped is None:
            there = memory_limit_mib(torch.device("cpu")) / processes.local_world_size()
            mapped = needed > there * MAPPED_SHARE
        if mapped:
            self.logger.info(f"features are left in their files: {needed:,.0f} MiB as float32")
            return
        for held in (self.features, self.augmented):
            held.update({modality: store.in_memory() for modality, store in held.items()})


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
