"""The model equals the slow reference written from the formulas: loss, scores and gradients."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_missrec.data.dataset import MultiModalSequentialDataset
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.options import CHOICES
from tests.reference import missrec as reference
from tests.shops import tiny_config, write_tiny_shop

VARIANTS = [
    {"roles": roles, "seq_mm_fusion": sequence, "item_mm_fusion": item, "item_ids": ids}
    for roles, sequence, item, ids in product(
        ("item_queries", "interest_queries"),
        ("add", "contextual"),
        CHOICES["item_mm_fusion"],
        (True, False),
    )
]
VARIANTS += [
    {"structure": structure, "seq_mm_fusion": sequence, "item_ids": ids}
    for structure, sequence, ids in product(
        ("no_decoder", "no_interests"), ("add", "contextual"), (True, False)
    )
]
VARIANTS += [
    {"n_encoder_layers": 2, "n_decoder_layers": 2, "orthogonality": "released"},
    {"n_encoder_layers": 2, "n_decoder_layers": 2, "roles": "interest_queries"},
    {"orthogonality": "released", "structure": "no_decoder", "seq_mm_fusion": "contextual"},
    {"orthogonality": "released", "roles": "interest_queries"},
    {"modalities": ["image"], "item_ids": False},
    {"history_bias": False},
    {"calibrate": True},
    {"calibrate": True, "item_ids": False, "item_mm_fusion": "static", "history_bias": False},
    {"missing": "token"},
    {"missing": "token", "seq_mm_fusion": "contextual", "interest_gradient": True},
    {"missing": "token", "item_mm_fusion": "gate", "item_ids": False},
    {"interest_gradient": True},
    {"interest_recency": True, "roles": "interest_queries"},
    {"interest_recency": True, "seq_mm_fusion": "contextual", "interest_gradient": True},
    {"interest_recency": True, "structure": "no_decoder", "interest_method": "items"},
    {"interest_space": "features", "interest_method": "kmeans"},
    {"modalities": ["image", "text"], "seq_mm_fusion": "contextual", "interest_method": "kmeans"},
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def build(shop: Path, **options: Any) -> tuple[MISSRec, Any]:
    """A model with random weights, biases and alpha, and its data set."""
    config = tiny_config(shop, dropout=0.0, gamma=0.7, MAX_ITEM_LIST_LENGTH=6, **options)
    dataset = MultiModalSequentialDataset(config)
    torch.manual_seed(3)
    model = MISSRec(config, dataset)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "item_embedding.weight":
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model, dataset


def random_batch(items: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    lengths = torch.randint(1, 7, (6,), generator=generator)
    lengths[1] = 6  # one of the greatest length
    sequences = torch.randint(1, items, (6, 6), generator=generator)
    sequences[torch.arange(6) >= lengths[:, None]] = 0
    targets = torch.randint(1, items, (6,), generator=generator)
    return sequences, lengths, targets


def oracle_arguments(model: MISSRec, dataset: Any) -> dict[str, Any]:
    """What the oracle is asked with, but for the batch."""
    none = len(model.centroids) - 1
    counts = torch.bincount(torch.as_tensor(dataset.inter_feat["item_id"]), minlength=model.n_items)
    parameters = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in model.named_parameters()
    }
    columns = dict(zip(model.modalities, model.interest_ids.T, strict=True))
    return {
        "params": parameters,
        "options": {key: model.options[key] for key in model.options.resolved} | {"counts": counts},
        "features": {m: dataset.features[m] for m in model.modalities},
        "present": {m: dataset.present[m] for m in model.modalities},
        "interests": {m: c.masked_fill(c == none, -1) for m, c in columns.items()},
        "centroids": model.centroids[:none],
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o.values())))
def test_loss_scores_and_gradients_equal_the_reference(
    shop: Path, options: dict[str, Any], dtype: torch.dtype
) -> None:
    model, dataset = build(shop, **options)
    model = model.to(dtype)
    model.discover_interests(0)
    nothing = dataset.field2token_id["item_id"]["i2"]
    sequences, lengths, targets = random_batch(
        model.n_items, torch.Generator().manual_seed(VARIANTS.index(options))
    )
    lengths[0], sequences[0], sequences[0, 0] = 1, 0, nothing  # a history without any modality
    sequences[1, 5] = nothing  # one that ends with such an item
    batch = Interaction({"item_id_list": sequences, "item_length": lengths, "item_id": targets})
    arguments = oracle_arguments(model, dataset)
    arguments |= {"item_seq": sequences, "lengths": lengths}
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5

    loss = model.calculate_loss(batch)
    loss.backward()
    expected = reference.loss(**arguments, targets=targets)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=tolerance)
    for name, parameter in model.named_parameters():
        found, wanted = (
            torch.zeros_like(parameter) if gradient is None else gradient
            for gradient in (parameter.grad, arguments["params"][name].grad)
        )
        error = float((found - wanted).abs().max())
        assert error <= tolerance * (1 + float(wanted.abs().max())), name

    model.eval()
    with torch.no_grad():
        scores = model.full_sort_predict(batch)
        expected_scores = reference.scores(**arguments)
        if model.item_embedding is None:  # what has nothing is surely the last
            lower = (-1 - model.lowest_cosine()) / model.options["temperature"]
            expected_scores[:, ~model.present.any(0)] -= lower
    torch.testing.assert_close(scores, expected_scores, rtol=tolerance, atol=tolerance)
    if model.item_embedding is None:
        known = model.present.any(0)
        assert scores[:, ~known][:, 1:].max() <= scores[:, known].min()


DROPOUT_VARIANTS: list[dict[str, Any]] = [
    {},
    {"item_ids": False, "item_mm_fusion": "static"},
    {"seq_mm_fusion": "contextual", "item_mm_fusion": "dynamic_instance"},
    {"roles": "interest_queries", "interest_recency": True},
    {"structure": "no_decoder", "seq_mm_fusion": "contextual", "item_ids": False},
    {"item_mm_fusion": "gate", "calibrate": True},
]
TOKENS = [{"missing": "token"}, {"missing": "token", "seq_mm_fusion": "contextual"}]


@pytest.mark.parametrize(
    ("options", "of"),
    [
        *product(DROPOUT_VARIANTS, ("sequences", "items")),
        ({}, "both"),
        ({"seq_mm_fusion": "contextual", "modality_dropout": {"text": 0.8}}, "sequences"),
        *((options, "items") for options in TOKENS),  # sequences do without, whatever missing says
    ],
    ids=str,
)
def test_modalities_left_out_in_training_equal_the_reference(
    shop: Path, options: dict[str, Any], of: str
) -> None:
    """Gradients and loss with the modalities that were drawn, in one chunk of items and in many."""
    options = {"modality_dropout": {"text": 0.4, "image": 0.6}, "modality_dropout_of": of} | options
    model, dataset = build(shop, **options)
    model = model.double()
    model.discover_interests(0)
    sequences, lengths, targets = random_batch(model.n_items, torch.Generator().manual_seed(5))
    batch = Interaction({"item_id_list": sequences, "item_length": lengths, "item_id": targets})
    packed = model.training_packer(1)(None, batch)
    arguments = oracle_arguments(model, dataset) | {"item_seq": sequences, "lengths": lengths}
    drawn = {"kept": packed.packed.kept, "present": packed.batch.present}
    names = {"sequences": ["kept"], "items": ["present"], "both": ["kept", "present"]}[of]
    assert [name for name, value in drawn.items() if value is not None] == names
    for name in names:
        assert 0 < (~drawn[name]).sum() < drawn[name].numel()
        arguments[name] = dict(zip(model.modalities, drawn[name], strict=True))
    expected = reference.loss(**arguments, targets=targets)
    expected.backward()
    for chunk in (10_000, 5):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("recbole_missrec.model.objectives.CHUNK", chunk)
            patch.setattr("recbole_missrec.model.missrec.CHUNK", chunk)
            model.zero_grad()
            loss = model.calculate_loss(packed)
            loss.backward()
        torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
        for name, parameter in model.named_parameters():
            wanted = arguments["params"][name].grad
            if parameter.grad is None or wanted is None:
                assert wanted is None or not wanted.any(), name
                assert parameter.grad is None or not parameter.grad.any(), name
            else:
                torch.testing.assert_close(parameter.grad, wanted, rtol=1e-9, atol=1e-9)
