"""A loss that becomes NaN: training stops, with the epoch, the batch and the last good checkpoint.

Weight decay of a large step multiplies the weights by -2 in each, until they overflow.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_missrec.cli import main
from recbole_missrec.registry import get_model
from recbole_missrec.trainer.checkpoint import load_checkpoint
from tests.shops import read_histories, tiny_words

DIVERGES = {"learner": "sgd", "learning_rate": 1, "weight_decay": 3, "ema_decay": 0}
BATCH = 16
SAID = re.compile(
    r"recbole-missrec: epoch (\d+), batch (\d+) \(from 0\): the training loss is not a number; try "
    r"a lower --learning_rate; the best checkpoint, of epoch (\d+), is (\S+)\n"
)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[float]]:
    """Have the losses of a model noted, batch by batch."""

    def note(model: str) -> list[float]:
        noted: list[float] = []
        model_class: Any = get_model(model)
        original = model_class.calculate_loss

        def calculate_loss(self: Any, interaction: Any) -> Any:
            loss = original(self, interaction)
            noted.append(float(loss.detach()))
            return loss

        monkeypatch.setattr(model_class, "calculate_loss", calculate_loss)
        return noted

    return note


@pytest.mark.parametrize("model", ["MISSRec", "SASRec"])  # this project's loop and RecBole's
def test_epoch_batch_and_last_good_checkpoint_are_named(
    shop: Path,
    losses: Callable[[str], list[float]],
    capsys: pytest.CaptureFixture[str],
    model: str,
) -> None:
    noted = losses(model)
    given: dict[str, Any] = {**DIVERGES, "train_batch_size": BATCH, "epochs": 60}
    assert main(tiny_words(shop, model, **given, checkpoint_dir="saved", result_file="r.json")) == 1
    said = SAID.fullmatch(capsys.readouterr().err)
    assert said
    rows = sum(max(0, len(items) - 3) for items in read_histories(shop).values())
    first = next(n for n, loss in enumerate(noted) if math.isnan(loss))
    assert divmod(first, math.ceil(rows / BATCH)) == (int(said[1]), int(said[2]))
    assert 0 <= int(said[3]) < int(said[1])
    assert load_checkpoint(said[4])["epoch"] == int(said[3])
    assert main(["evaluate", said[4]]) == 0
    assert not Path("r.json").exists()


@pytest.mark.parametrize("eval_step", [0, 1])
def test_a_last_step_that_breaks_the_weights_is_named_and_not_kept(
    shop: Path, capsys: pytest.CaptureFixture[str], eval_step: int
) -> None:
    """One batch an epoch: the loss is finite, and no loss follows that would tell."""
    given: dict[str, Any] = {
        **DIVERGES,
        "train_batch_size": 10_000,
        "epochs": 60,
        "checkpoint_dir": "saved",
    }
    assert main(tiny_words(shop, "SASRec", **given, eval_step=eval_step)) == 1
    said = capsys.readouterr().err
    assert re.match(
        r"recbole-missrec: epoch \d+, batch 0 \(from 0\): its step left numbers in", said
    )
    (checkpoint,) = Path("saved").glob("*.pth")
    weights = load_checkpoint(checkpoint)["state_dict"]
    assert all(torch.as_tensor(weight).isfinite().all() for weight in weights.values())
