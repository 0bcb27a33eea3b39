"""The stress tests: what they change is what they say, and a small run writes its tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from recbole.data.interaction import Interaction

from benchmarks.stress.__main__ import main
from benchmarks.stress.altered import alter, lacking, stand_ins, without
from benchmarks.stress.calibration import gains
from benchmarks.stress.cold import cold_rows
from benchmarks.stress.data import (
    cold_split,
    first_sentences,
    held_back,
    source,
    texts_of,
    with_sentences,
    without_features,
)
from benchmarks.stress.fusion import _sharpness, qualities, weights
from benchmarks.stress.trained import Trained, kept_interval, noise
from benchmarks.stress.trainings import DRAWS, RAISED
from benchmarks.stress.trainings import lacking as trainings_lacking
from recbole_missrec.cli import main as train
from recbole_missrec.comparison.plan import Run
from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.evaluation.per_user import write_per_user
from tests.model.test_against_reference import build, oracle_arguments, random_batch
from tests.reference import missrec as reference
from tests.shops import tiny_words, write_tiny_shop

ITEMS, PRESENT = 40, torch.ones(2, 40, dtype=torch.bool)


def features() -> dict[str, torch.Tensor]:
    """Images are twice the texts."""
    text = torch.randn(ITEMS, 3, generator=torch.Generator().manual_seed(4))
    return {"text": text, "image": 2 * text}


def test_a_share_of_the_items_is_drawn() -> None:
    counts, eligible = torch.arange(10), torch.arange(10) > 1
    generator = torch.Generator().manual_seed(0)
    rarest = lacking(counts, eligible, 0.5, "popularity", generator)
    assert rarest.nonzero()[:, 0].tolist() == [2, 3, 4, 5]
    drawn = lacking(counts, eligible, 0.5, "random", generator)
    assert drawn.sum() == 4
    assert not drawn[:2].any()
    assert not torch.equal(drawn, rarest)


def test_what_stands_in_is_never_learned_from_the_item_itself() -> None:
    plain, changed = features(), features()
    made, filled = stand_ins(plain, PRESENT, "image", "ridge", torch.zeros(3))
    assert filled.all()
    assert (made - plain["image"]).abs().max() < 0.5  # the function is found
    changed["image"][7] += 100  # would be seen in what item 7 is given, were it learned from
    again, _ = stand_ins(changed, PRESENT, "image", "ridge", torch.zeros(3))
    assert torch.equal(again[7], made[7])
    assert not torch.equal(again, made)  # but others have learned from it


def test_only_the_drawn_items_change() -> None:
    plain, zero = features(), torch.full((3,), -5.0)
    items = torch.arange(ITEMS) < 10
    for how, value, there in (("mask", 0.0, False), ("zero", -5.0, True), ("mean", None, True)):
        instead = stand_ins(plain, PRESENT, "image", how, zero)
        changed, present = without(plain, PRESENT, "image", items, instead)
        assert torch.equal(changed["text"], plain["text"])
        assert torch.equal(changed["image"][~items], plain["image"][~items])
        assert present[0].all()
        assert present[1].tolist() == [there or item >= 10 for item in range(ITEMS)]
        if value is not None:
            assert (changed["image"][items] == value).all()


@pytest.mark.parametrize("fusion", ["add", "contextual"])
def test_scores_without_a_modality_are_those_of_the_formulas(tmp_path: Path, fusion: str) -> None:
    model, dataset = build(write_tiny_shop(tmp_path), seq_mm_fusion=fusion)
    model = model.double().eval()
    model.discover_interests(0)
    ids = (model.interest_ids + 1) % len(model.centroids[:-1])  # not the nearest ones
    model.interest_ids = ids = torch.where(model.present.T, ids, model.interest_ids)
    sequences, lengths, _ = random_batch(model.n_items, torch.Generator().manual_seed(1))
    batch = Interaction({"item_id_list": sequences, "item_length": lengths})
    whole = model.full_sort_predict(batch)
    plain, present = {m: getattr(model, f"features_{m}") for m in model.modalities}, model.present
    alter(model, plain, present & torch.tensor([[True], [False]]))
    arguments = oracle_arguments(model, dataset) | {"item_seq": sequences, "lengths": lengths}
    arguments["present"]["image"] = torch.zeros(model.n_items, dtype=torch.bool)
    found = model.full_sort_predict(batch)
    torch.testing.assert_close(found, reference.scores(**arguments))
    assert not torch.equal(found, whole)
    alter(model, plain, present, ids)
    torch.testing.assert_close(model.full_sort_predict(batch), whole)


@pytest.mark.slow  # a training
def test_features_of_zero_and_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero is that of the data set's items; what is another item's is no neighbour's."""
    monkeypatch.chdir(tmp_path)
    write_tiny_shop(tmp_path)
    path = tmp_path / "tiny" / "tiny.text.safetensors"
    file = read_features(path)
    own = file.matrix.double()
    foreign = 5 + torch.rand(60, own.shape[1], generator=torch.Generator().manual_seed(1))
    tokens = [*file.tokens, *(f"x{number}" for number in range(60))]
    write_features(path, tokens, torch.cat([file.matrix.float(), foreign]).numpy(), file.encoder)
    assert train(tiny_words(tmp_path, epochs=1, checkpoint_dir="saved")) == 0
    (checkpoint,) = Path("saved").glob("*.pth")
    model = Trained(checkpoint)
    expected = (-own.mean(0) / own.std(0)).float()
    torch.testing.assert_close(model.zero("text"), expected, rtol=1e-4, atol=1e-4)

    seen = []

    def note(features: dict[str, torch.Tensor], present: torch.Tensor) -> dict[str, float]:
        seen.append(features["text"])
        return {}

    monkeypatch.setattr(model, "altered", note)
    rows = [row for row in noise(model) if row["on"] == "text"]
    of_text = dict(zip([(row["noise"], row["amount"]) for row in rows], seen, strict=False))
    wrong, plain = of_text["another item's", 1.0], model.features["text"]
    there = model.present[0]
    assert torch.equal(wrong[~there], plain[~there])
    assert torch.equal(wrong[there].unique(dim=0), plain[there].unique(dim=0))
    neighbours = plain[there].roll(1, 0)
    assert (wrong[there] == neighbours).all(1).float().mean() < 0.5


