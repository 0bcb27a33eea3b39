"""Checkpoints, features and options of others are data: no code of theirs runs."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from recbole_missrec.cli import main
from recbole_missrec.config import Config
from recbole_missrec.data.features import read_features
from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.trainer.checkpoint import FORMAT, load_checkpoint, save_checkpoint
from tests.shops import tiny_words

Refused = Callable[..., str]
MARK = Path("mark")  # what code of a file would make, in the folder of the test
CODE = "__import__('os').system('touch mark')"
DAMAGED = "damaged, or not a checkpoint of recbole-missrec"


class Call:
    """What pickles to a call that makes ``MARK``."""

    def __reduce__(self) -> Any:
        return os.system, ("touch mark",)


def zipped(path: Path, content: dict[Any, Any]) -> None:
    torch.save({"format": FORMAT, **content}, path)


def legacy(path: Path, content: dict[Any, Any]) -> None:
    torch.save({"format": FORMAT, **content}, path, _use_new_zipfile_serialization=False)


def bare(path: Path, content: dict[Any, Any]) -> None:
    path.write_bytes(pickle.dumps({"format": FORMAT, **content}))


def deflated(path: Path, content: dict[Any, Any]) -> None:
    """A zip file whose entries are packed, as a bomb would be; torch packs nothing."""
    zipped(path, content)
    with zipfile.ZipFile(path) as whole:
        entries = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)


def test_the_call_would_work() -> None:
    pickle.loads(pickle.dumps({"a": Call()}))
    assert MARK.exists()


@pytest.mark.parametrize("write", [zipped, legacy, bare, deflated])
@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "evil.pth"],
        ["recommend", "evil.pth", "--history=i3"],
        ["map", "evil.pth"],
        ["export", "evil.pth", "--out=exported"],
        ["add-items", "evil.pth", "--removed=i3"],
        ["--resume=evil.pth"],
    ],
    ids=lambda words: words[0].strip("-"),
)
def test_a_checkpoint_that_calls_is_refused(
    refused: Refused, trained: Path, write: Callable[..., None], words: list[str]
) -> None:
    whole: dict[Any, Any] = load_checkpoint(trained / "model.resume")
    for content in (
        whole | {"config": {**whole["config"], "seed": Call()}},
        whole | {"state_dict": {**whole["state_dict"], "added": Call()}},
        {Call(): 1, **whole},
    ):
        write(Path("evil.pth"), content)
        assert refused(*words) == f"evil.pth: {DAMAGED}"
        assert not MARK.exists()


def test_a_pretrained_checkpoint_that_calls_is_refused(refused: Refused, shop: Path) -> None:
    zipped(Path("evil.pth"), {"model": "MISSRec", "config": Call()})
    assert refused(*tiny_words(shop, pretrained="evil.pth")) == f"evil.pth: {DAMAGED}"
    assert not MARK.exists()


def test_an_overlay_that_calls_is_refused(refused: Refused, trained: Path) -> None:
    shutil.copy(trained / "model.pth", "model.pth")
    data = load_checkpoint("model.pth")["data"]
    zipped(Path("model.items"), {"data": data, "tokens": [Call()]})
    assert refused("recommend", "model.pth", "--history=i3") == f"model.items: {DAMAGED}"
    assert not MARK.exists()


def test_features_that_call_are_refused(refused: Refused, shop: Path) -> None:
    path = Path(shutil.copytree(shop, "shop"), "tiny/tiny.text.safetensors")
    for write in (zipped, legacy, bare):
        write(path, {"features": Call()})
        message = refused(*tiny_words(Path("shop")))
        assert message.startswith(f"{path}: truncated, or not a safetensors file (")
    assert not MARK.exists()


@pytest.mark.parametrize("model", ["MISSRec", "SASRec"])
def test_recboles_caches_are_not_unpickled(shop: Path, model: str) -> None:
    """RecBole reads files of these names from the folder of checkpoints, if they are there."""
    for name in (f"tiny-for-{model}-dataloader.pth", "tiny-SequentialDataset.pth"):
        bare(Path(name), {"data": Call()})
    assert main(tiny_words(shop, model, epochs=1, checkpoint_dir=".")) == 0
    assert not MARK.exists()


@pytest.mark.parametrize("option", ["dataset_save_path", "dataloaders_save_path"])
def test_recboles_caches_are_refused(refused: Refused, shop: Path, option: str) -> None:
    bare(Path("cache.pth"), {"data": Call()})
    message = refused(*tiny_words(shop, **{option: "cache.pth"}))
    assert message == f"--{option}=cache.pth: a pickle, whose code would run; leave it out"
    assert not MARK.exists()


def test_a_type_of_a_parquet_file_is_not_unpickled() -> None:
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type"}
    extension[b"ARROW:extension:metadata"] = pickle.dumps(Call())
    schema = pa.schema([pa.field("user", pa.string(), metadata=extension)])
    parquet.write_table(pa.table({"user": ["u1"]}, schema=schema), "users.parquet")
    with pytest.raises(UsageError, match="users.parquet: no column target"):
        read_per_user("users.parquet")
    assert not MARK.exists()


# --- checkpoints of which something is missing or wrong ------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "its model is NoneType, not str"),
        ({"config": [1]}, "its config is list, not dict"),
        ({"data": "x"}, "its data is str, not dict"),
        ({"state_dict": {"a": 1}}, "its a is int, not Tensor"),
        ({"state_dict": {1: torch.ones(2)}}, "of a model of other options: "),
        ({"epoch": "last"}, "its epoch is str, not int"),
        ({"other_parameter": {"forward": 1}}, "other_parameter is not of MISSRec"),
        ({"other_parameter": torch.ones(2)}, "other_parameter is not of MISSRec"),
        ({"interest_ids": 99}, "interest_ids without a centroid"),
        ({"interest_ids": -1}, "interest_ids without a centroid"),
    ],
    ids=str,
)
def test_a_changed_checkpoint(
    refused: Refused, trained: Path, change: dict[str, Any], message: str
) -> None:
    content = load_checkpoint(trained / "model.pth")
    if "interest_ids" in change:
        content["state_dict"]["interest_ids"][3, 0] = change.pop("interest_ids")
    save_checkpoint("changed.pth", content | change)
    assert refused("evaluate", "changed.pth").startswith("changed.pth: ")
    assert message in refused("evaluate", "changed.pth")


@pytest.mark.parametrize("key", ["model", "config", "state_dict", "epoch"])
def test_a_checkpoint_that_lacks_something(refused: Refused, trained: Path, key: str) -> None:
    content = load_checkpoint(trained / "model.pth")
    del content[key]
    save_checkpoint("lacks.pth", content)
    assert refused("evaluate", "lacks.pth") == f"lacks.pth: damaged: it has no {key}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": None}, "changed.resume: damaged: its epoch is NoneType, not int"),
        ({"optimizer": {}}, "--resume=changed.resume: damaged: KeyError: "),
        ({"random": [{}]}, "--resume=changed.resume: damaged: KeyError: "),
        ({"average": {"steps": 1}}, "--resume=changed.resume: damaged: KeyError: "),
        ({"shuffle": torch.ones(3)}, "--resume=changed.resume: damaged: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_changed_state_of_a_run(
    refused: Refused, trained: Path, change: dict[str, Any], message: str
) -> None:
    save_checkpoint("changed.resume", load_checkpoint(trained / "model.resume") | change)
    assert refused("--resume=changed.resume").startswith(message)


def one_row(dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of one added item that has them."""
    return torch.ones(1, dim), torch.tensor([True])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": "new"}, "damaged: its tokens is str, not list"),
        ({"tokens": [1]}, "damaged: its items and their features do not fit together"),
        ({"tokens": ["new", "newer"]}, "damaged: its items and their features do not fit together"),
        ({"blocks": {"text": 1}}, "damaged: its items and their features do not fit together"),
        (
            {"blocks": {"text": (torch.ones(1), torch.ones(1, dtype=torch.bool))}},
            "damaged: its items and their features do not fit together",
        ),
        (
            {"blocks": {"text": one_row(7), "image": one_row(6)}},
            "damaged: its features (text 7, image 6) are not as those of the checkpoint",
        ),
        (
            {"blocks": {"text": one_row(7)}},
            "damaged: its features (text 7) are not as those of the checkpoint",
        ),
        (
            {"blocks": {"text": one_row(7), "sound": one_row(5)}},
            "damaged: its features (text 7, sound 5) are not as those of the checkpoint",
        ),
        ({"blocks": {}}, "damaged: its features (none) are not as those of the checkpoint"),
    ],
    ids=str,
)
def test_a_changed_overlay(
    refused: Refused, trained: Path, change: dict[str, Any], message: str
) -> None:
    shutil.copy(trained / "model.pth", "model.pth")
    blocks = {"text": one_row(7), "image": one_row(5)}
    overlay = {"tokens": ["new"], "blocks": blocks, "texts": [""], "removed": []}
    data = {"data": load_checkpoint("model.pth")["data"]}
    save_checkpoint("model.items", data | overlay)
    assert main(["recommend", "model.pth", "--history=new"]) == 0
    save_checkpoint("model.items", data | overlay | change)
    assert refused("recommend", "model.pth", "--history=new") == f"model.items: {message}"


