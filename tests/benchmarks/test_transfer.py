"""The study of transfer: a source and a target without a common item or user, and its runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.transfer import OPTIONS, main, plan, pretrain
from benchmarks.transfer_data import TARGET, films, halves
from recbole_missrec.data.features import read_features, write_features

ITEMS = {"p": TARGET, "q": TARGET, "r": f"{TARGET} Filament", "s": "Fasteners", "t": "Fasteners"}
EVENTS = [
    *[("a", item) for item in "pqrps"],  # four events in the target: the last one is left out
    *[("b", item) for item in "pqrst"],  # three: those are left out
    *[("c", item) for item in "stst"],
]


def write_scientific(folder: Path, users: int = 1) -> Path:
    """With as many copies of the users."""
    folder.mkdir(parents=True)
    rows = [
        f"{user}{copy}\t{item}\t{time}"
        for copy in range(users)
        for time, (user, item) in enumerate(EVENTS)
    ]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / "Scientific.inter").write_text("\n".join([header, *rows]) + "\n")
    texts = [f"{item}\tThing. Industrial & Scientific {kind}" for item, kind in ITEMS.items()]
    (folder / "Scientific.text.tsv").write_text("\n".join(["item_id\ttext", *texts]) + "\n")
    for modality, dim in (("text", 3), ("image", 2)):
        matrix = np.arange(5 * dim, dtype=np.float32).reshape(5, dim) % 7
        write_features(folder / f"Scientific.{modality}.safetensors", [*ITEMS], matrix, modality)
    return folder


def test_the_halves_share_neither_item_nor_user(tmp_path: Path) -> None:
    write_scientific(tmp_path / "Scientific")
    halves(tmp_path, tmp_path / "halves")
    found = {}
    for name in ("source", "target"):
        folder = tmp_path / "halves" / name
        lines = (folder / f"{name}.inter").read_text().splitlines()
        assert lines[0] == "user_id:token\titem_id:token\ttimestamp:float"
        found[name] = [tuple(line.split("\t")[:2]) for line in lines[1:]]
        items = [item for _, item in found[name]]
        for modality in ("text", "image"):
            file = read_features(folder / f"{name}.{modality}.safetensors")
            assert set(file.tokens) == set(items)
    assert found["target"] == [("a0", item) for item in "pqrp"]
    assert found["source"] == [("b0", "s"), ("b0", "t"), *(("c0", item) for item in "stst")]
    text = read_features(tmp_path / "halves" / "source" / "source.text.safetensors")
    assert text.tokens == ["s", "t"]
    assert text.matrix.tolist() == [[2, 3, 4], [5, 6, 0]]


@pytest.mark.slow  # a language model
def test_films_and_products_have_texts_of_one_encoder(tmp_path: Path) -> None:
    scientific = write_scientific(tmp_path / "Scientific")
    shutil.copytree(scientific, tmp_path / "ml-100k")
    for file in sorted((tmp_path / "ml-100k").iterdir()):
        file.rename(file.with_name(file.name.replace("Scientific", "ml-100k")))
    films(tmp_path, tmp_path / "made")
    written = [tmp_path / "made" / name / name for name in ("source", "target")]
    source, target = (read_features(path.with_suffix(".text.safetensors")) for path in written)
    assert source.tokens == target.tokens == [*ITEMS]
    assert source.encoder == target.encoder and "MiniLM" in source.encoder
    assert source.matrix.shape == (5, 384) and torch.equal(source.matrix, target.matrix)
    assert source.matrix.norm(dim=1).numpy() == pytest.approx(np.ones(5), abs=1e-5)
    events = (scientific / "Scientific.inter").read_text()
    assert {path.with_suffix(".inter").read_text() for path in written} == {events}
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["source", "target"]
    options = OPTIONS["ml-100k"][1] | {"data_path": str(tmp_path / "made")}
    (tmp_path / "x.pth").touch()
    sasrec, *others = plan(1, tmp_path / "x.pth", options, ["scratch", "full"], [1.0])
    assert sasrec.model == "SASRec" and "modalities" not in dict(sasrec.options)
    assert {dict(run.options)["modalities"] for run in others} == {"[text]"}
    assert not any("MAX_ITEM_LIST_LENGTH" in dict(run.options) for run in others)
    assert len(others) == 5  # two ways with ids and without, and zero-shot


@pytest.mark.slow  # two pre-trainings
def test_a_pre_training_is_kept_for_its_options(tmp_path: Path) -> None:
    write_scientific(tmp_path / "Scientific", users=20)
    halves(tmp_path, tmp_path / "halves")
    options = {"data_path": str(tmp_path / "halves")}
    found = [pretrain(tmp_path, 7, options | {"epochs": epochs}, 1) for epochs in "121"]
    assert found[0] == found[2] != found[1]
    assert len(list(tmp_path.glob("pretrained-7-*/*.pth"))) == 2
    epochs = [json.loads((path.parent / "result.json").read_text())["epochs"] for path in found]
    assert epochs == [1, 2, 1]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--ways=scratch,adapter", "no way 'adapter'; did you mean 'adapters'?"),
        ("--ways=full,full", "must be different names with commas between"),
        ("--shares=1,0", "must be numbers above 0 and at most 1, like 1,0.3,0.1"),
        ("--shares=1.5", "must be numbers above 0 and at most 1, like 1,0.3,0.1"),
        ("--shares=nan", "must be numbers above 0 and at most 1, like 1,0.3,0.1"),
        ("--shares=half", "must be numbers above 0 and at most 1, like 1,0.3,0.1"),
    ],
)
def test_wrong_words_are_found_before_the_pre_training(
    word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, f"--folder={tmp_path}", f"--data_path={tmp_path}"]) == 2
    assert capsys.readouterr().err == f"{word}: {message}\n"
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_pre_training_without_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--pretraining", "interest_ratio"])
    assert "'interest_ratio' is not like train_batch_size=512" in capsys.readouterr().err


@pytest.mark.slow  # seven runs
def test_every_row_has_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_scientific(tmp_path / "dataset" / "Scientific", users=20)
    words = ["--seeds=2020", "--epochs=1", "--threads=1", "--out=figures.json"]
    words += ["--pretraining", "interest_ratio=0.5"]
    assert main([*words, "--ways=scratch,adapters", "--shares=0.5"]) == 0
    figures = json.loads(Path("figures.json").read_text())
    (result,) = Path("runs/transfer/category").glob("pretrained-2020-*/result.json")
    assert json.loads(result.read_text())["config"]["interest_ratio"] == 0.5
    assert figures["pretraining"] == {"interest_ratio": "0.5"}
    found = figures["rows"]
    assert [row["row"] for row in found] == [
        "SASRec",
        "scratch, with ids, 50%",
        "adapters, with ids, 50%",
        "zero-shot, without ids, 100%",
        "scratch, without ids, 50%",
        "adapters, without ids, 50%",
    ]
    assert all(0 <= row["R@10"] <= 1 for row in found)
    of = {row["row"]: row for row in found}
    assert [row["row"] for row in found if "p" in row] == [  # of all users there is no scratch
        "adapters, with ids, 50%",
        "adapters, without ids, 50%",
    ]
    for ids in ("with ids", "without ids"):
        tuned, scratch = (of[f"{way}, {ids}, 50%"] for way in ("adapters", "scratch"))
        assert tuned["over scratch"] == pytest.approx(tuned["N@10"] - scratch["N@10"])
    shares = [row["trainable"] for row in found]
    assert shares[3] == 0 < shares[5] < shares[4] < shares[1]
