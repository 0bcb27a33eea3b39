"""The benchmark of tuning: steps that compute and train less."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.measuring import Bench
from benchmarks.tuning import flop_of, main
from tests.shops import write_tiny_shop


class Product(nn.Module):
    """``[4, 3] @ [3, 2]``, whose sum is the loss."""

    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 2), requires_grad=trained)
        self.bias = nn.Parameter(torch.zeros(2))

    def calculate_loss(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch @ self.weight + self.bias).sum()


@pytest.mark.parametrize(("trained", "products"), [(True, 2), (False, 1)])
def test_operations_by_hand(trained: bool, products: int) -> None:
    """Of each product 2 * 4 * 3 * 2; the gradient of a frozen weight is not computed."""
    model = Product(trained)
    optimizer = torch.optim.SGD(model.parameters())
    bench = Bench(model, optimizer, None, [])
    assert flop_of(bench, torch.ones(4, 3)) == products * 48


@pytest.mark.slow  # eight models
def test_every_way_is_compared_with_full_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_shop(tmp_path / "shops")
    words = ["--dataset=tiny", "--data_path=shops", "--out=figures.json", "--threads=1"]
    assert main([*words, "--rounds=1", "--batches=1"]) == 0
    rows = json.loads(Path("figures.json").read_text())["rows"]
    for ids in ("with ids", "without ids"):
        full, *others = (row for row in rows if row["ids"] == ids)
        assert full["of_full"] == full["flop_of_full"] == full["time_over_flop"] == 1
        assert [row["tune"] for row in others] == ["adapters", "bias", "lora"]
        for row in others:
            assert row["trainable"] < full["trainable"] and row["gflop"] < full["gflop"]
            ratio = row["of_full"] / row["flop_of_full"]
            assert row["time_over_flop"] == pytest.approx(ratio)
