"""Models of the tiny shop in float64, with random weights and interests, and batches for them."""

from pathlib import Path
from typing import Any

import torch
from recbole.data.interaction import Interaction

from recbole_missrec.data.dataset import MultiModalSequentialDataset
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.registry import get_model
from tests.shops import tiny_config

LONGEST = 8


def tiny_data(shop: Path, **options: Any) -> MultiModalSequentialDataset:
    """The training part, whose ``config`` is that of a model without dropout."""
    given = {"dropout": 0.0, "gamma": 0.7, "MAX_ITEM_LIST_LENGTH": LONGEST, **options}
    return MultiModalSequentialDataset(tiny_config(shop, **given)).build()[0]


def tiny_model(shop: Path, **options: Any) -> MISSRec:
    """A model whose weights, biases and alpha are random; the same for the same options."""
    dataset = tiny_data(shop, **options)
    torch.manual_seed(3)
    model = MISSRec(dataset.config, dataset).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "item_embedding.weight":
                parameter.add_(torch.randn_like(parameter) * 0.3)
    model.discover_interests(0)
    return model


def tiny_baseline(shop: Path, name: str, **options: Any) -> Any:
    """A content baseline in evaluation mode and float64, whose parameters are random."""
    given = {"MAX_ITEM_LIST_LENGTH": LONGEST, **options}
    dataset = MultiModalSequentialDataset(tiny_config(shop, name, **given)).build()[0]
    torch.manual_seed(3)
    model = get_model(name)(dataset.config, dataset).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def tiny_tokens(shop: Path) -> list[str]:
    """Raw token of each item of the tiny shop, by internal id."""
    return tiny_data(shop).field2id_token["item_id"].tolist()


def interaction(sequences: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor) -> Any:
    """A batch as RecBole's loaders give it."""
    return Interaction({"item_id_list": sequences, "item_length": lengths, "item_id": targets})


def random_batch(model: Any, rows: int = 9, seed: int = 0) -> Any:
    """Random histories: one of the greatest length, one of an item without any modality."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LONGEST + 1, (rows,), generator=generator)
    sequences = torch.randint(1, model.n_items, (rows, LONGEST), generator=generator)
    targets = torch.randint(1, model.n_items, (rows,), generator=generator)
    lengths[0], lengths[1] = 1, LONGEST
    nothing = (~model.present.any(0)).nonzero().flatten()  # padding and i2
    sequences[0, 0] = nothing[1]
    sequences[torch.arange(LONGEST) >= lengths[:, None]] = 0
    return interaction(sequences, lengths, targets)
