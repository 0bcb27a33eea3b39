"""Features out of their files: standardised on numbers worked by hand, and whole runs alike."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_missrec.cli import main
from recbole_missrec.config import Config
from recbole_missrec.data import dataset as dataset_module
from recbole_missrec.data import feature_store
from recbole_missrec.data.dataset import MultiModalSequentialDataset
from recbole_missrec.data.feature_store import FeatureStore, moments
from recbole_missrec.data.features import AUGMENTED
from recbole_missrec.registry import get_dataset_class
from tests.shops import tiny_config, tiny_options, tiny_words, write_tiny_shop

MATRIX = torch.tensor([[5.0, 4.0], [1.0, 4.0], [99.0, 0.0], [3.0, 4.0]])


def test_each_dimension_over_the_items_that_have_features() -> None:
    # dimension 0: 1, 3, 5 with mean 3 and deviation 2; dimension 1 is constant
    store = FeatureStore(5, 2)
    store.add(MATRIX, torch.tensor([-1, 1, 3, -1, 0]))
    assert store[:].tolist() == [[0, 0], [1, 4], [3, 4], [0, 0], [5, 4]]
    store.standardise()
    expected = [[0, 0], [-1, 0], [0, 0], [0, 0], [1, 0]]
    assert store[:].tolist() == store.in_memory().tolist() == expected
    assert store[torch.tensor([4, 3, 4])].tolist() == [[1, 0], [0, 0], [1, 0]]
    assert store.present.tolist() == [False, True, True, False, True]
    assert store.shape == (5, 2)


def test_several_sources_each_with_its_own_scale() -> None:
    store = FeatureStore(4, 2)
    store.add(MATRIX.half(), torch.tensor([-1, 0, 1, -1]))
    store.standardise()
    copy = store.add(torch.tensor([[7.0, 6.0]]), torch.tensor([-1, -1, 0, 0]), store.sources[0])
    root = 2**0.5  # 5 and 1 have mean 3 and deviation 2 times it
    torch.testing.assert_close(
        store[:], torch.tensor([[0, 0], [1 / root, 0], [2 / root, 2e6], [2 / root, 2e6]])
    )
    assert copy.mean.tolist() == [3, 4]


def test_items_after_the_others_are_taken_as_they_are() -> None:
    store = FeatureStore(3, 2)
    store.add(MATRIX, torch.tensor([-1, 1, 3]))
    store.standardise()
    store.append(torch.tensor([[7.0, 6.0], [0.0, 0.0]]), torch.tensor([True, False]))
    root = 2**-0.5  # 1 and 3 have mean 2 and deviation 2 root
    expected = torch.tensor([[0, 0], [-root, 0], [root, 0], [7, 6], [0, 0]])
    torch.testing.assert_close(store[:], expected)
    assert store.present.tolist() == [False, True, True, True, False]
    assert store.shape == (5, 2)


def test_a_single_item_is_finite() -> None:
    store = FeatureStore(2, 1)
    store.add(torch.tensor([[2.0]]), torch.tensor([-1, 0]))
    store.standardise()
    assert store[:].tolist() == [[0], [0]]


def test_moments_of_blocks_are_those_of_all_rows() -> None:
    rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * 5 + 20
    (mean, scale), whole = moments(rows.split([1, 60, 39])), moments([rows])
    assert torch.equal(whole[0], rows.mean(0)) and torch.equal(whole[1], rows.std(0))
    torch.testing.assert_close(mean, rows.double().mean(0).float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(scale, rows.double().std(0).float(), rtol=1e-6, atol=0)


def test_large_matrices_are_filled_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(5, 2)
    store.add(MATRIX, torch.tensor([-1, 1, 3, -1, 0]))
    whole = store[:]
    monkeypatch.setattr(feature_store, "BLOCK", 2)
    assert torch.equal(store.in_memory(), whole)


# --- runs ---------------------------------------------------------------------------------------


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two, one of them with augmented texts."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("tiny", "other")):
        write_tiny_shop(tmp_path / "shops", seed=seed, name=name)
    (tmp_path / "shops" / "tiny" / AUGMENTED).mkdir()
    text = tmp_path / "shops" / "other" / "other.text.safetensors"
    copy = tmp_path / "shops" / "tiny" / AUGMENTED / "tiny.text.safetensors"
    shutil.copy(text, copy)
    return tmp_path / "shops"


PRETRAINING: dict[str, Any] = {"sequence_contrast": 0.5, "softmax": "in_batch", "item_ids": False}


@pytest.mark.parametrize("options", [{}, {"dataset": "tiny,other", **PRETRAINING}], ids=str)
def test_a_run_over_features_in_their_files_gives_the_same_figures(
    shops: Path, options: dict[str, Any]
) -> None:
    found = []
    for mapped in (False, True):
        given = {"epochs": 2, "learning_rate": 0.01, "map_features": mapped, **options}
        assert main([*tiny_words(shops, **given), "--result_file=result.json"]) == 0
        result = json.loads(Path("result.json").read_text())
        curve = [{**epoch, "seconds": None} for epoch in result["curve"]]
        found.append((result["valid"], result["test"], curve))
    assert found[0] == found[1]


def test_a_domain_without_augmented_texts_is_named(
    shops: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config("MISSRec", "tiny,other", config_dict=tiny_options(shops, **PRETRAINING))
    get_dataset_class(config)(config)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "other: no features of augmented text (--augmented-text of a builder): copies of these "
        "sequences have the features of the plain ones"
    ]


def test_large_features_stay_in_their_files(
    shops: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(shops, state="info")
    assert isinstance(MultiModalSequentialDataset(config).features["text"], torch.Tensor)
    monkeypatch.setattr(dataset_module, "MAPPED_SHARE", 1e-12)
    with caplog.at_level(logging.INFO):
        dataset = MultiModalSequentialDataset(config)
    assert isinstance(dataset.features["text"], FeatureStore)
    assert "features are left in their files: 0 MiB as float32" in caplog.messages
    for mapped, kind in ((False, torch.Tensor), (True, FeatureStore)):
        dataset = MultiModalSequentialDataset(tiny_config(shops, map_features=mapped))
        assert isinstance(dataset.features["image"], kind)


def test_bad_value(shops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tiny_words(shops, map_features="often")) == 2
    assert "--map_features=often: must be True or False" in capsys.readouterr().err