# --- safetensors ---------------------------------------------------------------------------------


def tensor(dtype: str = "F32", shape: Any = (1, 2), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"features": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (tensor(), 2**63),
        (tensor(), 2**40),
        (tensor(), 10**8 + 1),
        (tensor(), 3),
        ("not JSON", None),
        ([1, 2], None),
        ({}, None),
        ("[" * 100_000, None),
        (tensor(shape=(2**40, 2), offsets=(0, 2**43)), None),
        (tensor(shape=(2**62, 2**62)), None),
        (tensor(shape=(-1, 2)), None),
        (tensor(shape="wide"), None),
        (tensor(shape=(1, 3)), None),
        (tensor(offsets=(8, 0)), None),
        (tensor(offsets=(4, 12)), None),
        (tensor() | {"tokens": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}, None),
        (tensor("F64", (1, 1)), None),
        (tensor("BF16", (2, 2)), None),
        (tensor("I64", (1, 1)), None),
        (tensor("F4", (4, 4)), None),
        (tensor("F8_E8M0", (4, 2)), None),
        (tensor("C64", (1, 1)), None),
        (tensor("X9"), None),
        (tensor() | {"__metadata__": {"format": 3}}, None),
        (tensor() | {"__metadata__": "recbole_missrec.features"}, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_headers_of_safetensors(refused: Refused, shop: Path, header: Any, length: Any) -> None:
    path = Path(shutil.copytree(shop, "shop"), "tiny/tiny.text.safetensors")
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes((length or len(text)).to_bytes(8, "little") + text + bytes(8))
    assert refused(*tiny_words(Path("shop"))).startswith(f"{path}: ")


@pytest.mark.parametrize("dtype", ["F64", "BF16", "I32", "U8", "BOOL", "F8_E4M3", "F8_E8M0", "F4"])
def test_features_of_another_dtype(dtype: str) -> None:
    """Whole but for the dtype: metadata, tokens and the number of bytes are as they must be."""
    metadata = {"format": "recbole_missrec.features", "version": "1", "encoder": "e", "digest": "d"}
    bits = {"F64": 64, "BF16": 16, "I32": 32, "F4": 4}.get(dtype, 8)
    header = {"__metadata__": metadata, **tensor(dtype, (2, 64 // bits), (0, 16))}
    header["tokens"] = {"dtype": "U8", "shape": [3], "data_offsets": [16, 19]}
    text = json.dumps(header).encode()
    path = Path("shop.text.safetensors")
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(16) + b"a\nb")
    with pytest.raises(UsageError, match=r"^shop.text.safetensors: "):
        read_features(path)


def test_embeddings_that_a_model_of_recbole_reads(shop: Path, refused: Refused) -> None:
    np.save(shop / "tiny" / "item_emb.npy", np.array([Call()], dtype=object), allow_pickle=True)
    words = ["--model=LDiffRec", "--n_cate=2", "--dataset=tiny", f"--data_path={shop}"]
    said = refused(*words, "--epochs=1", "--state=error")
    assert "RecBole refuses them: ValueError: Object arrays cannot be loaded" in said
    assert not MARK.exists()


# --- YAML and options ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "epochs: !!python/object/apply:os.system ['touch mark']\n",
        "epochs: !!python/object/new:os.system ['touch mark']\n",
        "!!python/object/apply:os.system ['touch mark']: 1\n",
        "epochs: !!python/name:os.system\n",
        "epochs: !!python/module:this\n",
        "epochs: !!python/object/apply:eval [\"open('mark', 'w')\"]\n",
    ],
)
@pytest.mark.parametrize("word", ["--config_files=a.yaml", "--models=MISSRec:a.yaml"])
def test_tags_of_yaml(refused: Refused, shop: Path, content: str, word: str) -> None:
    Path("a.yaml").write_text(content)
    words = [f"--data_path={shop}", word]
    if word.startswith("--models"):
        words = ["compare", "--datasets=tiny", "--out=out", *words]
    else:
        words.append("--dataset=tiny")
    assert refused(*words).startswith("--config_files: a.yaml is not YAML: ")
    assert not MARK.exists()


@pytest.mark.parametrize(
    ("option", "model", "message"),
    [
        ("learning_rate", "MISSRec", f"='{CODE}': must be a number, like the default "),
        ("epochs", "SASRec", f"='{CODE}': must be a number, like the default 300"),
        ("metrics", "MISSRec", ": unknown '__import__"),
        ("modalities", "MISSRec", f"={CODE}: must be a list of names"),
        ("teacher", "KD_DAGFM", f"={CODE}: not a value of it; choose from 'CIN', 'CrossNet'"),
    ],
)
def test_an_option_that_calls(refused: Refused, option: str, model: str, message: str) -> None:
    words = [f"--model={model}", f"--{option}={CODE}", "--dataset=tiny"]
    assert refused(*words).startswith(f"--{option}{message}")
    assert not MARK.exists()


@pytest.mark.slow  # hundreds of options
@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "KD_DAGFM", "NeuMF"])
def test_no_option_calls(shop: Path, model: str) -> None:
    """Each is refused, or is text: a name, a folder."""
    taken = []
    for option in Config(model, "tiny").internal_config_dict.keys() - {"MODEL_TYPE"}:
        try:
            config = Config(model, "tiny", command_line={option: CODE})
        except UsageError as error:
            assert option in str(error) or "RecBole refuses" in str(error)
        else:
            taken.append(config[option])
    assert not MARK.exists()
    assert all(isinstance(value, str | list | dict | None) for value in taken)
