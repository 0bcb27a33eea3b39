"""Pre-training: losses and gradients equal the slow reference; copies; what it falls back to."""

from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_missrec.data.augmentation import augment
from recbole_missrec.data.dataset import MultiModalSequentialDataset
from recbole_missrec.data.features import AUGMENTED, write_features
from recbole_missrec.model.missrec import MISSRec
from tests.reference import missrec as reference
from tests.shops import ITEMS, tiny_config, write_tiny_shop

EPOCH = 4  # one whose draws have both kinds of copies
PRETRAINING: dict[str, Any] = {
    "softmax": "in_batch", "sequence_contrast": 0.6, "item_ids": False, "history_bias": False,
    "dropout": 0.0, "gamma": 0.7, "MAX_ITEM_LIST_LENGTH": 6, "standardise_features": True,
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """With augmented texts of all items but i7; i1 and i2 have no text."""
    folder = write_tiny_shop(tmp_path)
    kept = [item for item in range(ITEMS) if item not in (1, 2, 7)]
    matrix = torch.randn(len(kept), 7, generator=torch.Generator().manual_seed(9))
    (folder / "tiny" / AUGMENTED).mkdir()
    write_features(
        folder / "tiny" / AUGMENTED / "tiny.text.safetensors",
        [f"i{item}" for item in kept],
        matrix,
        "random text",
    )
    return folder


def build(shop: Path, **options: Any) -> tuple[MISSRec, Any]:
    config = tiny_config(shop, **PRETRAINING | options)
    dataset = MultiModalSequentialDataset(config)
    torch.manual_seed(3)
    model = MISSRec(config, dataset).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.discover_interests(0)
    return model, dataset


def random_batch(items: int) -> Interaction:
    """Histories of which two are equal, next items of which some are, one in its own history."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([1, 6, 3, 3, 2, 5, 4, 6])
    sequences = torch.randint(1, items, (8, 6), generator=generator)
    sequences[3] = sequences[2]
    sequences[torch.arange(6) >= lengths[:, None]] = 0
    targets = torch.randint(1, items, (8,), generator=generator)
    targets[4] = targets[0]
    targets[5], targets[6] = sequences[6, 1], sequences[6, 2]
    return Interaction({"item_id_list": sequences, "item_length": lengths, "item_id": targets})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"history_negatives": True, "item_mm_fusion": "static"},
        {"seq_mm_fusion": "contextual", "roles": "interest_queries"},
        {"structure": "no_decoder"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "default",
)
def test_loss_and_gradients_equal_the_reference(shop: Path, options: dict[str, Any]) -> None:
    model, dataset = build(shop, **options)
    batch = random_batch(model.n_items)
    sequences, lengths = batch["item_id_list"], batch["item_length"]
    seed = model.options["seed"] + 7919 * EPOCH
    copies = augment(sequences, lengths, torch.Generator().manual_seed(seed))
    assert copies.replaced.any() and (copies.lengths < lengths).any()
    batch = model.training_packer(EPOCH)(None, batch)
    loss = model.calculate_loss(batch)
    loss.backward()

    none = len(model.centroids) - 1
    parameters = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in model.named_parameters()
    }
    columns = dict(zip(model.modalities, model.interest_ids.T, strict=True))
    expected = reference.pretraining_loss(
        parameters,
        model.options,
        {m: matrix.double() for m, matrix in dataset.features.items()},
        dataset.present,
        {m: column.masked_fill(column == none, -1) for m, column in columns.items()},
        model.centroids[:none],
        sequences,
        lengths,
        batch["item_id"],
        copies.items,
        copies.lengths,
        copies.replaced,
        dataset.augmented,
    )
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    for name, parameter in model.named_parameters():
        wanted = parameters[name].grad
        if wanted is not None:
            torch.testing.assert_close(parameter.grad, wanted, rtol=1e-9, atol=1e-9, msg=name)


def test_augmented_features_are_in_the_space_of_the_plain_ones(shop: Path) -> None:
    """Less the plain mean, over the plain scale; an item without augmented text keeps its own."""
    _, dataset = build(shop)
    _, plain = build(shop, standardise_features=False)
    ids = dataset.token2id("item_id", ["i3", "i7", "i1"])
    rows = plain.features["text"][plain.present["text"]]
    expected = (plain.augmented["text"][ids[0]] - rows.mean(0)) / rows.std(0)
    torch.testing.assert_close(dataset.augmented["text"][ids[0]], expected)
    assert torch.equal(dataset.augmented["text"][ids[1]], dataset.features["text"][ids[1]])
    assert not dataset.augmented["text"][ids[2]].any()
    assert list(dataset.augmented) == ["text"]


def test_what_is_made_for_an_item_stands_in_its_copies_too(shop: Path) -> None:
    dataset = MultiModalSequentialDataset(tiny_config(shop, missing="ridge", **PRETRAINING))
    made = dataset.field2token_id["item_id"]["i1"]  # which has no text
    assert dataset.features["text"][made].any()
    assert torch.equal(dataset.augmented["text"][made], dataset.features["text"][made])


def test_without_augmented_texts_features_are_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = build(write_tiny_shop(tmp_path))
    assert "no features of augmented texts" in caplog.text
    items = torch.tensor([5, 5, 6])
    tokens = model.item_tokens(items, torch.tensor([True, False, True]))
    plain = model.item_tokens(items)
    assert torch.equal(tokens[:, 1], plain[:, 1])
    assert not torch.allclose(tokens[:, 0], plain[:, 0])


def test_no_copies_in_evaluation_or_without_their_contrast(shop: Path) -> None:
    model, _ = build(shop)
    batch = random_batch(model.n_items)
    assert model.packed(batch).copies is None
    assert model.packed(batch, training=True).copies is not None
    plain, _ = build(shop, sequence_contrast=0.0)
    assert plain.packed(batch, training=True).copies is None
    before = torch.get_rng_state()
    with torch.no_grad():
        model.eval().full_sort_predict(batch)
    assert torch.equal(before, torch.get_rng_state())
