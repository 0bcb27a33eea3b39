"""What the content baselines have in common: rows are read alone, items are numbered at will."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.model.causal import READ_TOGETHER
from tests.reference import causal as reference
from tests.shops import write_tiny_shop
from tests.tiny_models import interaction, random_batch, tiny_baseline, tiny_tokens

MODELS = ["UniSRec", "VQRec", "SASRecContent", "LastItem"]
TRAINED = MODELS[:3]
ROWS = 12


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module", params=MODELS)
def model(shop: Path, request: pytest.FixtureRequest) -> Any:
    return tiny_baseline(shop, request.param)


def check_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def some(batch: Any, rows: Any) -> Any:
    """Some rows of a batch."""
    return interaction(*(batch[field][rows] for field in batch.interaction))


def test_every_item_but_padding_has_a_score(model: Any) -> None:
    scores = model.full_sort_predict(random_batch(model, ROWS))
    assert scores.shape == (ROWS, model.n_items)
    assert scores[:, 0].tolist() == [-torch.inf] * ROWS
    assert scores[:, 1:].isfinite().all()


@pytest.mark.parametrize("name", TRAINED)
def test_rows_of_a_batch_differ(shop: Path, name: str) -> None:
    model = tiny_baseline(shop, name)
    scores = model.full_sort_predict(random_batch(model, ROWS))
    assert torch.cdist(scores[:, 1:], scores[:, 1:]).add(torch.eye(ROWS)).min() > 1e-3


@pytest.mark.parametrize(("rows", "size"), [(ROWS, 1), (ROWS, 5), (2 * READ_TOGETHER + 3, 100)])
def test_splitting_a_batch_does_not_matter(model: Any, rows: int, size: int) -> None:
    batch = random_batch(model, rows)
    parts = [model.full_sort_predict(some(batch, r)) for r in torch.arange(rows).split(size)]
    check_equal(torch.cat(parts), model.full_sort_predict(batch))


def test_columns_of_padding_do_not_matter(model: Any) -> None:
    batch = random_batch(model, ROWS)
    short = some(batch, batch["item_length"] <= 4)
    cut = some(short, slice(None))
    cut.interaction["item_id_list"] = short["item_id_list"][:, :4]
    check_equal(model.full_sort_predict(cut), model.full_sort_predict(short))


def test_predictions_are_entries_of_the_scores(model: Any) -> None:
    batch = random_batch(model, ROWS)
    expected = model.full_sort_predict(batch)[torch.arange(ROWS), batch["item_id"]]
    check_equal(model.predict(batch), expected)


def write_reversed_shop(shop: Path, folder: Path) -> Path:
    """The shop again, with the rows of its files in reverse, and so with other item ids."""
    (folder / "tiny").mkdir()
    header, *lines = (shop / "tiny" / "tiny.inter").read_text(encoding="utf-8").splitlines()
    text = "\n".join([header, *reversed(lines)])
    (folder / "tiny" / "tiny.inter").write_text(text + "\n", encoding="utf-8")
    for name in ("tiny.text.safetensors", "tiny.image.safetensors"):
        file = read_features(shop / "tiny" / name)
        write_features(folder / "tiny" / name, file.tokens[::-1], file.matrix.flip(0), file.encoder)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_permuted_items_have_permuted_scores(shop: Path, tmp_path: Path, name: str) -> None:
    given = {"standardise_features": False}  # means of other orders differ in the last digits
    reordered = write_reversed_shop(shop, tmp_path)
    model, other = (tiny_baseline(folder, name, **given) for folder in (shop, reordered))
    there = torch.tensor([tiny_tokens(reordered).index(token) for token in tiny_tokens(shop)])
    assert there.tolist() != list(range(model.n_items))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            by_item = key == "item_embedding.weight"
            other.get_parameter(key)[there if by_item else slice(None)] = parameter
    batch = random_batch(model, ROWS)
    renumbered = interaction(
        there[batch["item_id_list"]], batch["item_length"], there[batch["item_id"]]
    )
    check_equal(other.full_sort_predict(renumbered)[:, there], model.full_sort_predict(batch))
    check_equal(other.calculate_loss(renumbered), model.calculate_loss(batch))


@pytest.mark.parametrize("name", TRAINED)
def test_sequence_embedding_equals_the_reference(shop: Path, name: str) -> None:
    model = tiny_baseline(shop, name)
    params, vectors = model.state_dict(), model.item_vectors().detach()
    batch = random_batch(model, ROWS)
    expected = [
        reference.sequence_embedding(params, vectors[items[:length]], layers=2, heads=2)
        for items, length in zip(batch["item_id_list"], batch["item_length"], strict=True)
    ]
    with torch.no_grad():
        found = model.sequence_embedding(batch, vectors)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", TRAINED)
def test_scores_and_loss_follow_from_embeddings(shop: Path, name: str) -> None:
    model = tiny_baseline(shop, name)
    batch = random_batch(model, ROWS)
    with torch.no_grad():
        vectors = model.item_vectors()
        u = model.sequence_embedding(batch, vectors)
        if name == "SASRecContent":
            expected = u @ vectors.T
        else:
            expected = F.cosine_similarity(u[:, None], vectors, dim=2, eps=1e-12) / 0.07
        if name == "VQRec":  # neither features nor an id embedding
            expected[:, ~model.present.any(0)] = -1 / 0.07
        scores, loss = model.full_sort_predict(batch), model.calculate_loss(batch)
    torch.testing.assert_close(scores[:, 1:], expected[:, 1:], rtol=1e-10, atol=1e-10)
    chosen = expected[torch.arange(ROWS), batch["item_id"]]
    torch.testing.assert_close(loss, (expected[:, 1:].logsumexp(1) - chosen).mean())


@pytest.mark.parametrize(("name", "options"), [("UniSRec", {"item_ids": False}), ("VQRec", {})])
def test_an_item_of_which_nothing_is_known_ranks_last(
    shop: Path, name: str, options: dict[str, Any]
) -> None:
    model = tiny_baseline(shop, name, **options)
    unknown = ~model.present.any(0)
    unknown[0] = False
    scores = model.full_sort_predict(random_batch(model, ROWS))
    assert unknown.sum() == 1  # i2
    assert (scores[:, unknown] < scores[:, 1:][:, ~unknown[1:]].amin(1, keepdim=True)).all()


@pytest.mark.parametrize("name", TRAINED)
def test_every_parameter_is_trained(shop: Path, name: str) -> None:
    model = tiny_baseline(shop, name).train()
    model.calculate_loss(random_batch(model, rows=60)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", TRAINED)
def test_items_are_computed_once_an_evaluation_pass(shop: Path, name: str) -> None:
    model = tiny_baseline(shop, name)
    batch = random_batch(model, ROWS)
    before = model.full_sort_predict(batch)
    with torch.no_grad():
        for parameter in (model.code_embedding if name == "VQRec" else model.adapted).parameters():
            parameter.mul_(2).add_(1)
    check_equal(model.full_sort_predict(batch), before)
    changed = model.eval().full_sort_predict(batch)  # a new pass
    assert (changed - before)[:, 1:].abs().max() > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_features_stay_out_of_checkpoints(shop: Path, name: str) -> None:
    model = tiny_baseline(shop, name)
    extra = model.state_dict().keys() - dict(model.named_parameters()).keys()
    assert extra == ({"codes"} if name == "VQRec" else set())


@pytest.mark.parametrize("name", TRAINED)
def test_the_bias_of_the_history_is_added_to_its_items(shop: Path, name: str) -> None:
    model = tiny_baseline(shop, name, history_bias=True)
    batch = random_batch(model, ROWS)
    with torch.no_grad():
        model.history_bias.weight.zero_()
    before = model.full_sort_predict(batch)
    with torch.no_grad():
        model.history_bias.weight.copy_(torch.tensor([-0.5, 0.25]))
    change = (model.full_sort_predict(batch) - before)[:, 1:] * (model.temperature or 1)
    expected = torch.zeros_like(change)
    for row, (items, length) in enumerate(
        zip(batch["item_id_list"], batch["item_length"], strict=True)
    ):
        expected[row, items[:length] - 1] = -0.5
        expected[row, items[length - 1] - 1] = -0.25
    scored = model.present[:, 1:].any(0) if model.item_embedding is None else slice(None)
    torch.testing.assert_close(change[:, scored], expected[:, scored], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        model.calculate_loss(batch),
        F.cross_entropy((model.full_sort_predict(batch))[:, 1:], batch["item_id"] - 1),
    )