def test_half_of_the_features_are_left_out(tmp_path: Path) -> None:
    whole = source(write_tiny_shop(tmp_path), "tiny")
    made = without_features(whole, "image", 0.5, 3, tmp_path / "half") / "tiny"
    before = read_features(whole.features("image"))
    after = read_features(made / "tiny.image.safetensors")
    assert len(after.tokens) == len(before.tokens) - round(len(before.tokens) / 2)
    assert set(after.tokens) < set(before.tokens)
    for same in ("tiny.inter", "tiny.text.safetensors"):
        assert (made / same).read_bytes() == (whole.folder / same).read_bytes()


def in_seconds(shop: Path) -> Path:
    """The shop with its events a second apart in 1998, the latest first in the file."""
    file = shop / "tiny" / "tiny.inter"
    events = pd.read_csv(file, sep="\t")
    events["timestamp:float"] = 889_181_247 + events.groupby("user_id:token").cumcount()
    events[::-1].to_csv(file, sep="\t", index=False)
    return shop


def test_cold_items_stand_nowhere_but_last(tmp_path: Path) -> None:
    shop = in_seconds(write_tiny_shop(tmp_path))
    made = cold_split(source(shop, "tiny"), 1, tmp_path / "cold") / "tiny"
    cold = (made / "cold.txt").read_text().split()
    assert len(cold) == 5  # a fifth of 24
    events = pd.read_csv(made / "tiny.inter", sep="\t")
    events.columns = pd.Index(["user", "item", "time"])
    events["time"] = events["time"].astype("float32")  # as RecBole keeps it
    ordered = events.sort_values("time", kind="stable")
    last = ordered.groupby("user").tail(1).index
    assert set(events.index[events["item"].isin(cold)]) <= set(last)
    assert events["item"].isin(cold).any()
    assert (events["user"].value_counts() >= 4).all()
    assert len((made / "tiny.item").read_text().split()) == 25  # the head, and every item


