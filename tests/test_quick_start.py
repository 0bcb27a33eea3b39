"""How much is evaluated at a time; what checkpoints of before mean."""

from pathlib import Path

import pytest

from recbole_missrec.preparation import evaluation_rows, prepare
from recbole_missrec.quick_start import stored_config
from tests.shops import tiny_config, write_tiny_shop


@pytest.mark.parametrize(
    ("items", "longest", "rows"),
    [(1000, 50, 5242), (10**6, 50, 67), (1000, 1000, 262), (10**9, 50, 1), (2, 10**6, 1)],
)
def test_an_evaluation_batch_fits_into_memory(items: int, longest: int, rows: int) -> None:
    assert evaluation_rows(items, longest) == rows


def test_the_loader_asks_for_no_more_than_fits(tmp_path: Path) -> None:
    shop = write_tiny_shop(tmp_path / "shop")
    for length, rows in ((50, 2048), (20_000, 13)):
        config = tiny_config(shop, MAX_ITEM_LIST_LENGTH=length, eval_batch_size=2048)
        _, (_, _, test_data) = prepare(config)
        assert test_data.step == rows


def test_a_checkpoint_of_before_there_was_an_option(tmp_path: Path) -> None:
    options = tiny_config(write_tiny_shop(tmp_path)).resolved
    later = ("unseen_negatives", "unseen_bias")
    before = {key: value for key, value in options.items() if key not in later}
    checkpoint = {"model": "MISSRec", "dataset": "tiny", "config": before | {"worker": 2}}
    config = stored_config(checkpoint, {})
    assert config["unseen_negatives"] is True  # as it was trained
    assert config["unseen_bias"] == 0
    assert config["worker"] == 0
    now = {**checkpoint, "config": options}
    assert stored_config(now, {})["unseen_negatives"] is False
