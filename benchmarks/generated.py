"""Generated catalogues and histories of any size, without files."""

from collections.abc import Iterator
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_missrec.config import Config
from recbole_missrec.registry import get_model

MEAN_LENGTH = 4  # of histories, about that of the Amazon sets; geometric, cut at the longest


class GeneratedShop:
    """What a model asks of its data set: items with features, all modalities present.

    Args:
        items: number of items, padding included.
        features: modality -> features, ``[items, dim]``.
    """

    def __init__(self, items: int, features: dict[str, Tensor]) -> None:
        self.items, self.features = items, features
        self.present = {name: torch.arange(items) > 0 for name in features}
        self.augmented: dict[str, torch.Tensor] = {}
        self.inter_feat = {"item_id": torch.arange(items)}

    def num(self, field: str) -> int:
        """Number of distinct values, as RecBole's data sets say it."""
        return self.items


def generated_model(
    name: str,
    items: int,
    threads: int,
    features: dict[str, Tensor] | None = None,
    **options: Any,
) -> Any:
    """A model over a generated catalogue; MISSRec's interests are assigned at random.

    Discovery has costs of its own, which depend on its method.

    Args:
        name: of the model.
        items: number of items.
        threads: of torch.
        features: modality -> features with a row for padding, ``[items + 1, dim]``; normal ones of
            512 dimensions by default.
        options: as on the command line.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(2020)
    config = Config(name, "generated", config_dict={"use_gpu": False, "state": "error", **options})
    if features is None:
        features = {m: torch.randn(items + 1, 512) for m in config["modalities"] or ()}
    model = get_model(name)(config, GeneratedShop(items + 1, features))
    if hasattr(model, "interest_ids"):
        clusters = len(model.centroids) - 1
        model.interest_ids[1:] = torch.randint(clusters, model.interest_ids[1:].shape)
        model.centroids[:-1].normal_()
    return model


def batches(
    items: int, rows: int, longest: int, mean: float = MEAN_LENGTH
) -> Iterator[Interaction]:
    """Endless random batches.

    Args:
        items: number of items.
        rows: of a batch.
        longest: items of the longest history.
        mean: items of a history on average; all are as long as the longest from there on.
    """
    generator = torch.Generator().manual_seed(2020)
    while True:
        lengths = _lengths(rows, longest, mean, generator)
        item_seq = torch.randint(1, items + 1, (rows, int(lengths.max())), generator=generator)
        item_seq[torch.arange(item_seq.shape[1]) >= lengths[:, None]] = 0
        targets = torch.randint(1, items + 1, (rows,), generator=generator)
        yield Interaction({"item_id_list": item_seq, "item_length": lengths, "item_id": targets})


def _lengths(rows: int, longest: int, mean: float, generator: torch.Generator) -> Tensor:
    if mean >= longest:
        return torch.full((rows,), longest)
    lengths = torch.empty(rows).geometric_(1 / mean, generator=generator)
    return lengths.clamp(max=longest).long()
