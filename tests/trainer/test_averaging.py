"""The moving average of the weights, by hand, and in whole runs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recbole_missrec.quick_start import train
from recbole_missrec.trainer.averaging import WeightAverage
from tests.shops import tiny_config, write_tiny_shop


def test_by_hand() -> None:
    """Weights 1, 0, -1, -2 ...: the decay is 2 / 11, then 3 / 12, then the given .3."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    fixed = nn.Parameter(torch.tensor(7.0), requires_grad=False)
    layer.register_parameter("fixed", fixed)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    average = WeightAverage(layer, 0.3, optimizer)
    expected = 1.0
    for step, decay in enumerate((2 / 11, 3 / 12, 0.3, 0.3)):
        layer.weight.grad = torch.ones(1, 1)
        optimizer.step()
        expected = decay * expected + (1 - decay) * -step
        torch.testing.assert_close(average.average, [torch.tensor([[expected]])])
    average.put_in(True)
    average.put_in(True)
    torch.testing.assert_close(layer.weight.data, torch.tensor([[expected]]))
    assert fixed.item() == 7
    average.put_in(False)
    assert layer.weight.item() == -3


def test_training_goes_on_from_its_own_weights() -> None:
    """Steps between two looks at the average are those without any look."""
    ends = []
    for looks in (False, True):
        torch.manual_seed(0)
        layer = nn.Linear(3, 1)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        average = WeightAverage(layer, 0.9, optimizer)
        for _ in range(5):
            if looks:
                average.put_in(True)
                average.put_in(False)
            optimizer.zero_grad()
            layer(torch.ones(2, 3)).sum().backward()
            optimizer.step()
        ends.append([*layer.parameters(), *average.average])
    for plain, looked_at in zip(*ends, strict=True):
        torch.testing.assert_close(plain, looked_at, rtol=0, atol=0)


def test_state_goes_on() -> None:
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    first, second = (WeightAverage(layer, 0.5, optimizer) for _ in range(2))
    layer.weight.grad = layer.bias.grad = None
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    second.steps, second.average = 0, [torch.zeros_like(value) for value in second.average]
    second.load_state(first.state())
    optimizer.step()
    assert second.steps == first.steps == 2
    for one, other in zip(first.average, second.average, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_training_is_the_same_and_evaluations_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint holds what was evaluated: the average, far from the weights after 3 epochs."""
    monkeypatch.chdir(tmp_path)
    shop = write_tiny_shop(tmp_path)
    plain, averaged = (
        train(tiny_config(shop, epochs=3, learning_rate=0.01, ema_decay=decay))
        for decay in (0.0, 0.99)
    )
    assert [epoch["loss"] for epoch in plain["curve"]] == [
        epoch["loss"] for epoch in averaged["curve"]
    ]
    assert plain["curve"][-1]["valid"] != averaged["curve"][-1]["valid"]
    assert averaged["valid"] == averaged["curve"][averaged["best_epoch"]]["valid"]


@pytest.mark.parametrize("steps", [{}, "1", 1.5, None, -11])
def test_steps_that_are_none(steps: Any) -> None:
    average = WeightAverage(torch.nn.Linear(1, 1), 0.9)
    with pytest.raises((TypeError, ValueError)):
        average.load_state({**average.state(), "steps": steps})
