"""Batches cut to their longest history leave the scores and losses of these models as they are."""

from pathlib import Path

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from recbole_missrec.data.rows import TRIMMED_MODELS, trim
from recbole_missrec.registry import get_dataset_class, get_model
from tests.shops import tiny_config, write_tiny_shop


def test_trim_cuts_lists_alone() -> None:
    rows = Interaction(
        {
            "item_length": torch.tensor([2, 1]),
            "item_id_list": torch.tensor([[5, 6, 0, 0], [7, 0, 0, 0]]),
            "item_id": torch.tensor([8, 9]),
        }
    )
    cut = trim(rows, "item_length", "_list")
    assert cut["item_id_list"].tolist() == [[5, 6], [7, 0]]
    assert cut["item_id"].tolist() == [8, 9]
    assert cut["item_length"].tolist() == [2, 1]


@pytest.mark.parametrize("model_name", TRIMMED_MODELS)
def test_trimmed_batches_give_equal_scores_and_losses(tmp_path: Path, model_name: str) -> None:
    shop = write_tiny_shop(tmp_path)
    outcomes = []
    for trimmed in (True, False):
        config = tiny_config(shop, model_name, trim_batches=trimmed)
        train, _, test = get_dataset_class(config)(config).build()
        init_seed(7, True)
        model = get_model(model_name)(config, train).eval()
        if model_name == "MISSRec":
            model.discover_interests(0)
        batch = train[torch.arange(8)]
        assert batch["item_id_list"].shape[1] == (batch["item_length"].max() if trimmed else 50)
        with torch.no_grad():
            loss = model.calculate_loss(batch)
            outcomes.append((model.full_sort_predict(test[torch.arange(8)]), loss))
    torch.testing.assert_close(outcomes[0][0], outcomes[1][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(outcomes[0][1], outcomes[1][1], rtol=1e-5, atol=1e-6)
