"""What a model of another catalogue takes of a pre-trained one, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dataset_builders.encoders import choose
from dataset_builders.encoding import encode
from recbole_missrec.errors import UsageError
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.trainer.checkpoint import load_checkpoint, save_checkpoint
from recbole_missrec.trainer.transfer import Transfer, transfer_state
from tests.shops import write_tiny_shop
from tests.tiny_models import random_batch, tiny_data, tiny_model

ENCODERS = {"text": "BERT", "image": "ViT"}
STAYS = {"interest_ids", "centroids", "item_embedding.weight", "unseen"}


@pytest.fixture(scope="module")
def source_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def target_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("target"), items=31, seed=1)


@pytest.fixture(scope="module")
def narrow_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its pictures' features have another size."""
    return write_tiny_shop(tmp_path_factory.mktemp("narrow"), dims=(7, 4))


def pretrained(shop: Path, encoders: dict[str, str] | None = None, **options: Any) -> Any:
    """What a checkpoint of random weights holds."""
    model = tiny_model(shop, **options)
    return {
        "model": "MISSRec",
        "config": model.options.resolved,
        "data": {} if encoders == {} else {"encoders": encoders or ENCODERS},
        "state_dict": model.state_dict(),
    }


def new_model(shop: Path, **options: Any) -> MISSRec:
    """A model as a run initialises it."""
    dataset = tiny_data(shop, **options)
    torch.manual_seed(9)
    return MISSRec(dataset.config, dataset).double()


