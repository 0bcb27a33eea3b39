"""Features joined by token, rows shared by all models, the same targets and candidates."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data import data_preparation

from recbole_missrec.config import Config
from recbole_missrec.data.dataset import MultiModalSequentialDataset, data_identity
from recbole_missrec.data.features import write_features
from recbole_missrec.data.groups import last_rows
from recbole_missrec.preparation import prepare
from recbole_missrec.registry import get_dataset_class
from tests.shops import read_histories, tiny_config, write_tiny_shop

MODELS = ("MISSRec", "SASRec", "Pop")

# Two users, four items; u2's first items share a timestamp.
INTERACTIONS = """\
user_id:token item_id:token timestamp:float
u1 pear 1
u1 fig 2
u1 kiwi 3
u1 lime 4
u1 pear 5
u2 lime 1
u2 kiwi 1
u2 fig 1
u2 pear 2
""".replace(" ", "\t")
# By token, in another order than the interactions; no row for pear, and nut is unknown.
TEXT = {"lime": [4.0, 40.0], "nut": [9.0, 90.0], "kiwi": [3.0, 30.0], "fig": [2.0, 20.0]}


@pytest.fixture
def fruit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shops" / "fruit"
    folder.mkdir(parents=True)
    (folder / "fruit.inter").write_text(INTERACTIONS)
    write_features(
        folder / "fruit.text.safetensors", list(TEXT), torch.tensor(list(TEXT.values())), "a scale"
    )
    return folder.parent


def fruit_config(fruit: Path, model: str = "MISSRec", **options: Any) -> Config:
    given = {"data_path": str(fruit), "state": "error", "show_progress": False, **options}
    if model == "MISSRec":
        given["modalities"] = ["text"]
    return Config(model, "fruit", config_dict=given)


def test_features_are_joined_by_token(fruit: Path) -> None:
    dataset = MultiModalSequentialDataset(fruit_config(fruit, standardise_features=False))
    assert dataset.item_num == 5  # four items and the padding, whatever the features
    assert dataset.features["text"].shape == (5, 2)
    by_token = {
        token: dataset.features["text"][item].tolist()
        for token, item in dataset.field2token_id["item_id"].items()
    }
    assert by_token == {
        "[PAD]": [0, 0],
        "pear": [0, 0],
        "fig": [2, 20],
        "kiwi": [3, 30],
        "lime": [4, 40],
    }
    present = {
        token: bool(dataset.present["text"][item])
        for token, item in dataset.field2token_id["item_id"].items()
    }
    assert present == {"[PAD]": False, "pear": False, "fig": True, "kiwi": True, "lime": True}


def test_features_are_standardised_unless_told_otherwise(fruit: Path) -> None:
    dataset = MultiModalSequentialDataset(fruit_config(fruit))
    ids = dataset.token2id("item_id", np.array(["fig", "kiwi", "lime", "pear"]))
    # fig, kiwi and lime have 2, 3 and 4 (and 20, 30, 40): mean 3, deviation 1 (30 and 10)
    expected = torch.tensor([[-1.0, -1], [0, 0], [1, 1], [0, 0]])
    torch.testing.assert_close(dataset.features["text"][ids], expected)


def test_the_order_of_rows_in_the_file_does_not_matter(fruit: Path) -> None:
    first = MultiModalSequentialDataset(fruit_config(fruit))
    write_features(
        fruit / "fruit" / "fruit.text.safetensors",
        list(TEXT)[::-1],
        torch.tensor(list(TEXT.values())[::-1]),
        "a scale",
    )
    again = MultiModalSequentialDataset(fruit_config(fruit))
    assert torch.equal(again.features["text"], first.features["text"])
    assert torch.equal(again.present["text"], first.present["text"])


def test_coverage_is_logged(fruit: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        MultiModalSequentialDataset(fruit_config(fruit, state="info"))
    assert (
        "text: 3 of 4 items (75.0%) have features of a scale; 1 rows of other items ignored"
        in caplog.messages
    )


def test_identity_tells_items_and_features(fruit: Path) -> None:
    first = data_identity(MultiModalSequentialDataset(fruit_config(fruit)))
    assert data_identity(MultiModalSequentialDataset(fruit_config(fruit))) == first
    path = fruit / "fruit" / "fruit.text.safetensors"
    write_features(path, list(TEXT), torch.tensor(list(TEXT.values())) + 1, "a scale")
    other_features = data_identity(MultiModalSequentialDataset(fruit_config(fruit)))
    assert other_features["items"] == first["items"]
    assert other_features["features"]["text"] != first["features"]["text"]
    inter = fruit / "fruit" / "fruit.inter"
    inter.write_text(INTERACTIONS.replace("pear", "plum"))
    other_items = data_identity(MultiModalSequentialDataset(fruit_config(fruit)))
    assert other_items["items"] != first["items"]
    assert other_items["features"] == other_features["features"]


def test_identity_tells_interactions(tmp_path: Path) -> None:
    shop = write_tiny_shop(tmp_path)
    first = data_identity(MultiModalSequentialDataset(tiny_config(shop)))
    path = shop / "tiny" / "tiny.inter"
    header, *rows = path.read_text().splitlines()
    swapped = [f"{row.rpartition(chr(9))[0]}\t{-index}" for index, row in enumerate(rows)]
    path.write_text("\n".join([header, *swapped]) + "\n")
    other = data_identity(MultiModalSequentialDataset(tiny_config(shop)))
    assert other["items"] == first["items"]
    assert other["interactions"] != first["interactions"]


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "count", "rows"),
    [
        ([1, 1, 2, 1, 2], 2, [1, 2, 3, 4]),
        ([1, 1, 2, 1, 2], 1, [3, 4]),
        ([7, 7, 7], 5, [0, 1, 2]),
        ([3, 1, 2], 1, [0, 1, 2]),
        ([], 3, []),
    ],
)
def test_last_rows(groups: list[int], count: int, rows: list[int]) -> None:
    assert last_rows(np.array(groups, dtype=int), count).tolist() == rows


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 6))
def test_last_rows_equals_a_loop(groups: list[int], count: int) -> None:
    expected = [row for row, group in enumerate(groups) if groups[row + 1 :].count(group) < count]
    assert last_rows(np.array(groups, dtype=int), count).tolist() == expected


def rows_of(loader: Any) -> list[tuple[str, tuple[str, ...], str]]:
    """User, history and target of each row of a loader, as raw tokens."""
    tokens, rows = loader._dataset.field2id_token, loader._dataset.inter_feat
    return [
        (
            tokens["user_id"][user],
            tuple(tokens["item_id"][item] for item in history[:length]),
            tokens["item_id"][item],
        )
        for user, history, length, item in zip(
            rows["user_id"], rows["item_id_list"], rows["item_length"], rows["item_id"], strict=True
        )
    ]


def split(config: Config) -> tuple[list[Any], ...]:
    dataset = get_dataset_class(config)(config)
    loaders = data_preparation(config, dataset)
    return tuple(sorted(rows_of(loader)) for loader in loaders)


VALID = [("u1", ("pear", "fig", "kiwi"), "lime"), ("u2", ("lime", "kiwi"), "fig")]
TEST = [("u1", ("pear", "fig", "kiwi", "lime"), "pear"), ("u2", ("lime", "kiwi", "fig"), "pear")]


@pytest.mark.parametrize("model", ["MISSRec", "SASRec"])
@pytest.mark.parametrize(
    ("cap", "train"),
    [
        (
            None,
            [
                ("u1", ("pear",), "fig"),
                ("u1", ("pear", "fig"), "kiwi"),
                ("u2", ("lime",), "kiwi"),
            ],
        ),
        (1, [("u1", ("pear", "fig"), "kiwi"), ("u2", ("lime",), "kiwi")]),
    ],
)
def test_prefix_cap_keeps_the_last_training_rows(
    fruit: Path, model: str, cap: int | None, train: list[Any]
) -> None:
    assert split(fruit_config(fruit, model, max_train_prefixes=cap)) == (train, VALID, TEST)


def test_prefix_cap_on_the_tiny_shop(tmp_path: Path) -> None:
    shop = write_tiny_shop(tmp_path)
    capped = split(tiny_config(shop, max_train_prefixes=3))
    uncapped = split(tiny_config(shop))
    expected = sorted(
        (user, tuple(items[:position]), items[position])
        for user, items in read_histories(shop).items()
        for position in range(max(1, len(items) - 5), len(items) - 2)
    )
    assert capped[0] == expected
    assert len(uncapped[0]) > len(expected)
    assert capped[1:] == uncapped[1:]


# --- every model is asked the same ---------------------------------------------------------------


def asked(config: Config) -> tuple[list[list[tuple[str, str]]], set[int]]:
    """User and target of each validation and test row, and how many candidates there were."""
    trainer, (train, *loaders) = prepare(config)
    trainer.fit(train, saved=False)
    pairs, candidates = [], set()
    for loader in loaders:
        trainer.evaluate(loader, load_best_model=False)
        dataset = loader._dataset
        users = dataset.id2token("user_id", trainer.ranks.users.numpy())
        targets = dataset.id2token("item_id", trainer.ranks.targets.numpy())
        pairs.append(sorted(zip(users, targets, strict=True)))
        for batch in loader:
            _, scores, _, _ = trainer._full_sort_batch_eval(batch)
            candidates.update((~scores.isneginf()).sum(1).tolist())
    return pairs, candidates


@pytest.mark.parametrize("ticks", [1, 3])
def test_all_models_rank_all_items_for_the_same_users_and_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    monkeypatch.chdir(tmp_path)
    shop = write_tiny_shop(tmp_path / "shops", ticks=ticks)
    histories = read_histories(shop)
    expected = [sorted((user, items[at]) for user, items in histories.items()) for at in (-2, -1)]
    for model in MODELS:
        pairs, candidates = asked(tiny_config(shop, model, epochs=1))
        assert pairs == expected, model
        assert candidates == {24}, model  # all items, those of the history too, but no padding
