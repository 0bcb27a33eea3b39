"""SASRecContent: its items and its size, from the formula; without features it is SASRec."""

from pathlib import Path

import pytest
import torch
from recbole.model.sequential_recommender import SASRec

from recbole_missrec.trainer.freezing import count_parameters
from tests.reference import causal as reference
from tests.shops import tiny_config, write_tiny_shop
from tests.tiny_models import LONGEST, random_batch, tiny_baseline, tiny_data

NAMES = {"input_norm": "LayerNorm", "encoder": "trm_encoder"}  # here and in RecBole's SASRec


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def test_items_equal_the_reference(shop: Path) -> None:
    model = tiny_baseline(shop, "SASRecContent", standardise_features=False)
    expected = []
    for item in range(model.n_items):
        features = {
            m: getattr(model.adapted, f"features_{m}")[item]
            for m, present in zip(("text", "image"), model.present, strict=True)
            if present[item]
        }
        expected.append(reference.sasrec_item(model.state_dict(), features, item))
    torch.testing.assert_close(model.item_vectors(), torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_with_adapters_of_zero_it_is_sasrec(shop: Path) -> None:
    model = tiny_baseline(shop, "SASRecContent")
    with torch.no_grad():
        for parameter in model.adapted.parameters():
            parameter.zero_()
    config = tiny_config(shop, "SASRec", MAX_ITEM_LIST_LENGTH=LONGEST)
    sasrec = SASRec(config, tiny_data(shop)).double().eval()
    weights = {}
    for name, value in model.named_parameters():
        part, _, rest = name.partition(".")
        if part != "adapted":
            weights[f"{NAMES.get(part, part)}.{rest}"] = value.detach()
    sasrec.load_state_dict(weights)
    batch = random_batch(model)
    with torch.no_grad():
        expected = sasrec.full_sort_predict(batch)
    torch.testing.assert_close(
        model.full_sort_predict(batch)[:, 1:], expected[:, 1:], rtol=1e-10, atol=1e-10
    )


def test_number_of_parameters(shop: Path) -> None:
    model = tiny_baseline(shop, "SASRecContent")
    dim, inner, longest, items = 8, 12, 8, 25
    layer = 4 * (dim * dim + dim) + (dim * inner + inner) + (inner * dim + dim) + 2 * 2 * dim
    transformer = longest * dim + 2 * dim + 2 * layer
    expected = transformer + items * dim + (7 + 1) * dim + (5 + 1) * dim
    assert count_parameters(model) == (expected, expected)
