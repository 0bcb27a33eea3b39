"""Where the files of a data set are; several data sets as one, ``--dataset=A,B``."""

import glob
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from recbole_missrec.data.features import AUGMENTED

SEPARATOR = ","  # between names of data sets
SUFFIX = ".safetensors"


class Domain(NamedTuple):
    """One data set, alone or among several that are trained on together.

    Attributes:
        name: of the data set.
        folder: that holds its files.
        prefix: in front of its raw tokens, so that each domain keeps its own users and items;
            empty for a data set alone.
    """

    name: str
    folder: Path
    prefix: str

    def interactions(self) -> list[Path]:
        """Files of interactions, one or those of RecBole's benchmark splits."""
        return sorted(self.folder.glob(f"{glob.escape(self.name)}*.inter"))

    def features(self, modality: str) -> Path:
        """Feature file of a modality, beside the interactions."""
        return self.folder / f"{self.name}.{modality}{SUFFIX}"

    def augmented(self, modality: str) -> Path:
        """Feature file of augmented inputs, such as texts with words dropped."""
        return self.folder / AUGMENTED / self.features(modality).name

    def modalities(self) -> list[str]:
        """Modalities that have a feature file, as ``in_order``."""
        files = self.folder.glob(f"{glob.escape(self.name)}.*{SUFFIX}")
        return in_order(file.name[len(self.name) + 1 : -len(SUFFIX)] for file in files)


def domains(config: Any) -> list[Domain]:
    """The data sets that ``--dataset`` names; they are folders beside each other."""
    names = config["dataset"].split(SEPARATOR)
    beside = Path(config["data_path"]).parent  # RecBole has appended the name
    return [Domain(name, beside / name, f"{name}/" if len(names) > 1 else "") for name in names]


def in_order(modalities: Any) -> list[str]:
    """Names of modalities, each once: text first, others by name."""
    return sorted(set(modalities), key=lambda modality: (modality != "text", modality))


def token_domains(dataset: Any, field: str) -> Tensor:
    """Domain of each token of a field, long ``[tokens]``; -1 for padding, 0 in a data set alone.

    Args:
        dataset: a RecBole data set, filtered, whose tokens have the prefixes of their domains.
        field: of users or items.
    """
    parts = domains(dataset.config)
    tokens = dataset.field2id_token[field]
    if len(parts) == 1:
        return torch.zeros(len(tokens), dtype=torch.long)
    names = pd.Series(tokens.astype(str)).str.partition("/")[0]
    return torch.from_numpy(pd.Index([part.name for part in parts]).get_indexer(names))


def item_domains(dataset: Any) -> Tensor | None:
    """Domain of each item, as ``token_domains``; None of a data set alone."""
    if len(domains(dataset.config)) == 1:
        return None
    return token_domains(dataset, dataset.iid_field)