def test_the_last_event_of_each_user_is_held_back(tmp_path: Path) -> None:
    shop = in_seconds(write_tiny_shop(tmp_path))
    whole = source(shop, "tiny")
    made = held_back(whole, tmp_path / "before") / "tiny"
    before = pd.read_csv(shop / "tiny" / "tiny.inter", sep="\t")
    after = pd.read_csv(made / "tiny.inter", sep="\t")
    user, _, time = before.columns
    before[time] -= 889_181_247  # places in the history
    last = before.sort_values(time, kind="stable").groupby(user).tail(1).index
    pd.testing.assert_frame_equal(after, before.drop(index=last).reset_index(drop=True))
    for modality in ("text", "image"):
        name = f"tiny.{modality}.safetensors"
        assert (made / name).read_bytes() == (shop / "tiny" / name).read_bytes()


def test_a_shift_is_chosen_on_validation() -> None:
    # items 1 and 2 have a text alone, 3 a picture alone, 0 is padding, 4 has both
    alone = {"text": torch.tensor([0, 1, 1, 0, 0]) > 0, "image": torch.tensor([0, 0, 0, 1, 0]) > 0}
    scores = torch.tensor([[-torch.inf, 1.0, 0.5, 0.2, 1.4], [-torch.inf, 0.9, 0.1, 0.6, 1.2]])
    found = gains((scores, torch.tensor([1, 1])), (scores, torch.tensor([2, 4])), alone)
    # half a point puts item 1 over item 4 in both rows of validation; a larger one does no more
    assert found["shifts"] == {"text": 0.5, "image": 0.0}
    assert found["N@10 on validation"] == pytest.approx([1 / np.log2(3), 1.0])
    # test ranks: 3 and 1 as they are; shifted 3 (1.5, 1.4, 1.0) and 2 (1.4, 1.2)
    assert found["N@10"] == pytest.approx([(0.5 + 1) / 2, (0.5 + 1 / np.log2(3)) / 2])
    assert found["R@10"] == [1.0, 1.0]
    assert (found["shown"], found["sought"]) == (pytest.approx(3 / 5), 0.5)


def cold_run(folder: Path, label: str, ranks: dict[str, int]) -> Run:
    """A run on the same targets, of which item c is cold, at the ranks of the targets a, b, c."""
    run = Run(label, "MISSRec", "shop", 7, (), (("data_path", str(folder)),), label)
    (folder / f"{run.digest}.json").write_text("{}")
    columns: dict[str, Any] = {"user": ["u", "v", "w"], "target": [*"abc"], "score": [0.0] * 3}
    columns |= {"better": torch.tensor([ranks[item] - 1 for item in "abc"])}
    columns |= {
        name: torch.zeros(3, dtype=torch.long) for name in ("equal", "length", "popularity")
    }
    columns |= {"modalities": ["text"] * 3, "category": [None] * 3}
    path = folder / f"{run.digest}.parquet"
    write_per_user(path, columns, model=run.model, dataset="shop", seed=7)
    return run


