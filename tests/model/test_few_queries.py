"""Attention whose keys and values are never made, against the one that makes them."""

import pytest
import torch
from torch import Tensor, nn

from recbole_missrec.model.attention import attend, attend_by_few, project
from recbole_missrec.model.layout import Layout, lay_out, widen

DIM, HEADS = 12, 3


@pytest.fixture
def attention() -> nn.MultiheadAttention:
    torch.manual_seed(0)
    made = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64).eval()
    for bias in (made.in_proj_bias, made.out_proj.bias):  # zero as torch starts them
        nn.init.normal_(bias)
    return made


def inputs(slots: int) -> Tensor:
    return torch.randn(slots, DIM, dtype=torch.float64, requires_grad=True)


def both(
    attention: nn.MultiheadAttention, layout: Layout, per_row: tuple[int, ...]
) -> list[list[Tensor]]:
    """Outputs and gradients, of inputs and weights, of both ways."""
    queries = sum(g.rows * width for g, width in zip(layout.groups, per_row, strict=True))
    x, asking = inputs(len(layout.pad)), inputs(queries)
    found = []
    for few in (True, False):
        asked = project(attention, asking, 0, 1)
        if few:
            out = attend_by_few(attention, asked, x, layout, per_row)
        else:
            out = attend(attention, asked, project(attention, x, 1, 3), layout, per_row)
        leaves = [x, asking, *attention.parameters()]
        found.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    return found


@pytest.mark.parametrize("widths", [[1], [1, 1, 4], [2, 6, 1, 5, 5, 6, 50], [3, 3, 3]])
@pytest.mark.parametrize("per_row", [1, 2])
def test_outputs_and_gradients_are_equal(
    attention: nn.MultiheadAttention, widths: list[int], per_row: int
) -> None:
    layout = lay_out(torch.tensor(widths))
    few, plain = both(attention, layout, (per_row,) * len(layout.groups))
    torch.testing.assert_close(few, plain, rtol=0, atol=1e-11)


def test_a_row_without_any_token_gives_the_outputs_bias(attention: nn.MultiheadAttention) -> None:
    layout = widen(lay_out(torch.tensor([2, 1])), torch.tensor([[False], [True], [False]]))
    few, plain = both(attention, layout, (1, 1))
    torch.testing.assert_close(few, plain, rtol=0, atol=1e-11)
    assert torch.equal(few[0][0], attention.out_proj.bias)
    assert not torch.equal(few[0][1], attention.out_proj.bias)


def test_dropout_takes_a_value_with_its_bias_or_doubles_both(
    attention: nn.MultiheadAttention,
) -> None:
    """With one key its weight is 1, so that each head's sum is 0 or twice the value."""
    attention.dropout = 0.5
    attention.train()
    nn.init.eye_(attention.out_proj.weight)
    nn.init.zeros_(attention.out_proj.bias)
    rows = 64
    x, asking = inputs(rows), inputs(rows)
    out = attend_by_few(attention, asking, x, lay_out(torch.ones(rows, dtype=torch.long)), (1,))
    values = project(attention, x, 2, 3)
    kept = out != 0  # [rows, dim]
    torch.testing.assert_close(out, 2 * values * kept, rtol=0, atol=1e-12)
    by_head = kept.view(rows, HEADS, -1)
    assert torch.equal(by_head.all(2), by_head.any(2))
    assert 0.3 < by_head.double().mean() < 0.7
