"""Items are added and removed without training; nothing else changes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_builders.encoders import named
from recbole_missrec.cli import main
from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.errors import UsageError
from recbole_missrec.map.attention import attention
from recbole_missrec.serving.overlay import extend
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.scoring import make_scorer
from tests.serving.conftest import MODELS
from tests.shops import tiny_words, write_tiny_shop
from tests.tiny_models import random_batch, tiny_baseline, tiny_model

Refused = Callable[..., str]


@pytest.fixture
def checkpoint(trained: Path) -> Callable[[str], Path]:
    """A copy of a checkpoint in the current folder."""

    def copied(model: str = "MISSRec") -> Path:
        copy = Path(f"{model}.pth")
        copy.write_bytes((trained / copy).read_bytes())
        return copy

    return copied


def new_features(shop: Path, modality: str, like: dict[str, str], encoder: str = "") -> str:
    """Features of new items that are those of others; name of the file."""
    file = read_features(shop / "tiny" / f"tiny.{modality}.safetensors")
    rows = [file.tokens.index(token) for token in like.values()]
    path = f"new.{modality}.safetensors"
    write_features(path, list(like), file.matrix[rows], encoder or file.encoder)
    return path


MODEL_VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("MISSRec", {}),
    ("MISSRec", {"item_mm_fusion": "dynamic_instance", "seq_mm_fusion": "contextual"}),
    ("MISSRec", {"structure": "no_interests", "item_ids": False}),
    ("MISSRec", {"unseen_bias": 0.5, "item_ids": False, "history_bias": False}),
    ("MISSRec", {"map_features": True}),
    ("UniSRec", {"item_ids": True}),
    ("UniSRec", {"item_ids": False}),
    ("SASRecContent", {}),
]


@pytest.mark.parametrize(("name", "options"), MODEL_VARIANTS, ids=str)
def test_a_model_takes_items_and_scores_the_others_as_before(
    shop: Path, name: str, options: dict[str, Any]
) -> None:
    make: Any = tiny_model if name == "MISSRec" else lambda s, **o: tiny_baseline(s, name, **o)
    model = make(shop, **options).eval()
    batch = random_batch(model)
    before = model.full_sort_predict(batch)
    holder = getattr(model, "adapted", model)
    first, second = like = model.present.all(0).nonzero().flatten()[:2]
    there = {"text": torch.tensor([True, True]), "image": torch.tensor([True, False])}
    blocks = {m: (getattr(holder, f"features_{m}")[like] * has[:, None], has)
              for m, has in there.items()}  # fmt: skip
    extend(model, blocks)
    model.eval()
    after, scorer = model.full_sort_predict(batch), make_scorer(model, "")
    assert after.shape == (9, 27)
    torch.testing.assert_close(after[:, :25], before, rtol=1e-12, atol=1e-12)
    assert after[:, 25:].isfinite().all()
    if not options.get("item_ids", name != "UniSRec") and model.history_bias is None:
        # an item of the same features
        bias = options.get("unseen_bias", 0.0) / scorer.temperature
        torch.testing.assert_close(after[:, 25], before[:, first] + bias)
    if name == "MISSRec" and options.get("structure") is None:
        assert torch.equal(model.interest_ids[25], model.interest_ids[first])
        assert model.interest_ids[26, 0] == model.interest_ids[second, 0]
        assert model.interest_ids[26, 1] == len(model.centroids) - 1  # there is no image
        assert attention(model, batch[torch.tensor([1])]).items.shape[1] == 8
    own = scorer.score_own(model.embed(batch), torch.arange(1, 27).repeat(9, 1))
    torch.testing.assert_close(own, scorer.score(model.embed(batch), slice(1, 27)))


def test_what_has_no_id_is_scored_by_its_features(shop: Path) -> None:
    model = tiny_model(shop, history_bias=False).eval()
    batch = random_batch(model)
    with torch.no_grad():
        u = model.embed(batch)
    like = int(model.present.all(0).nonzero()[0])
    extend(model, {m: (getattr(model, f"features_{m}")[[like]], torch.tensor([True]))
                   for m in ("text", "image")})  # fmt: skip
    model.eval()
    tokens = model.all_candidates().tokens
    cosines = u @ tokens[:, [like]].transpose(1, 2)
    expected = model.fusion(cosines, torch.ones(2, 1, 1, dtype=torch.bool), [like], u) / 0.1
    torch.testing.assert_close(model.full_sort_predict(batch)[:, 25:], expected)


@pytest.mark.parametrize("model", MODELS)
def test_new_items_are_recommended_at_once(
    shop: Path, checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str], model: str
) -> None:
    path = checkpoint(model)
    bytes_before = path.read_bytes()
    before = Recommender.load(path).recommend([["i3", "i7"]], k=24)[0]
    text = new_features(shop, "text", {"new": "i9", "other": "i11"})
    image = new_features(shop, "image", {"new": "i9"})
    assert main(["add-items", str(path), f"--features={text},{image}"]) == 0
    said = capsys.readouterr().out
    assert said == f"{model}.items: 24 items of the training, 2 added, 0 removed\n"
    assert path.read_bytes() == bytes_before

    recommender = Recommender.load(path)
    assert recommender.catalogue.tokens[-2:].tolist() == ["new", "other"]
    (row,) = recommender.recommend([["i3", "i7"]], k=30)
    assert {"new", "other"} < set(row["items"]) and len(row["items"]) == 26
    kept = {item: score for item, score in zip(row["items"], row["scores"], strict=True)}
    for item, score in zip(before["items"], before["scores"], strict=True):
        assert kept[item] == pytest.approx(score, abs=1e-5)
    assert recommender.recommend([["new"]], k=3)[0]["fallback"] is None  # in a history, too
    ((nearest, *_),) = recommender.similar(recommender.catalogue.row("item", "new"), 3).items
    assert recommender.catalogue.tokens[nearest] == "i9" or model != "MISSRec"

    assert main(["remove-items", str(path), "--items=new,i3"]) == 0
    (row,) = Recommender.load(path).recommend([["i3", "i7"]], k=30)
    assert len(row["items"]) == 24 and not {"new", "i3"} & set(row["items"])
    assert row["unknown"] == 0 and row["scores"][0] in (pytest.approx(s) for s in kept.values())
    assert main(["add-items", str(path), "--removed=i3"]) == 0
    more = new_features(shop, "text", {"third": "i4"})
    assert main(["add-items", str(path), f"--features={more}"]) == 0
    assert capsys.readouterr().out.endswith(": 24 items of the training, 3 added, 1 removed\n")
    recommender = Recommender.load(path)
    assert recommender.catalogue.tokens[-3:].tolist() == ["new", "other", "third"]
    (row,) = recommender.recommend([["i3", "i7"]], k=30)
    assert set(row["items"]) == {*kept, "third"} - {"new"}


def test_what_a_new_item_lacks_is_made_as_in_the_training(shop: Path) -> None:
    words = tiny_words(shop, epochs=1, checkpoint_dir="saved", missing="ridge", map_features=True)
    assert main(words) == 0
    (path,) = Path("saved").glob("*.pth")
    text = new_features(shop, "text", {"new": "i3"})  # i3 has no picture either
    assert main(["add-items", str(path), f"--features={text}"]) == 0
    recommender = Recommender.load(path)
    model, new = recommender.scorer.model, recommender.catalogue.row("item", "new")
    twin = recommender.catalogue.row("item", "i3")
    assert model.present[:, new].all() and model.present[:, twin].all()
    for modality in ("text", "image"):
        features = getattr(model, f"features_{modality}")[torch.tensor([new, twin])]
        assert features.any(1).all()
        torch.testing.assert_close(features[0], features[1])


def test_texts_and_pictures_through_the_encoders_of_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write_tiny_shop(tmp_path / "shop")
    pictures = [Image.new("RGB", (9, 9), (10 * n, 255 - 10 * n, 90)) for n in range(24)]
    histogram = named("image", "colour, layout and edge histogram (SYNTHETIC)")
    loaded = histogram.load(torch.device("cpu"))
    rows = [row for _, row in loaded.encode(map(loaded.prepare, pictures))]
    path = shop / "tiny" / "tiny.image.safetensors"
    name = "colour, layout and edge histogram (SYNTHETIC)"
    write_features(path, [f"i{n}" for n in range(24)], np.concatenate(rows), name)
    assert main(tiny_words(shop, epochs=1, checkpoint_dir="saved", item_ids=False)) == 0
    (checkpoint,) = Path("saved").glob("*.pth")
    Path("new").mkdir()
    pictures[9].save("new/n9.png")
    Path("new/broken.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert main(["add-items", str(checkpoint), "--pictures=new"]) == 0
    assert " 1 added" in capsys.readouterr().out
    recommender = Recommender.load(checkpoint)
    rows_of = recommender.catalogue.rows(["n9", "i9"])
    (image,) = (p for n, p in zip(recommender.scorer.names, recommender.scorer.parts, strict=True)
                if n == "image")  # fmt: skip
    torch.testing.assert_close(image[rows_of[0]], image[rows_of[1]])
    assert main(["add-items", str(checkpoint), "--texts=new/t.tsv"]) == 2
    assert "new/t.tsv: cannot be read" in capsys.readouterr().err
    Path("new/t.tsv").write_text("item\ttext\nn10\tgreen tea\n")
    assert main(["add-items", str(checkpoint), "--texts=new/t.tsv"]) == 2
    assert "text: features of 'random text' cannot be made of single" in capsys.readouterr().err
    assert main(["add-items", str(checkpoint), "--pictures=nowhere"]) == 2
    assert "--pictures=nowhere: cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("modality", "made_by", "message"),
    [
        ("text", "MiniLM (all-MiniLM-L6-v2)", None),
        ("text", "MiniLM (all-MiniLM-L6-v2) (SYNTHETIC)", None),
        ("image", "EfficientNet-Lite0", None),
        ("text", "TF-IDF + truncated SVD of 1a2b3c4d", "cannot be made of single items"),
        ("image", "MiniLM (all-MiniLM-L6-v2)", "cannot be made of single items"),
        ("text", "bert /no/such/folder, mean", "--text-model /no/such/folder: "),
        ("text", "bert some, middle", "--text-pooling 'middle': no such pooling"),
        ("image", "vit /no/such/folder, cls (label)", "--image-model /no/such/folder: "),
        ("text", "clip ViT-B-33, tag", "ViT-B-33"),
    ],
)
def test_encoders_by_the_name_that_features_bear(
    modality: str, made_by: str, message: str | None
) -> None:
    if message is None:
        assert re.sub(r" \(SYNTHETIC\)$", "", made_by) == named(modality, made_by).name
        return
    with pytest.raises(UsageError, match=re.escape(message)):
        named(modality, made_by)


def test_bad_input(shop: Path, checkpoint: Callable[[str], Path], refused: Refused) -> None:
    path = checkpoint("MISSRec")
    there = new_features(shop, "text", {"i3": "i3"})
    for words, message in (
        ([], "add-items: give --features, --texts, --pictures or --removed"),
        ([f"--features={there}"], "add-items: i3 is in the catalogue; what was added keeps its ve"),
        (["--features=new.txt"], "new.txt: must be named NAME.MODALITY.safetensors; modality: "),
        (["--features=no.text.safetensors"], "no.text.safetensors: no such feature file"),
        ([f"--features={there},b.text.safetensors"], "b.text.safetensors: text is given twice; "),
        (["--texts=a.tsv", f"--features={there}"], "--texts=a.tsv: text is given twice"),
        (["--removed=i3"], "--removed=i3: is not among the removed items; none is"),
        (["--feature=a"], "--feature: add-items has no such option; did you mean 'features'?"),
    ):
        assert refused("add-items", path, *words).startswith(message)
    other = new_features(shop, "text", {"new": "i4"}, encoder="another")
    said = refused("add-items", path, f"--features={other}")
    assert said == f"{other}: of another, but the model reads random text"
    write_features("w.text.safetensors", ["new"], np.ones((1, 3), np.float32), "random text")
    said = refused("add-items", path, "--features=w.text.safetensors")
    assert said == "add-items: text features of 3 numbers; the model reads 7"
    for words, message in (
        ([], "remove-items: give one of --items=A,B and --file=FILE"),
        (["--items=i99"], "--items=i99: no such item; did you mean 'i9'?"),
        (["--items=" + ",".join(f"i{n}" for n in range(24))], "remove-items: no item would be le"),
        (["--file=none"], "none: cannot be read: No such file or directory"),
    ):
        assert refused("remove-items", path, *words).startswith(message)
    assert not Path("MISSRec.items").exists()


def test_an_overlay_of_another_catalogue(
    checkpoint: Callable[[str], Path], refused: Refused, shop: Path
) -> None:
    path = checkpoint("MISSRec")
    Path("MISSRec.items").write_bytes(path.read_bytes())
    said = refused("recommend", path, "--history=i3")
    assert said == "MISSRec.items: of another catalogue than MISSRec.pth"
    Path("MISSRec.items").write_bytes(b"no")
    assert refused("recommend", path, "--history=i3").startswith("MISSRec.items: damaged")


@pytest.mark.parametrize("command", ["add-items", "remove-items"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"{command} CHECKPOINT" in capsys.readouterr().out