def test_cold_targets_are_compared_with_the_neighbour_of_the_same_features(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "cold.txt").write_text("c\n")
    ranks = {
        "inductive": {"a": 1, "b": 99, "c": 1},
        "nearest neighbour": {"a": 99, "b": 99, "c": 99},
        "inductive, texts by MiniLM": {"a": 1, "b": 1, "c": 99},
        "nearest neighbour, texts by MiniLM": {"a": 99, "b": 99, "c": 1},
    }
    runs = [
        cold_run(tmp_path, f"{label}, draw {draw}", values)
        for label, values in ranks.items()
        for draw in DRAWS
    ]
    found = {(row["model"], row["targets"]): row for row in cold_rows(runs, tmp_path)}
    assert len(found) == 8
    assert found["inductive", "cold"]["R@10 over"][0] == 1.0
    assert found["inductive", "warm"]["R@10"] == found["inductive", "warm"]["R@10 over"][0] == 0.5
    assert found["inductive, texts by MiniLM", "cold"]["R@10 over"][0] == -1.0
    assert found["inductive, texts by MiniLM", "warm"]["R@10 over"][0] == 1.0
    assert "R@10 over" not in found["nearest neighbour, texts by MiniLM", "cold"]
    assert found["inductive", "cold"]["by draw"] == [1, 1, 1]
    bias = RAISED["inductive"][1]
    for run in runs[:3]:  # ranked again with new items raised
        again = cold_run(tmp_path, f"{run.digest}.raised-{bias:g}", {"a": 2, "b": 99, "c": 2})
        assert (tmp_path / f"{again.digest}.parquet").is_file()
    both = {(row["model"], row["targets"]): row for row in cold_rows(runs, tmp_path)}
    assert len(both) == 10
    assert both["inductive", "cold"] == found["inductive", "cold"]
    added = both["inductive with new items raised", "cold"]
    assert (added["R@10"], added["N@10"]) == (1.0, pytest.approx(1 / np.log2(3)))
    (tmp_path / f"{runs[0].digest}.json").unlink()
    left = {row["model"] for row in cold_rows(runs, tmp_path)}  # one run is not done
    assert left == {name for name, _ in found if name != "inductive"}  # raised neither
    (tmp_path / f"{runs[3].digest}.json").unlink()  # of the nearest neighbour
    left = {row["model"] for row in cold_rows(runs, tmp_path)}
    assert left == {"inductive, texts by MiniLM", "nearest neighbour, texts by MiniLM"}


