"""UniSRec: its adaptor, its items and its size, from the formulas."""

from pathlib import Path

import pytest
import torch

from recbole_missrec.model.unisrec import MixtureOfExperts
from recbole_missrec.trainer.freezing import count_parameters
from tests.reference import causal as reference
from tests.shops import write_tiny_shop
from tests.tiny_models import tiny_baseline


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def adaptor(dropout: float = 0.0) -> MixtureOfExperts:
    """Three experts from 5 to 4 dimensions, all parameters random."""
    torch.manual_seed(0)
    module = MixtureOfExperts(5, experts=3, out_dim=4, dropout=dropout, std=1.0).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


@pytest.mark.parametrize("training", [False, True])
def test_adaptor_equals_the_reference(training: bool) -> None:
    module, x = adaptor().train(training), torch.randn(6, 5).double()
    torch.manual_seed(1)
    found = module(x)
    torch.manual_seed(1)
    noise = torch.randn(6, 3, dtype=torch.double)
    expected = [
        reference.moe(module.state_dict(), "", row, draw if training else None)
        for row, draw in zip(x, noise, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_one_expert_whitens() -> None:
    module = MixtureOfExperts(2, experts=1, out_dim=2, dropout=0.0, std=1.0)
    with torch.no_grad():
        module.bias[0, 0] = torch.tensor([1.0, 2.0])
        module.weight[0] = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    found = module.eval()(torch.tensor([[1.0, 2.0], [2.0, 6.0]]))
    assert found.tolist() == [[0, 0], [2, 2]]


def test_experts_draw_their_dropout_apart() -> None:
    module = adaptor(dropout=0.5).train()
    with torch.no_grad():
        module.noise.fill_(-50)
        module.gate.zero_()
        module.bias.zero_()
        module.weight[:] = module.weight[0]
    torch.manual_seed(2)
    x = torch.ones(2000, 5).double()
    found = module(x)
    # one draw for all would give each item one of 2^5 outputs, up to the noise of the gates
    whole = x[0] @ module.weight[0]
    assert len(torch.unique(found.detach().mul(1e3).round(), dim=0)) > 200
    torch.testing.assert_close(found.mean(0), whole, rtol=0, atol=0.15)


@pytest.mark.parametrize("item_ids", [True, False])
@pytest.mark.parametrize("modalities", [["text"], ["text", "image"]])
def test_items_equal_the_reference(shop: Path, item_ids: bool, modalities: list[str]) -> None:
    model = tiny_baseline(shop, "UniSRec", item_ids=item_ids, modalities=modalities)
    sizes = {m: getattr(model.adapted, f"features_{m}").shape[1] for m in modalities}
    expected = []
    for item in range(model.n_items):
        features = {
            m: getattr(model.adapted, f"features_{m}")[item]
            for m, present in zip(modalities, model.present, strict=True)
            if present[item]
        }
        expected.append(reference.unisrec_item(model.state_dict(), features, sizes, item))
    kinds = {len(modalities), 0} | ({1} if len(modalities) > 1 else set())
    assert set(model.present.sum(0).tolist()) == kinds
    torch.testing.assert_close(model.item_vectors(), torch.stack(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("item_ids", [True, False])
def test_number_of_parameters(shop: Path, item_ids: bool) -> None:
    model = tiny_baseline(shop, "UniSRec", item_ids=item_ids)
    dim, inner, longest, experts, items = 8, 12, 8, 3, 25
    layer = 4 * (dim * dim + dim) + (dim * inner + inner) + (inner * dim + dim) + 2 * 2 * dim
    transformer = longest * dim + 2 * dim + 2 * layer
    features = 7 + 5
    adaptor = experts * (features * dim + features) + 2 * features * experts
    expected = transformer + adaptor + item_ids * items * dim
    assert count_parameters(model) == (expected, expected)
