"""Attention weights: they give the model's own output, and shares that one can work out."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.testing import assert_close

from recbole_missrec.map.attention import (
    arguments,
    attention,
    decoder_weights,
    encoder_weights,
)
from recbole_missrec.model.missrec import MISSRec
from tests.shops import write_tiny_shop
from tests.tiny_models import random_batch, tiny_model

CONTEXTUAL = {"seq_mm_fusion": "contextual"}
TWO_LAYERS = {"n_encoder_layers": 2, "n_decoder_layers": 2}
INTEREST_QUERIES = {"roles": "interest_queries"}
NO_DECODER = {"structure": "no_decoder"}
VARIANTS: list[dict[str, Any]] = [
    way | more
    for way in ({}, INTEREST_QUERIES, NO_DECODER)
    for more in ({}, CONTEXTUAL, TWO_LAYERS)
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def history(*items: int) -> Interaction:
    """One history."""
    return Interaction(
        {"item_id_list": torch.tensor([items]), "item_length": torch.tensor([len(items)])}
    )


def histories(model: MISSRec) -> list[Interaction]:
    """Of different lengths, one of an item without any modality."""
    batch = random_batch(model)
    return [
        history(*sequence[:length].tolist())
        for sequence, length in zip(batch["item_id_list"], batch["item_length"], strict=True)
    ]


def apply(attention: Any, weights: Tensor, memory: Tensor) -> Tensor:
    """Weights ``[heads, queries, slots]`` times the values of a memory ``[slots, dim]``."""
    dim = memory.shape[1]
    values = memory @ attention.in_proj_weight[2 * dim :].T + attention.in_proj_bias[2 * dim :]
    contexts = [
        weight @ value for weight, value in zip(weights, values.chunk(len(weights), 1), strict=True)
    ]
    return torch.cat(contexts, 1) @ attention.out_proj.weight.T + attention.out_proj.bias


def forward(layer: Any, x: Tensor) -> Tensor:
    """The two linear layers."""
    return layer.linear2(F.gelu(layer.linear1(x)))


def from_weights(layer: Any, given: list[Any]) -> Tensor:
    """Output of a layer, made of its attention weights."""
    x = given[0]
    if len(given) == 3:  # of an encoder
        x = layer.norm1(x + apply(layer.self_attn, encoder_weights(layer, *given), x))
        return layer.norm2(x + forward(layer, x))
    tokens, _, memory, _, queries = given
    own, other = decoder_weights(layer, *given)
    x = layer.norm1(tokens[queries.slots] + apply(layer.self_attn, own, tokens))
    x = layer.norm2(x + apply(layer.multihead_attn, other, memory))
    return layer.norm3(x + forward(layer, x))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_weights_times_values_are_the_output_of_the_model(
    shop: Path, options: dict[str, Any]
) -> None:
    model = tiny_model(shop, **options).eval()
    stack: Any = model.encoder if model.decoder is None else model.decoder
    outputs: list[Tensor] = []
    stack.layers[-1].register_forward_hook(lambda _, args, output: outputs.append(output))
    for row in histories(model):
        with torch.no_grad(), arguments(stack.layers[-1]) as given:
            model.full_sort_predict(row)
            made = from_weights(stack.layers[-1], given)
        assert_close(made, outputs.pop(), atol=1e-12, rtol=0)
        found = attention(model, row)
        sums = found.items.sum(1), found.shares.sum(1)
        if model.decoder is None:
            assert_close(sums[0] + sums[1], torch.ones(2).double())
        else:
            assert_close(sums, (torch.ones(2).double(),) * 2)
        assert found.items.shape == (2, len(row["item_id_list"][0]))
        outputs.clear()


def indifferent(shop: Path, **options: Any) -> MISSRec:
    """A model whose queries are zero: each slot gets as much attention."""
    model = tiny_model(shop, **options).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "in_proj" in name:
                parameter[: len(parameter) // 3] = 0
    ids = torch.tensor([[9, 9], [0, 1], [9, 2], [9, 9], [3, 9], [0, 0]])
    none = len(model.centroids) - 1
    model.interest_ids[: len(ids)] = ids.masked_fill(ids == 9, none)
    return model


# Items 1 and 5 have two tokens, 2 and 4 one each, and 3 nothing, of which `contextual` keeps one.
PRESENT = torch.tensor([[0, 1, 0, 0, 1, 1], [0, 1, 1, 0, 0, 1]], dtype=torch.bool)


@pytest.mark.parametrize(
    ("options", "items", "shares"),
    [
        ({}, [1 / 4] * 4, [1 / 4] * 4),
        (CONTEXTUAL, [2 / 6, 1 / 6, 1 / 6, 2 / 6], [1 / 4] * 4),
        (INTEREST_QUERIES, [1 / 4] * 4, [1 / 4] * 4),
        (INTEREST_QUERIES | CONTEXTUAL, [2 / 6, 1 / 6, 1 / 6, 2 / 6], [1 / 4] * 4),
        (NO_DECODER, [1 / 8] * 4, [1 / 8] * 4),
        (NO_DECODER | CONTEXTUAL, [2 / 10, 1 / 10, 1 / 10, 2 / 10], [1 / 10] * 4),
    ],
    ids=str,
)
def test_shares_of_a_model_that_prefers_nothing(
    shop: Path, options: dict[str, Any], items: list[float], shares: list[float]
) -> None:
    model = indifferent(shop, **options)
    model.present[:, : PRESENT.shape[1]] = PRESENT
    model.slots = model.slots_of(model.present)
    found = attention(model, history(1, 4, 2, 5))
    assert found.interests.tolist() == [0, 1, 2, 3]  # of items 1 and 5, of 1, of 2, of 4
    for head in range(2):
        assert_close(found.items[head], torch.tensor(items).double())
        assert_close(found.shares[head], torch.tensor(shares).double())


@pytest.mark.parametrize("options", [{}, NO_DECODER], ids=str)
def test_only_tokens_that_the_last_item_has_ask(shop: Path, options: dict[str, Any]) -> None:
    model = tiny_model(shop, **CONTEXTUAL, **options).eval()
    picture_alone = int((~model.present[0] & model.present[1]).nonzero()[0])
    stack: Any = model.encoder if model.decoder is None else model.decoder
    with torch.no_grad(), arguments(stack.layers[-1]) as given:
        found = attention(model, history(6, 7, picture_alone))
        if model.decoder is None:  # slots 0 and 1 are of item 6, 2 and 3 of 7, then comes one
            weights = encoder_weights(stack.layers[-1], *given)[:, 4, :5]
        else:  # of the queries 0 and 1 the first is of an absent text, as is slot 4
            weights = decoder_weights(stack.layers[-1], *given)[0][:, 1, [0, 1, 2, 3, 5]]
    assert_close(found.items[:, 0], weights[:, :2].sum(1))
    assert_close(found.items[:, 1], weights[:, 2:4].sum(1))
    assert_close(found.items[:, 2], weights[:, 4])


def test_a_history_without_interests(shop: Path) -> None:
    model = indifferent(shop)
    found = attention(model, history(3, 3))
    assert found.interests.tolist() == [-1]
    assert found.shares.tolist() == [[1.0], [1.0]]
    assert found.items.tolist() == [[0.5, 0.5]] * 2


def test_an_item_that_all_attend_to(shop: Path) -> None:
    model = tiny_model(shop).eval()
    decoder: Any = model.decoder
    own = decoder.layers[0].self_attn
    with arguments(decoder.layers[0]) as given:
        attention(model, history(6, 7, 8, 9))
    tokens, dim = given[0], given[0].shape[1]
    with torch.no_grad():  # the first head asks for what only the second item has
        own.in_proj_weight[:dim], own.in_proj_bias[:dim] = 0, 0
        others = torch.linalg.lstsq(tokens, torch.eye(4).double()[1]).solution
        own.in_proj_bias[0] = 1e4
        own.in_proj_weight[dim], own.in_proj_bias[dim] = others, 0
    found = attention(model, history(6, 7, 8, 9))
    assert_close(found.items[0], torch.tensor([0.0, 1, 0, 0]).double())
    assert_close(found.items[1], torch.full((4,), 0.25).double())
