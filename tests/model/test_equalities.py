"""A row's embedding and scores are its own; numbering of items and padding mean nothing."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.model.missrec import MISSRec
from tests.shops import write_tiny_shop
from tests.tiny_models import interaction, random_batch, tiny_data, tiny_model

STRUCTURES: list[dict[str, Any]] = [
    {"roles": "item_queries"},
    {"roles": "item_queries", "n_encoder_layers": 2, "n_decoder_layers": 2},
    {"roles": "interest_queries"},
    {"structure": "no_decoder"},
    {"structure": "no_interests"},
]
VARIANTS = [
    {**structure, "seq_mm_fusion": sequence}
    for structure, sequence in product(STRUCTURES, ("add", "contextual"))
]
ROWS = 14


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(
    scope="module", params=VARIANTS, ids=lambda options: "-".join(map(str, options.values()))
)
def model(shop: Path, request: pytest.FixtureRequest) -> MISSRec:
    return tiny_model(shop, **request.param).eval()


@torch.no_grad()
def outputs(model: MISSRec, batch: Any) -> tuple[Tensor, Tensor]:
    """Sequence embeddings and scores."""
    packed = model.packed(batch).packed
    inputs = model.history_inputs(model.item_table(packed.items))
    u, _ = model.sequence_embedding(packed, F.embedding(packed.item, inputs))
    return u, model.full_sort_predict(batch)


def check_equal(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def some(batch: Any, rows: Any) -> Any:
    """Some rows of a batch."""
    return interaction(*(batch[field][rows] for field in batch.interaction))


def test_rows_of_a_batch_differ(model: MISSRec) -> None:
    batch = random_batch(model, ROWS)
    u, scores = outputs(model, batch)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(ROWS).double())
    assert torch.cdist(u, u).add(torch.eye(ROWS)).min() > 1e-3
    assert scores[:, 0].tolist() == [-torch.inf] * ROWS
    assert scores[:, 1:].isfinite().all()


def test_other_rows_do_not_matter(model: MISSRec) -> None:
    batch, others = random_batch(model, ROWS), random_batch(model, ROWS, seed=1)
    both = interaction(*(torch.cat([batch[field], others[field]]) for field in batch.interaction))
    u, scores = outputs(model, both)
    check_equal((u[:ROWS], scores[:ROWS]), outputs(model, batch))


def test_order_of_rows_does_not_matter(model: MISSRec) -> None:
    batch = random_batch(model, ROWS)
    u, scores = outputs(model, batch)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    shuffled = some(batch, order)
    check_equal(outputs(model, shuffled), (u[order], scores[order]))
    losses = torch.stack([model.calculate_loss(each) for each in (batch, shuffled)])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=1e-12)


def test_columns_of_padding_do_not_matter(model: MISSRec) -> None:
    batch = random_batch(model, ROWS)
    wider = some(batch, slice(None))
    wider.interaction["item_id_list"] = F.pad(batch["item_id_list"], (0, 5))
    check_equal(outputs(model, wider), outputs(model, batch))


@pytest.mark.parametrize("size", [1, 5])
def test_splitting_a_batch_does_not_matter(model: MISSRec, size: int) -> None:
    batch = random_batch(model, ROWS)
    parts = [outputs(model, some(batch, rows)) for rows in torch.arange(ROWS).split(size)]
    u, scores = (torch.cat(part) for part in zip(*parts, strict=True))
    check_equal((u, scores), outputs(model, batch))


def test_a_history_twice_in_a_batch_is_read_alike(model: MISSRec) -> None:
    batch = random_batch(model, ROWS)
    u, scores = outputs(model, some(batch, torch.arange(ROWS).repeat(2)))
    check_equal((u[:ROWS], scores[:ROWS]), (u[ROWS:], scores[ROWS:]))


def test_packing_beforehand_does_not_matter(model: MISSRec) -> None:
    batch = random_batch(model, ROWS)
    packed = model.packer()(None, batch)
    check_equal(outputs(model, packed), outputs(model, batch))


def test_predictions_are_entries_of_the_scores(model: MISSRec) -> None:
    batch = random_batch(model, ROWS)
    _, scores = outputs(model, batch)
    expected = scores[torch.arange(ROWS), batch["item_id"]]
    torch.testing.assert_close(model.predict(batch), expected, rtol=1e-12, atol=1e-12)


def write_reordered_shop(shop: Path, folder: Path) -> Path:
    """The shop again, with the rows of all its files in another order, and so its item ids."""
    generator = torch.Generator().manual_seed(4)
    (folder / "tiny").mkdir()
    header, *lines = (shop / "tiny" / "tiny.inter").read_text(encoding="utf-8").splitlines()
    order = torch.randperm(len(lines), generator=generator).tolist()
    text = "\n".join([header, *(lines[index] for index in order)])
    (folder / "tiny" / "tiny.inter").write_text(text + "\n", encoding="utf-8")
    for modality in ("text", "image"):
        name = f"tiny.{modality}.safetensors"
        file = read_features(shop / "tiny" / name)
        rows = torch.randperm(len(file.tokens), generator=generator)
        tokens = [file.tokens[index] for index in rows.tolist()]
        write_features(folder / "tiny" / name, tokens, file.matrix[rows], file.encoder)
    return folder


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o.values())))
def test_permuted_items_have_permuted_scores(
    shop: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    given = {"item_mm_fusion": "dynamic_instance", "standardise_features": False, **options}
    reordered = write_reordered_shop(shop, tmp_path)
    model, other = (tiny_model(folder, **given).eval() for folder in (shop, reordered))
    other_ids = tiny_data(reordered).field2token_id["item_id"]
    there = torch.tensor([other_ids[item] for item in tiny_data(shop).field2id_token["item_id"]])
    assert there.tolist() != list(range(model.n_items))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            by_item = name in ("item_embedding.weight", "fusion.alpha")
            other.get_parameter(name)[there if by_item else slice(None)] = parameter
        other.interest_ids[there] = model.interest_ids
        other.centroids.copy_(model.centroids)
    batch = random_batch(model, ROWS)
    renumbered = interaction(
        there[batch["item_id_list"]], batch["item_length"], there[batch["item_id"]]
    )
    u, scores = outputs(other, renumbered)
    check_equal((u, scores[:, there]), outputs(model, batch))
    losses = [m.calculate_loss(b) for m, b in ((model, batch), (other, renumbered))]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=1e-12)
