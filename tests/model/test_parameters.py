"""Parameter counts of the authors' logs pin the architecture, and what tuning leaves trainable."""

from pathlib import Path
from typing import Any

import pytest

from recbole_missrec.data.dataset import MultiModalSequentialDataset
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.trainer.freezing import count_parameters, freeze
from tests.shops import tiny_config, write_tiny_shop

# size of the reference; the longest history is 50
SIZE: dict[str, Any] = {"hidden_size": 300, "n_heads": 4, "inner_size": 256}


def build(folder: Path, items: int, **options: Any) -> MISSRec:
    """A model of reference size over ``items`` items, the padding counted."""
    shop = write_tiny_shop(folder, items=items - 1, dims=(512, 512))
    config = tiny_config(shop, **SIZE, **options)
    return MISSRec(config, MultiModalSequentialDataset(config))


@pytest.mark.parametrize(
    ("items", "item_ids", "tune", "trainable"),
    [
        (4386, False, "full", 1_719_513),
        (4386, False, "adapters", 308_401),
        (4386, True, "full", 3_035_313),
        (4899, True, "full", 3_189_213),
        (4386, True, "adapters", 1_624_201),
    ],
)
def test_trainable_parameters_of_the_authors_logs(
    tmp_path: Path, items: int, item_ids: bool, tune: str, trainable: int
) -> None:
    model = build(tmp_path, items, item_ids=item_ids, history_bias=False)  # which they lack
    freeze(model, tune)
    assert count_parameters(model)[0] == trainable


def test_adapter_tuning_names_what_it_trains(tmp_path: Path) -> None:
    model = build(tmp_path, 30)
    freeze(model, "adapters")
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        "adapters.text.weight",
        "adapters.text.bias",
        "adapters.image.weight",
        "adapters.image.bias",
        "input_norm.weight",
        "input_norm.bias",
        "fusion.alpha",
        "history_bias.weight",
        "item_embedding.weight",
    }


def test_all_but_the_adapters(tmp_path: Path) -> None:
    model = build(tmp_path, 30)
    freeze(model, "all_but_adapters")
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {
        f"adapters.{m}.{part}" for m in ("text", "image") for part in ("weight", "bias")
    }
