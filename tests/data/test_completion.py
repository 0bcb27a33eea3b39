"""Features that are made of other features: exact values, and what is left alone."""

from pathlib import Path

import pytest
import torch

from recbole_missrec.data.completion import COMPLETIONS, complete, completers
from recbole_missrec.data.dataset import MultiModalSequentialDataset
from recbole_missrec.data.feature_store import FeatureStore
from tests.shops import tiny_config, write_tiny_shop

ITEMS = 40
WITHOUT_IMAGE = torch.tensor([3, 4])
NOTHING = 5  # neither text nor image; item 0 is padding


def stores(standardise: bool = False) -> dict[str, FeatureStore]:
    """Images are a linear function of the texts; three items lack one, one of them both."""
    text = torch.randn(ITEMS, 3, generator=torch.Generator().manual_seed(1))
    image = text @ torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]]) + torch.tensor([5.0, -5.0])
    found = {}
    for name, matrix in (("text", text), ("image", image)):
        row = torch.arange(ITEMS)
        row[[0, NOTHING]] = -1
        if name == "image":
            row[WITHOUT_IMAGE] = -1
        found[name] = FeatureStore(ITEMS, matrix.shape[1])
        found[name].add(matrix, row)
        if standardise:
            found[name].standardise()
    return found


@pytest.mark.parametrize("how", COMPLETIONS)
def test_items_without_anything_and_features_that_are_there_stay(how: str) -> None:
    before, after = stores(), stores()
    assert complete(after, completers(how, after, seed=1)) == {"image": 2}
    assert torch.equal(after["text"].in_memory(), before["text"].in_memory())
    there = before["image"].present
    assert torch.equal(
        after["image"][there.nonzero()[:, 0]], before["image"][there.nonzero()[:, 0]]
    )
    assert after["image"].present.tolist() == [item not in (0, NOTHING) for item in range(ITEMS)]


@pytest.mark.parametrize("standardise", [False, True])
def test_zero_and_mean(standardise: bool) -> None:
    original = stores()["image"]
    there = original[original.present.nonzero()[:, 0]]
    wanted = {"zero": torch.zeros(2), "mean": there.mean(0)}
    if standardise:
        wanted = {how: (value - there.mean(0)) / there.std(0) for how, value in wanted.items()}
    for how, value in wanted.items():
        filled = stores(standardise)
        complete(filled, completers(how, filled, seed=1))
        torch.testing.assert_close(filled["image"][WITHOUT_IMAGE], value.expand(2, 2))


def test_ridge_finds_a_linear_function() -> None:
    filled = stores()
    text = filled["text"][WITHOUT_IMAGE]
    wanted = text @ torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]]) + torch.tensor([5.0, -5.0])
    complete(filled, completers("ridge", filled, seed=1))
    found = filled["image"][WITHOUT_IMAGE]
    assert (found - wanted).abs().max() < 0.2  # shrunk by the least strength that there is
    assert (found - wanted).abs().max() > 0


def test_functions_of_one_catalogue_complete_another() -> None:
    by = completers("ridge", stores(), seed=1)
    new = {"text": FeatureStore(2, 3), "image": FeatureStore(2, 2)}
    new["text"].add(stores()["text"][WITHOUT_IMAGE], torch.arange(2))
    assert complete(new, by) == {"image": 2}
    filled = stores()
    complete(filled, by)
    assert torch.equal(new["image"].in_memory(), filled["image"][WITHOUT_IMAGE])


def test_three_modalities_and_none_beside() -> None:
    found = stores() | {"sound": FeatureStore(ITEMS, 1)}
    sound = torch.full((ITEMS,), -1)
    sound[7] = 0  # one item is too few to learn from
    found["sound"].add(torch.ones(1, 1), sound)
    by = completers("ridge", found, seed=1)
    assert list(by) == ["text", "image"]
    alone = {"text": found["text"]}
    assert completers("ridge", alone, seed=1) == {}
    assert complete(alone, completers("mean", alone, seed=1)) == {}


@pytest.mark.parametrize("mapped", [True, False])
def test_a_data_set_is_completed(tmp_path: Path, mapped: bool) -> None:
    shop = write_tiny_shop(tmp_path)  # i1 and i2 have no text, i2 and i3 no image
    config = tiny_config(shop, missing="ridge", map_features=mapped)
    dataset = MultiModalSequentialDataset(config)
    item = dataset.field2token_id["item_id"]
    for modality in ("text", "image"):
        present = dataset.present[modality]
        assert present[[item["i1"], item["i3"]]].all()
        assert not present[[0, item["i2"]]].any()
    plain = MultiModalSequentialDataset(tiny_config(shop, map_features=mapped))
    known = plain.present["text"].nonzero()[:, 0]
    assert torch.equal(dataset.features["text"][known], plain.features["text"][known])
    assert dataset.features["text"][item["i1"] : item["i1"] + 1].any()
