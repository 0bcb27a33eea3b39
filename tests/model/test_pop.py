"""Pop counts every training interaction, whatever the batch and the seed."""

from pathlib import Path

import pytest
import torch

from recbole_missrec.preparation import prepare
from tests.shops import read_histories, tiny_config, write_tiny_shop


@pytest.mark.parametrize(("size", "seed"), [(1000, 1), (7, 2)])
def test_counts_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    shop = write_tiny_shop(tmp_path)
    trainer, (train, valid, test) = prepare(
        tiny_config(shop, "Pop", train_batch_size=size, seed=seed)
    )
    trainer.fit(train, valid, show_progress=False)
    names = train._dataset.field2id_token["item_id"]
    counts = dict.fromkeys(names, 0)
    for items in read_histories(shop).values():
        for item in items[:-2]:  # the last are validation and test items
            counts[item] += 1
    assert trainer.model.item_cnt.squeeze(1).tolist() == [counts[name] for name in names]
    batch, *_ = next(iter(test))
    scores = trainer.model.full_sort_predict(batch).view(len(batch), -1)
    expected = trainer.model.item_cnt.squeeze(1) / trainer.model.item_cnt.max()
    torch.testing.assert_close(scores[0], expected.double(), rtol=1e-6, atol=1e-6)
