"""LastItem: cosines worked out one by one, and where there is nothing to compare."""

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_missrec.trainer.freezing import count_parameters
from tests.shops import write_tiny_shop
from tests.tiny_models import interaction, tiny_baseline, tiny_tokens


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def model(shop: Path) -> Any:
    return tiny_baseline(shop, "LastItem")


def scores_after(model: Any, shop: Path, *tokens: str) -> dict[str, float]:
    """Scores of all items after a history, by raw token."""
    names = tiny_tokens(shop)
    items = [names.index(token) for token in tokens]
    batch = interaction(
        torch.tensor([items + [0] * (8 - len(items))]),
        torch.tensor([len(items)]),
        torch.tensor([1]),
    )
    return dict(zip(names, model.full_sort_predict(batch)[0].tolist(), strict=True))


def test_mean_cosine_over_the_modalities_that_both_have(model: Any, shop: Path) -> None:
    """i1 lacks the text, i3 the image, i2 both."""
    names = tiny_tokens(shop)
    vectors = {
        modality: dict(zip(names, getattr(model, f"features_{modality}"), strict=True))
        for modality in ("text", "image")
    }

    def cosine(modality: str, a: str, b: str) -> float:
        one, other = vectors[modality][a], vectors[modality][b]
        return float(one @ other / (one.norm() * other.norm()))

    scores = scores_after(model, shop, "i1", "i9", "i7")
    mean = (cosine("text", "i7", "i8") + cosine("image", "i7", "i8")) / 2
    assert scores["i8"] == pytest.approx(mean, abs=1e-6)
    assert scores["i1"] == pytest.approx(cosine("image", "i7", "i1"), abs=1e-6)
    assert scores["i3"] == pytest.approx(cosine("text", "i7", "i3"), abs=1e-6)
    assert scores["i2"] == -1
    assert scores["i7"] == -2
    assert scores_after(model, shop, "i7") == scores  # the last item alone counts


def test_items_that_look_alike(model: Any, shop: Path) -> None:
    scores = scores_after(model, shop, "i4")
    assert scores["i5"] == pytest.approx(1, abs=1e-6)
    assert max(scores, key=lambda token: scores[token]) == "i5"


def test_no_modality_in_common(model: Any, shop: Path) -> None:
    scores = scores_after(model, shop, "i1")
    assert scores["i3"] == -1


def test_a_history_without_features_leaves_all_items_level(model: Any, shop: Path) -> None:
    scores = scores_after(model, shop, "i2")
    assert scores.pop("i2") == -2
    assert scores.pop("[PAD]") == -torch.inf
    assert set(scores.values()) == {-1}


def test_one_modality(shop: Path) -> None:
    one = tiny_baseline(shop, "LastItem", modalities=["image"])
    scores = scores_after(one, shop, "i7")
    assert scores["i3"] == -1
    assert -1 < scores["i8"] < 1


def test_it_has_no_parameters(model: Any) -> None:
    assert count_parameters(model) == (0, 0)
