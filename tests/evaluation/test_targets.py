"""What is known of targets, whichever model ranks them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.targets import (
    Interactions,
    first_category,
    history_lengths,
    item_categories,
    item_modalities,
    training_popularity,
)
from recbole_missrec.preparation import prepare
from tests.shops import read_histories, tiny_config, write_tiny_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("MISSRec", {}),
        ("MISSRec", {"max_train_prefixes": 1, "MAX_ITEM_LIST_LENGTH": 2}),
        ("SASRec", {}),
        ("BERT4Rec", {}),
        ("Pop", {}),
        ("BPR", {"eval_args": {"mode": "uni5"}}),
    ],
)
def test_popularity_is_of_all_before_validation(
    shop: Path, model: str, options: dict[str, Any]
) -> None:
    trainer, (_, valid, test) = prepare(tiny_config(shop, model, **options))
    held_out = (valid._dataset, test._dataset)
    popularity = training_popularity(trainer.interactions, held_out)
    tokens = test._dataset.id2token("item_id", range(test._dataset.item_num))
    histories = read_histories(shop).values()
    expected = Counter(item for items in histories for item in items[:-2])
    assert dict(zip(tokens, popularity.tolist(), strict=True)) == {
        token: expected[token] for token in tokens
    }


def test_length_is_of_the_whole_history() -> None:
    """User 1 has four interactions, user 2 six, of which the last two are test rows."""
    interactions = Interactions(torch.tensor([0, 4, 6]), torch.tensor([0]))
    assert history_lengths(interactions, torch.tensor([2, 1, 2])).tolist() == [4, 3, 5]


def test_modalities_of_all_files(shop: Path) -> None:
    config = tiny_config(shop, "SASRec")
    items = ["i0", "i2", "i1", "i3", "i0", "unknown"]
    assert item_modalities(items, config) == (["text,image", "", "image", "text", "text,image", ""])


def test_a_damaged_feature_file(tmp_path: Path) -> None:
    shop = write_tiny_shop(tmp_path)
    path = shop / "tiny" / "tiny.audio.safetensors"
    path.write_bytes(b"no features")
    with pytest.raises(UsageError) as error:
        item_modalities(["i0"], tiny_config(shop))
    assert str(error.value).startswith(f"{path}: not a readable feature file (")


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        (
            "item_id:token\ttitle:token_seq\tcategories:token_seq",
            [
                "i3\tA \"quoted\" title\t'Arts, Crafts & Sewing', 'Knitting'",
                "i1\tx\tActive Life, Gyms",
                "i2\tx\t",
            ],
            ["Active Life", "Arts, Crafts & Sewing", None, None],
        ),
        ("class:token_seq\titem_id:token", ["Animation Comedy\ti1"], ["Animation"] + [None] * 3),
        ("item_id:token\tgenre:token", ["i1\tScience Fiction"], ["Science Fiction"] + [None] * 3),
        ("item_id:token\ttitle:token", ["i1\tx"], [None] * 4),
    ],
)
def test_first_categories(
    tmp_path: Path, header: str, rows: list[str], expected: list[str | None]
) -> None:
    shop = write_tiny_shop(tmp_path)
    (shop / "tiny" / "tiny.item").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    assert item_categories(["i1", "i3", "i2", "i9"], tiny_config(shop)) == expected


def test_a_damaged_item_file(tmp_path: Path) -> None:
    shop = write_tiny_shop(tmp_path)
    path = shop / "tiny" / "tiny.item"
    for content in (b"", b"item_id:token\tclass:token_seq\ni1\t\xff\n"):
        path.write_bytes(content)
        with pytest.raises(UsageError) as error:
            item_categories(["i1"], tiny_config(shop))
        assert str(error.value).startswith(f"{path}: not a table of items: ")


def test_no_categories_without_a_file(shop: Path) -> None:
    assert item_categories(["i1", "i3"], tiny_config(shop)) == [None, None]


def test_first_category_as_it_is_written() -> None:
    assert first_category("['Toys & Games', 'Games']", " ") == "Toys & Games"
    assert first_category("Comedy|Drama", "|") == "Comedy"