def load(checkpoint: Any, model: MISSRec, **options: Any) -> tuple[Transfer, dict[str, Tensor]]:
    """Transfer, load, and what the model held before."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    transfer = transfer_state("a.pth", checkpoint, model, ENCODERS, **options)
    result = model.load_state_dict(transfer.state, strict=False)
    assert not result.unexpected_keys
    return transfer, before


def changed(model: MISSRec, before: dict[str, Tensor]) -> set[str]:
    after = model.state_dict()
    return {name for name in after if not torch.equal(after[name], before[name])}


# --- what travels -------------------------------------------------------------------------------


def test_everything_but_what_belongs_to_the_catalogue(source_shop: Path, target_shop: Path) -> None:
    checkpoint = pretrained(source_shop)
    model = new_model(target_shop)
    assert model.n_items != len(checkpoint["state_dict"]["interest_ids"])
    transfer, before = load(checkpoint, model)
    assert transfer.notes == []
    assert transfer.state.keys() == model.state_dict().keys() - STAYS
    for name, value in model.state_dict().items():
        expected = before[name] if name in STAYS else checkpoint["state_dict"][name]
        assert torch.equal(value, expected), name
    assert changed(model, before) == model.state_dict().keys() - STAYS


def test_a_model_of_the_same_items_takes_no_more(source_shop: Path) -> None:
    model = new_model(source_shop)
    _, before = load(pretrained(source_shop), model)
    assert changed(model, before) == model.state_dict().keys() - STAYS


def test_with_the_same_catalogue_and_no_ids_the_scores_are_those_of_the_source(
    source_shop: Path,
) -> None:
    source = tiny_model(source_shop, item_ids=False).eval()
    model = new_model(source_shop, item_ids=False)
    load(pretrained(source_shop, item_ids=False), model)
    model.discover_interests(0)
    batch = random_batch(source)
    torch.testing.assert_close(
        model.eval().full_sort_predict(batch), source.full_sort_predict(batch)
    )


def test_ids_may_be_added_or_left(source_shop: Path, target_shop: Path) -> None:
    for there, here in ((False, True), (True, False)):
        model = new_model(target_shop, item_ids=here)
        transfer, _ = load(pretrained(source_shop, item_ids=there), model)
        assert transfer.notes == []


def test_through_a_file(source_shop: Path, target_shop: Path, tmp_path: Path) -> None:
    checkpoint = pretrained(source_shop)
    save_checkpoint(tmp_path / "a.pth", {**checkpoint, "dataset": "tiny"})
    model, again = new_model(target_shop), new_model(target_shop)
    load(load_checkpoint(tmp_path / "a.pth", of_data=False), model)
    load(checkpoint, again)
    assert not changed(model, again.state_dict())


def test_more_positions_start_untrained_and_fewer_are_cut(
    source_shop: Path, target_shop: Path
) -> None:
    checkpoint = pretrained(source_shop)  # 8 positions
    trained = checkpoint["state_dict"]["position_embedding.weight"]
    for longest, note in ((11, "beyond start untrained"), (5, "beyond are left out")):
        model = new_model(target_shop, MAX_ITEM_LIST_LENGTH=longest)
        transfer, before = load(checkpoint, model)
        kept = min(longest, 8)
        (line,) = transfer.notes
        assert line == f"positions: {kept} trained ones are kept, those {note}"
        table = model.position_embedding.weight
        assert torch.equal(table[:kept], trained[:kept])
        assert torch.equal(table[kept:], before["position_embedding.weight"][kept:])
        assert len(table) == longest
    assert torch.equal(trained, checkpoint["state_dict"]["position_embedding.weight"])


def test_alphas_of_items_start_from_the_shared_one(source_shop: Path, target_shop: Path) -> None:
    checkpoint = pretrained(source_shop)
    shared = checkpoint["state_dict"]["fusion.alpha"]
    assert shared != 0
    model = new_model(target_shop, item_mm_fusion="dynamic_instance")
    load(checkpoint, model)
    assert model.fusion.alpha is not None
    assert torch.equal(model.fusion.alpha, shared.repeat(model.n_items))


def test_parts_that_one_of_the_two_lacks(source_shop: Path, target_shop: Path) -> None:
    plain: dict[str, Any] = {"item_mm_fusion": "static", "history_bias": False}
    names = {"fusion.alpha", "history_bias.weight"}
    model = new_model(target_shop)
    transfer, before = load(pretrained(source_shop, **plain), model)
    assert sorted(transfer.notes) == [
        f"{name}: starts untrained, the checkpoint has none" for name in sorted(names)
    ]
    assert not names & changed(model, before)
    transfer, _ = load(pretrained(source_shop), new_model(target_shop, **plain))
    assert sorted(transfer.notes) == [
        f"{name}: left out, the model has none" for name in sorted(names)
    ]


def test_a_modality_that_the_model_does_not_read(source_shop: Path, target_shop: Path) -> None:
    model = new_model(target_shop, modalities=["image"])
    transfer, _ = load(pretrained(source_shop), model)
    assert transfer.notes == ["text: its adapter is left out, the model does not read it"]
    assert "adapters.image.weight" in transfer.state


@pytest.mark.parametrize(
    "options", [{"missing": "token"}, {"item_mm_fusion": "gate"}, {"calibrate": True}]
)
def test_rows_of_modalities_travel_by_name(source_shop: Path, options: dict[str, Any]) -> None:
    options = options | {"item_ids": False}
    source = tiny_model(source_shop, **options).eval()
    checkpoint = pretrained(source_shop, **options)
    model = new_model(source_shop, modalities=["image", "text"], **options)
    load(checkpoint, model)
    model.discover_interests(0)
    batch = random_batch(source)
    torch.testing.assert_close(
        model.eval().full_sort_predict(batch), source.full_sort_predict(batch)
    )
    (name,) = {"missing_token", "fusion.gate", "fusion.lacking"} & checkpoint["state_dict"].keys()
    rows = checkpoint["state_dict"][name]
    alone, _ = load(checkpoint, new_model(source_shop, modalities=["image"], **options))
    assert torch.equal(alone.state[name], rows[1:])
    fresh, before = load(checkpoint, new_model(source_shop, **options), fresh_adapters=["text"])
    assert torch.equal(fresh.state[name], torch.stack([before[name][0], rows[1]]))
    one = pretrained(source_shop, modalities=["image"], **options)
    added, before = load(one, new_model(source_shop, **options), fresh_adapters=["text"])
    (row,) = one["state_dict"][name]
    assert torch.equal(added.state[name], torch.stack([before[name][0], row]))


def test_fresh_adapters_stay_as_they_are(source_shop: Path, target_shop: Path) -> None:
    unknown = pretrained(source_shop, modalities=["text"])
    known = pretrained(source_shop, {"text": "BERT", "image": "another"})
    for checkpoint in (unknown, known):
        model = new_model(target_shop)
        transfer, before = load(checkpoint, model, fresh_adapters=["image"])
        assert transfer.notes == []
        fresh = {"adapters.image.weight", "adapters.image.bias"}
        assert changed(model, before) == model.state_dict().keys() - STAYS - fresh


def test_a_fresh_adapter_of_features_of_another_size(source_shop: Path, narrow_shop: Path) -> None:
    checkpoint = pretrained(source_shop)
    load(checkpoint, new_model(narrow_shop), fresh_adapters=["image"])
    with pytest.raises(UsageError) as error:
        load(checkpoint, new_model(narrow_shop))
    assert str(error.value) == (
        "--pretrained=a.pth: does not fit this model: adapters.image.weight is [8, 5] there, "
        "[8, 4] here (--fresh_adapters=[image] starts it anew)"
    )


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "fault"),
    [
        ({"hidden_size": 12}, "hidden_size is 12 there, 8 here"),
        ({"n_heads": 4}, "n_heads is 4 there, 2 here"),
        ({"inner_size": 20}, "inner_size is 20 there, 12 here"),
        ({"n_encoder_layers": 2}, "n_encoder_layers is 2 there, 1 here"),
        ({"n_decoder_layers": 2}, "n_decoder_layers is 2 there, 1 here"),
        ({"structure": "no_decoder"}, "structure is no_decoder there, encoder_decoder here"),
        ({"roles": "interest_queries"}, "roles is interest_queries there, item_queries here"),
        ({"seq_mm_fusion": "contextual"}, "seq_mm_fusion is contextual there, add here"),
        ({"layer_norm_eps": 0.5}, "layer_norm_eps is 0.5 there, 1e-12 here"),
        ({"interest_recency": True}, "interest_recency is True there, False here"),
        ({"standardise_features": False}, "standardise_features is False there, True here"),
        (
            {"modalities": ["text"]},
            "it has no adapter of image (--fresh_adapters=[image] starts it anew)",
        ),
        (
            {"encoders": {"text": "BERT", "image": "CLIP"}},
            "image is of CLIP there, of ViT here (--fresh_adapters=[image] starts it anew, "
            "--other_encoders=True keeps it)",
        ),
    ],
)
def test_what_does_not_fit(
    source_shop: Path, target_shop: Path, there: dict[str, Any], fault: str
) -> None:
    model = new_model(target_shop)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UsageError) as error:
        load(pretrained(source_shop, **there), model)
    assert str(error.value) == f"--pretrained=a.pth: does not fit this model: {fault}"
    assert not changed(model, before)


def test_all_differences_are_listed(source_shop: Path, target_shop: Path) -> None:
    checkpoint = pretrained(source_shop, hidden_size=12, n_heads=4, modalities=["text"])
    with pytest.raises(UsageError) as error:
        load(checkpoint, new_model(target_shop, n_encoder_layers=3))
    for part in ("hidden_size is 12", "n_heads is 4", "n_encoder_layers is 1", "adapter of image"):
        assert part in str(error.value)


def test_alphas_of_items_are_refused_even_of_as_many(source_shop: Path) -> None:
    checkpoint = pretrained(source_shop, item_mm_fusion="dynamic_instance")
    model = new_model(source_shop, item_mm_fusion="dynamic_instance")
    with pytest.raises(UsageError, match="whose alphas belong to its items; pre-train with dyna"):
        load(checkpoint, model)


def test_a_space_learned_of_another_catalogue(
    source_shop: Path, target_shop: Path, tmp_path: Path
) -> None:
    catalogues = {"a": "red tea", "b": "red jam"}, {"a": "blue tea", "b": "blue jam"}
    made = [encode(texts, choose("text", "tfidf"), tmp_path) for texts in catalogues]
    there, here = (encoded.features.encoder for encoded in made if encoded)
    checkpoint = pretrained(source_shop, ENCODERS | {"text": there})
    model = new_model(target_shop)
    with pytest.raises(UsageError) as error:
        transfer_state("a.pth", checkpoint, model, ENCODERS | {"text": here})
    assert f"text is of {there} there, of {here} here (--fresh_adapters=[text]" in str(error.value)
    transfer_state("a.pth", checkpoint, model, ENCODERS | {"text": there})


def test_other_and_unknown_encoders(source_shop: Path, target_shop: Path) -> None:
    other = pretrained(source_shop, {"text": "BERT", "image": "CLIP"})
    transfer, _ = load(other, new_model(target_shop), other_encoders=True)
    assert transfer.notes == ["image is of CLIP there, of ViT here"]
    transfer, _ = load(pretrained(source_shop, {}), new_model(target_shop))
    assert transfer.notes == [
        f"{modality}: which encoder it was trained with is not known"
        for modality in ("text", "image")
    ]


def test_tensors_without_a_place_and_places_without_a_tensor(
    source_shop: Path, target_shop: Path
) -> None:
    checkpoint = pretrained(source_shop)
    state = checkpoint["state_dict"]
    state["encoder.extra"] = state.pop("encoder.norm.bias")
    state["position_embedding.weight"] = torch.zeros(8, 7)
    with pytest.raises(UsageError) as error:
        load(checkpoint, new_model(target_shop))
    assert str(error.value) == (
        "--pretrained=a.pth: does not fit this model: encoder.extra is not of this model; "
        "encoder.norm.bias is missing; position_embedding.weight is [8, 7] there, [8, 8] here"
    )


def test_another_model_and_another_modality(source_shop: Path, target_shop: Path) -> None:
    model = new_model(target_shop)
    with pytest.raises(UsageError, match="a.pth: of UniSRec, not of MISSRec"):
        load({**pretrained(source_shop), "model": "UniSRec"}, model)
    with pytest.raises(UsageError, match="a.pth: of an unfinished run; go on with --resume=a.pth"):
        load({**pretrained(source_shop), "optimizer": {}}, model)
    with pytest.raises(UsageError, match="no modality imge; did you mean 'image'"):
        load(pretrained(source_shop), model, fresh_adapters=["imge"])