def test_quarters_of_words_and_of_sharpness(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = [f"{item}\t{'word ' * count}" for item, count in zip("abcd", (9, 1, 5, 3), strict=True)]
    (folder / "shop.text.tsv").write_text("\n".join(["item_id\ttext", *lines]) + "\n")
    for size, step in ((200, 0), (64, 1), (64, 2), (64, 4)):  # the more stripes, the more edges
        stripes = np.tile((np.arange(size) * step // 8 % 2 * 255).astype(np.uint8), (size, 1))
        Image.fromarray(255 - stripes).save(folder / f"{step}.png")
    files = ["a\t4.png", "b\t0.png", f"c\t{folder / '1.png'}", "d\t2.png"]
    (folder / "shop.pictures.tsv").write_text("\n".join(["item_id\tfile", *files]) + "\n")
    options = (("data_path", str(tmp_path)),)
    found = qualities(Run("x", "MISSRec", "shop", 0, (), options, "digest"))
    assert found["words"].to_dict() == {"a": "most", "b": "least", "c": "more", "d": "less"}
    assert found["sharpness"].to_dict() == {"a": "most", "b": "least", "c": "less", "d": "more"}
    (folder / "shop.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n")
    whole = source(tmp_path, "shop")
    without_features(whole, "text", 0.5, 0, tmp_path / "half")  # paths still lead there
    options = (("data_path", str(tmp_path / "half")),)
    again = qualities(Run("x", "MISSRec", "shop", 0, (), options, "digest"))
    assert again["sharpness"].equals(found["sharpness"]) and again["words"].equals(found["words"])
    (tmp_path / "half" / "shop" / "shop.pictures.tsv").write_text(
        f"item_id\tfile\na\t{folder / '0.png'}\nb\t{folder / '0.png'}\nc\tgone.png\n"
    )
    blank = qualities(Run("x", "MISSRec", "shop", 0, (), options, "digest"))["sharpness"]
    assert blank.to_dict() == {"a": "more", "b": "more"}  # level, in the middle
    assert _sharpness(folder / "0.png") == 0.0
    (tmp_path / "half" / "shop" / "shop.pictures.tsv").unlink()
    assert list(qualities(Run("x", "MISSRec", "shop", 0, (), options, "digest"))) == ["words"]


def test_both_models_are_trained_where_items_lack_a_modality(tmp_path: Path) -> None:
    shop, made = write_tiny_shop(tmp_path), tmp_path / "made"
    runs = {run.label: run for run in trainings_lacking(shop, "tiny", 1, 2, made)}
    assert len(runs) == len({run.digest for run in runs.values()}) == 14
    unisrec = [run for run in runs.values() if run.model == "UniSRec"]
    options = [(run.label, dict(run.options)) for run in unisrec]
    half_image, half_text = str(made / "half-image-1"), str(made / "half-text-1")
    assert [(label, given["modalities"], given["data_path"]) for label, given in options] == [
        ("50% lack image: UniSRec-MM", "[text, image]", half_image),
        ("100% lack image: UniSRec", "[text]", str(shop)),
        ("50% lack text: UniSRec-MM", "[text, image]", half_text),
        ("100% lack text: UniSRec", "[image]", str(shop)),
    ]
    assert all(dict(run.options)["item_ids"] == "False" for run in runs.values())
    whole = read_features(shop / "tiny" / "tiny.image.safetensors").tokens
    half = read_features(Path(half_image) / "tiny" / "tiny.image.safetensors").tokens
    assert len(half) == len(whole) - round(len(whole) / 2)


@pytest.mark.slow  # a language model, twice
def test_of_cold_items_the_first_sentence_alone(tmp_path: Path) -> None:
    whole = source(write_tiny_shop(tmp_path), "tiny")
    items = read_features(whole.features("text")).tokens
    texts = [f"{item}\tBlue {item} jar. Kitchen. Brand" for item in items]
    assert first_sentences(whole) == {}
    texts_of(whole).write_text("\n".join(["item_id\ttext", *texts]) + "\n")
    assert first_sentences(whole) == {item: f"Blue {item} jar" for item in items}
    split = cold_split(whole, 0, tmp_path / "cold")
    made = {
        alone: with_sentences(whole, split, alone, tmp_path / f"sentence-{alone}") / "tiny"
        for alone in (False, True)
    }
    cold = (made[True] / "cold.txt").read_text().split()
    full, short = (read_features(made[a] / "tiny.text.safetensors") for a in (False, True))
    assert full.tokens == short.tokens == items and "MiniLM" in full.encoder
    same = (full.matrix - short.matrix).abs().amax(1) < 1e-5
    assert same.tolist() == [item not in cold for item in items]
    pictures = [read_features(folder / "tiny.image.safetensors").tokens for folder in made.values()]
    assert pictures[1] == [item for item in pictures[0] if item not in cold] != pictures[0]
    for name in ("tiny.inter", "tiny.item", "cold.txt"):
        assert (made[True] / name).read_bytes() == (split / "tiny" / name).read_bytes()


def test_the_interval_of_a_share_is_of_the_same_users() -> None:
    hits = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    assert kept_interval(hits, hits) == (1, 1)
    assert kept_interval(hits / 2, hits) == (0.5, 0.5)
    assert kept_interval(0 * hits, hits) == (0, 0)
    low, high = kept_interval(np.repeat([0.0, 1.0], 200), np.ones(400))
    assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.01)
    assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.01)


def whole_of(row: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """R@10 of the same model with everything."""
    (whole,) = (r for r in rows if r.get("whole") and r["model"] == row["model"])
    return whole["R@10"]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop, folder = write_tiny_shop(tmp_path), tmp_path / "stress"
    words = [
        "--dataset=tiny", f"--data_path={shop}", f"--folder={folder}", "--seeds=1", "--epochs=1",
        "--parts=whole,cold,fusion", "--threads=1",
    ]  # fmt: skip
    few = [*words, "--only=without ids"]
    assert main(few) == 0
    result = json.loads((folder / "tiny.json").read_text())
    rows = [row for row in result["whole"] if row["condition"] == "completeness"]
    assert {row["model"] for row in rows} >= {"MISSRec without ids", "UniSRec-MM without ids"}
    nothing = [row for row in rows if row.get("share") == 1.0 and row["strategy"] == "mask"]
    assert {row["lacking"] for row in nothing} == {"text", "image"}
    assert all(row["low"] <= row["R@10"] / whole_of(row, rows) <= row["high"] for row in rows)
    for model in {row["model"] for row in rows}:
        bins = [row for row in result["whole"] if row["condition"] == "popularity"]
        bins = [row for row in bins if row["model"] == model]
        assert sum(row["users"] for row in bins) == 30
        total = sum(row["users"] * row["mean"] for row in bins) / 30
        assert total == pytest.approx(whole_of({"model": model}, rows))
    assert "inductive, draw 0, seed 1" in result["left"]["cold"]
    page = (folder / "tiny.md").read_text()
    assert "No item has text" in page and "by the training interactions of the target" in page
    assert "<h1>Stress tests</h1>" in (folder / "tiny.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.pth")}
    assert main(few) == 0  # nothing is trained again
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.pth")} == before
    assert main([*words, "--parts=fusion", "--only=static|instance"]) == 0
    again = json.loads((folder / "tiny.json").read_text())
    assert (again["whole"], again["cold"]) == (result["whole"], result["cold"])  # told before
    static, each = again["fusion"]
    assert (static["fusion"], each["fusion"]) == ("static", "dynamic_instance")
    (found,) = static["weights"]
    assert found["mean"] == 0.5 and found["between users"] == 0
    assert (found["of users"], found["alpha by what the item has"]) == ([0.5] * 3, {})
    alphas = each["weights"][0]["alpha by what the item has"]
    assert alphas.keys() == {"all", "text alone", "image alone"}
    assert alphas["all"] != 0 == alphas["text alone"]  # of one modality, nothing teaches alpha
    (kept,) = (
        path for path in folder.glob("*.weights.json") if '"alpha": 0.0,' not in path.read_text()
    )
    quarters = pd.Series({f"i{n}": "least" if n < 12 else "most" for n in range(24)})
    by_quarter = weights({"words": quarters}, kept.with_name(kept.name.split(".")[0] + ".pth"))
    assert by_quarter["by quarter"]["words"].keys() == {"least", "most"}
    low, high = sorted(by_quarter["by quarter"]["words"].values())
    assert low < by_quarter["mean"] < high
    assert list(static["R@10"]) == ["what the target has"]  # neither texts nor pictures to look at
    for row in (static, each):
        (found,) = row["calibration"]
        plain, shifted = found["N@10 on validation"]
        assert plain <= shifted
        assert found["shifts"].keys() == {"text", "image"}
        assert 0 < found["sought"] < 1
    page = (folder / "tiny.md").read_text()
    assert "R@10 by what the target has" in page and "shifts of text alone" in page
    assert "alpha, image alone" in page and "95% of users" in page
    assert main([*words, "--parts=unseen"]) == 0
    raised = pd.DataFrame(json.loads((folder / "tiny.json").read_text())["unseen"])
    assert raised["model"].unique().tolist() == ["inductive, held back", "transductive, held back"]
    for _, each in raised.groupby("model"):
        assert each["bias"].tolist() == [step / 100 for step in range(11)]
        assert each["new"].is_monotonic_increasing and each["others"].is_monotonic_decreasing
        of_new = [new / every for new, every in each["rows"]]
        each["mean"] = each["new"] * of_new + each["others"] * (1 - np.array(of_new))
        assert each["mean"].tolist() == pytest.approx(each["all"].tolist())
    assert "New items raised" in (folder / "tiny.md").read_text()
    for text, reason in (("[", "damaged"), ('{"whole": {}}', "of another layout")):
        (folder / "tiny.json").write_text(text)
        assert main(few) == 2  # before anything is trained
        assert f"tiny.json: {reason}" in capsys.readouterr().err
    assert main([*words, "--parts=warm"]) == 2
    assert "no part 'warm'" in capsys.readouterr().err
    assert main([*words, "--only=["]) == 2
    assert "--only=[: no regular expression: " in capsys.readouterr().err
