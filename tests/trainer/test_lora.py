"""LoRA on the attention: what it adds, what it trains, and what it is as plain weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_missrec.map.attention import attention as attention_weights
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.trainer.freezing import count_parameters, freeze
from recbole_missrec.trainer.lora import SCALE, add_lora, without_lora
from tests.model.test_parameters import build
from tests.shops import write_tiny_shop
from tests.tiny_models import interaction, random_batch, tiny_model

STRUCTURES: list[dict[str, Any]] = [
    {},
    {"seq_mm_fusion": "contextual", "n_encoder_layers": 2, "n_decoder_layers": 2},
    {"roles": "interest_queries"},
    {"structure": "no_decoder"},
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def with_lora(shop: Path, rank: int = 3, **options: Any) -> MISSRec:
    """A model as a run begins to tune it."""
    model = tiny_model(shop, **options)
    torch.manual_seed(1)
    add_lora(model, rank)
    freeze(model, "lora")
    return model


def train_matrices(model: MISSRec) -> None:
    """Give the matrices values that are not zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.3)


def scores(model: MISSRec) -> Tensor:
    return model.eval().full_sort_predict(random_batch(model))


@pytest.mark.parametrize("options", STRUCTURES, ids=str)
def test_untrained_it_changes_nothing_and_trained_it_is_a_change_of_the_weights(
    shop: Path, options: dict[str, Any]
) -> None:
    plain, model = tiny_model(shop, **options), with_lora(shop, **options)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    assert torch.equal(scores(model), scores(plain))
    train_matrices(model)
    trained = scores(model)
    assert not torch.allclose(trained, scores(plain))
    merged = without_lora(model.state_dict())
    assert merged.keys() == before.keys()
    changed = {name for name in before if not torch.equal(merged[name], before[name])}
    assert changed == {
        name for name in before if name.endswith(("in_proj_weight", "out_proj.weight"))
    }
    plain.load_state_dict(merged)
    torch.testing.assert_close(scores(plain), trained, rtol=1e-9, atol=1e-9)


def test_the_weights_by_hand() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [0.0], [-1.0]])
    state = {
        "x.self_attn.base_layer.in_proj_weight": torch.ones(3, 2),
        "x.self_attn.base_layer.in_proj_bias": torch.zeros(3),
        "x.self_attn.lora_A.default.weight": a,
        "x.self_attn.lora_B.default.weight": b,
        "x.norm.weight": torch.ones(2),
    }
    merged = without_lora(state)
    assert SCALE == 2
    assert merged["x.self_attn.in_proj_weight"].tolist() == [[7, 13], [1, 1], [-1, -3]]
    assert merged.keys() == {
        "x.self_attn.in_proj_weight",
        "x.self_attn.in_proj_bias",
        "x.norm.weight",
    }
    assert without_lora(merged).keys() == merged.keys()


def test_what_is_trained_beside_the_adapters(shop: Path) -> None:
    plain, model = tiny_model(shop), with_lora(shop)
    freeze(plain, "adapters")
    tuned = {name for name, parameter in plain.named_parameters() if parameter.requires_grad}
    model.train().calculate_loss(random_batch(model)).backward()
    found = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    attentions = (
        "encoder.layers.0.self_attn",
        "decoder.layers.0.self_attn",
        "decoder.layers.0.multihead_attn",
    )
    assert found == tuned | {
        f"{attention}{part}.lora_{matrix}.default.weight"
        for attention in attentions
        for part in ("", ".base_layer.out_proj")
        for matrix in "AB"
    }


def test_exact_count_at_the_size_of_the_paper(tmp_path: Path) -> None:
    """308,401 of the adapters and three attentions of 6 * 8 * 300."""
    model = build(tmp_path, 4386, item_ids=False, history_bias=False)
    add_lora(model, 8)
    freeze(model, "lora")
    assert count_parameters(model)[0] == 308_401 + 3 * 6 * 8 * 300


def test_a_step_leaves_what_is_frozen_as_it_was(shop: Path) -> None:
    model = with_lora(shop)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.01)
    for _ in range(2):  # the matrices A have no gradient before B is not zero
        optimizer.zero_grad()
        model.train().calculate_loss(random_batch(model)).backward()
        optimizer.step()
    tuned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    after = model.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == tuned


def test_the_map_sees_it(shop: Path) -> None:
    plain, model = tiny_model(shop).eval(), with_lora(shop).eval()
    train_matrices(model)
    plain.load_state_dict(without_lora(model.state_dict()))
    one = interaction(torch.tensor([[4, 7, 9]]), torch.tensor([3]), torch.tensor([1]))
    with torch.no_grad():
        found, expected = (attention_weights(each, one) for each in (model, plain))
    torch.testing.assert_close(found.items, expected.items)
    torch.testing.assert_close(found.shares, expected.shares)
