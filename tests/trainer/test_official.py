"""Checkpoints of the authors' code: the same embeddings and scores, and no code that is run."""

import builtins
import io
import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.config import Config as RecBoleConfig
from recbole.data.interaction import Interaction

from dataset_builders.__main__ import main as build
from recbole_missrec.cli import main
from recbole_missrec.config import Config
from recbole_missrec.data.dataset import MultiModalSequentialDataset
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.trainer.checkpoint import load_checkpoint
from recbole_missrec.trainer.official import read_inert
from recbole_missrec.trainer.transfer import transfer_state
from tests.reference.official import Official

DIM, HEADS, INNER, LAYERS, LONGEST, EPS = 24, 4, 20, 2, 50, 1e-12
THEIRS: dict[str, Any] = {
    **{"n_layers": 2 * LAYERS, "n_heads": HEADS, "hidden_size": DIM, "inner_size": INNER},
    **{"hidden_dropout_prob": 0.5, "hidden_act": "gelu", "layer_norm_eps": EPS},
    **{"temperature": 0.07, "lambda": 1e-3, "gamma": 1e-4, "train_stage": "pretrain"},
    **{"seq_mm_fusion": "add", "item_mm_fusion": "dynamic_shared"},
}
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pantry-sample of 120 items, features without pre-trained models."""
    folder = tmp_path_factory.mktemp("sets")
    words = ["sample", "--users=150", "--items=120", "--text=tfidf", "--image=histogram"]
    assert build([*words, "--out", str(folder)]) == 0
    return folder


def network(features: tuple[int, int] = (7, 5)) -> Official:
    """One whose weights, biases and norms are all random."""
    torch.manual_seed(0)
    official = Official(features, DIM, HEADS, INNER, LAYERS, LONGEST, EPS).eval()
    with torch.no_grad():
        for parameter in official.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return official


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file as their trainer does, with RecBole's configuration object in it."""

    def save(weights: dict[str, Any], **options: Any) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["pretrain.py"])  # RecBole reads it
            patch.chdir(tmp_path)
            given = {"train_neg_sample_args": None, **THEIRS, **options}
            config = RecBoleConfig("SASRec", "ml-100k", config_dict=given)
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
        content = {"config": config, "epoch": 99, "state_dict": OrderedDict(weights)}
        torch.save({**content, "optimizer": optimizer.state_dict()}, tmp_path / "official.pth")
        return tmp_path / "official.pth"

    return save


def convert(official: Path, *words: str) -> int:
    return main(["convert", str(official), f"--out={official.with_name('new.pth')}", *words])


def refused(capsys: pytest.CaptureFixture[str], official: Path) -> str:
    """The one message of a conversion that must be refused; nothing is written."""
    capsys.readouterr()
    assert convert(official) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert not official.with_name("new.pth").exists()
    return line.removeprefix(f"recbole-missrec: {official}: ")


# --- what is converted --------------------------------------------------------------------------


def test_embeddings_and_scores_are_those_of_the_authors_formulas(sets: Path, write: Write) -> None:
    options = {"data_path": str(sets), "state": "error", "standardise_features": False}
    dataset = MultiModalSequentialDataset(Config("MISSRec", "pantry-sample", config_dict=options))
    text, image = (dataset.features[m] for m in ("text", "image"))
    official = network((text.shape[1], image.shape[1]))
    path = write(official.state_dict())
    assert convert(path) == 0

    checkpoint = load_checkpoint(path.with_name("new.pth"), of_data=False)
    card = json.loads(path.with_name("new.json").read_text())
    assert card["format"] == "recbole-missrec model card 1"
    assert card["config"] == checkpoint["config"]
    assert card["converted"]["sha256"] == sha256(path.read_bytes()).hexdigest()
    config = Config("MISSRec", "pantry-sample", config_dict={**options, **checkpoint["config"]})
    model = MISSRec(config, dataset).eval()
    transfer = transfer_state("new.pth", checkpoint, model, {"text": "", "image": ""})
    assert len(transfer.notes) == 2  # of encoders that are not known
    assert transfer.state.keys() == model.state_dict().keys() - {
        "interest_ids",
        "centroids",
        "unseen",
    }
    model.load_state_dict(transfer.state, strict=False)
    model.discover_interests(0)

    whole = model.present.all(0).nonzero().flatten()  # missing pictures are their biases
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([1, 2, 5, 50, 17, 33])
    drawn = torch.randint(len(whole), (len(lengths), LONGEST), generator=generator)
    histories = whole[drawn].masked_fill(torch.arange(LONGEST) >= lengths[:, None], 0)
    batch = Interaction({"item_id_list": histories, "item_length": lengths})
    with torch.no_grad():
        packed = model.packed(batch).packed
        inputs = model.history_inputs(model.item_table(packed.items))
        found, _ = model.sequence_embedding(packed, inputs[packed.item])
        scores = model.full_sort_predict(batch)
        for row, length in enumerate(lengths.tolist()):
            items = histories[row, :length]
            interests = model.centroids[model.interest_ids[items].unique()]
            u = official.sequence_embedding(text[items], image[items], interests)
            torch.testing.assert_close(found[row], u, rtol=0, atol=1e-5)
            expected = official.scores(u, text[whole], image[whole], 0.07)
            torch.testing.assert_close(scores[row, whole], expected, rtol=1e-5, atol=1e-5)


def test_what_the_new_checkpoint_holds(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    weights = network().state_dict()
    catalogue = {
        "item_embedding.weight": torch.ones(9, DIM),
        "plm_embedding.weight": torch.ones(9, 7),
        "img_embedding_empty_mask": torch.ones(9, dtype=torch.bool),
        "interest_embeddings": torch.ones(4, DIM),
    }
    path = write({**catalogue, **weights})
    assert convert(path) == 0
    out = path.with_name("new.pth")
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        f"{out}: trained with --structure=encoder_decoder --roles=item_queries "
        "--standardise_features=False --item_ids=False --id_weight=2.0 --history_bias=False "
        "--n_heads=4 --layer_norm_eps=1e-12 --temperature=0.07 --seq_mm_fusion=add "
        "--item_mm_fusion=dynamic_shared --modalities=[text,image] --hidden_size=24 "
        "--inner_size=20 --n_encoder_layers=2 --n_decoder_layers=2 --MAX_ITEM_LIST_LENGTH=50"
    )
    assert second == f"left out, of a catalogue: {', '.join(catalogue)}"
    content = load_checkpoint(out, of_data=False)
    assert content["model"] == "MISSRec"
    assert content["config"]["modalities"] == ["text", "image"]
    renamed = {
        "text_adaptor.weight": "adapters.text.weight",
        "img_adaptor.bias": "adapters.image.bias",
        "position_embedding.weight": "position_embedding.weight",
        "LayerNorm.bias": "input_norm.bias",
        "fusion_factor": "fusion.alpha",
        "trm_model.encoder.layers.1.self_attn.in_proj_weight": (
            "encoder.layers.1.self_attn.in_proj_weight"
        ),
        "trm_model.decoder.layers.0.multihead_attn.out_proj.bias": (
            "decoder.layers.0.multihead_attn.out_proj.bias"
        ),
        "trm_model.decoder.norm.weight": "decoder.norm.weight",
    }
    assert len(content["state_dict"]) == len(weights)
    for theirs, ours in renamed.items():
        assert torch.equal(content["state_dict"][ours], weights[theirs])


def test_one_modality(write: Write) -> None:
    weights = network().state_dict()
    text = {n: w for n, w in weights.items() if not n.startswith(("img_adaptor", "fusion_factor"))}
    path = write(text)
    assert convert(path) == 0
    content = load_checkpoint(path.with_name("new.pth"), of_data=False)
    assert content["config"]["modalities"] == ["text"]
    assert len(content["state_dict"]) == len(text)


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "new.pth"],
        ["recommend", "new.pth", "--users=u1"],
        ["map", "new.pth", "--out=map.html"],
        ["export", "new.pth", "--out=exported"],
        ["--resume=new.pth"],
    ],
    ids=lambda words: words[0],
)
def test_what_is_converted_is_tuned_before_anything_else(
    words: list[str],
    write: Write,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write(network().state_dict())
    assert convert(path) == 0
    monkeypatch.chdir(path.parent)
    capsys.readouterr()
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "recbole-missrec: new.pth: has weights of no data set; tune them by --pretrained=new.pth\n"
    )


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "new", "fault"),
    [
        ([], {"moe.weight": torch.ones(2), "moe.bias": torch.ones(1)}, "unknown moe.weight; unkn"),
        ([], {"input_norm.weight": torch.ones(DIM)}, "unknown input_norm.weight"),
        (["LayerNorm.weight"], {}, "no LayerNorm.weight"),
        (["LayerNorm.bias", "fusion_factor"], {}, "no fusion_factor; no LayerNorm.bias"),
        (["trm_model.decoder.norm.bias"], {}, "no trm_model.decoder.norm.bias"),
        (
            ["text_adaptor.weight", "img_adaptor.weight"],
            {},
            "no text_adaptor.weight or img_adaptor.weight",
        ),
        ([], {"text_adaptor.bias": torch.ones(3)}, "text_adaptor.bias is [3], not [24]"),
        ([], {"text_adaptor.weight": torch.tensor(1.0)}, "text_adaptor.weight is [], not [24, 1]"),
        ([], {"fusion_factor": torch.zeros(9)}, "fusion_factor is [9], not []"),
        ([], {"text_adaptor.extra": torch.zeros(9)}, "unknown text_adaptor.extra"),
        ([], {"text_adaptor.weight": "text"}, "text_adaptor.weight is no tensor"),
        ([], {"LayerNorm.bias": torch.eye(2).to_sparse()}, "LayerNorm.bias is no tensor"),
        ([], {3: torch.ones(2)}, "unknown 3"),
        ([], {"LayerNorm.weight": torch.ones(23)}, "4 heads do not divide 23 dimensions"),
    ],
)
def test_tensors_that_cannot_be_mapped(
    write: Write,
    capsys: pytest.CaptureFixture[str],
    gone: list[str],
    new: dict[Any, Any],
    fault: str,
) -> None:
    kept = {name: value for name, value in network().state_dict().items() if name not in gone}
    message = refused(capsys, write({**kept, **new}))
    assert message.startswith(f"no checkpoint of MISSRec: {fault}")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"n_heads": "four"}, "no checkpoint of MISSRec: its n_heads is four"),
        ({"seq_mm_fusion": "stack"}, "no checkpoint of MISSRec: its seq_mm_fusion is stack"),
        ({"hidden_act": "relu"}, "its hidden_act is relu; MISSRec has gelu"),
    ],
)
def test_options_that_cannot_be_mapped(
    write: Write, capsys: pytest.CaptureFixture[str], options: dict[str, Any], fault: str
) -> None:
    assert refused(capsys, write(network().state_dict(), **options)) == fault


def test_files_of_other_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "official.pth"
    weights = network().state_dict()
    for content, message in (
        ({"config": {}}, "no checkpoint of MISSRec: it has no state_dict"),
        ([weights], "no checkpoint of MISSRec: it has no state_dict"),
        ({"state_dict": {}}, "no checkpoint of MISSRec: it has no state_dict"),
        ({"state_dict": weights}, "no checkpoint of MISSRec: it has no configuration of RecBole"),
    ):
        torch.save(content, path)
        assert refused(capsys, path) == message
    whole = io.BytesIO()
    torch.save({"state_dict": weights}, whole)
    for data in (b"", b"text", b"PK\x03\x04", whole.getvalue()[:5000], pickle.dumps({"a": 1})):
        path.write_bytes(data)
        assert refused(capsys, path).startswith("damaged, or not to be read without running its")
    path.unlink()
    assert refused(capsys, path) == "cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert"], "convert: which checkpoint? convert OFFICIAL.pth --out=FILE"),
        (["convert", "--out=x"], "convert: which checkpoint? convert OFFICIAL.pth --out=FILE"),
        (["convert", "a.pth"], "convert: --out=FILE is missing"),
        (["convert", "a.pth", "--ou=x"], "--ou: convert has no such option; did you mean 'out'?"),
        (["convert", "a.pth", "--out=."], ".: cannot be written: Is a directory"),
    ],
)
def test_words_of_the_command(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"recbole-missrec: {message}\n"


# --- code in a file -----------------------------------------------------------------------------


class Calls:
    """What pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Attributes:
    """What pickles to an object with attributes, of a class that the reader does not know."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def payloads(mark: Path) -> dict[str, Any]:
    """Objects that make a file where they are unpickled freely."""
    code = f"open({str(mark)!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, f"touch {mark}"),
        "subprocess": Calls(subprocess.check_output, ["touch", str(mark)]),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "import": Calls(builtins.__import__, "this"),
        "getattr": Calls(getattr, Calls(builtins.__import__, "os"), "system"),
        "within": Attributes(final_config_dict={"n_heads": Calls(os.system, f"touch {mark}")}),
    }


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", payloads(Path("mark")))
def test_nothing_of_a_file_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, legacy: bool
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "official.pth"
    evil, weights = payloads(mark)[name], network().state_dict()
    sys.modules.pop("this", None)
    for content in (
        {"config": evil, "state_dict": weights},
        {"config": {}, "state_dict": {**weights, "fusion_factor": evil}},
        {evil: 1, "state_dict": weights},
    ):
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        assert refused(capsys, path)
        assert not mark.exists()
        assert "this" not in sys.modules


def test_the_payloads_would_work(tmp_path: Path) -> None:
    for name in ("os.system", "subprocess", "eval", "exec", "within"):
        mark = tmp_path / name
        pickle.loads(pickle.dumps(payloads(mark)[name]))
        assert mark.exists()


def test_objects_of_unknown_classes_are_inert(tmp_path: Path) -> None:
    path = tmp_path / "official.pth"
    tensor = torch.arange(3)
    known = {"number": 1.5, "list": [1, ("a", None)], "tensor": tensor}
    torch.save({**known, "object": Attributes(x=3, y={"z": [4]})}, path)
    content = read_inert(path)
    assert torch.equal(content["tensor"], tensor)
    assert (content["number"], content["list"]) == (1.5, [1, ("a", None)])
    assert type(content["object"]).__name__ == "Inert"
    assert content["object"].state == {"x": 3, "y": {"z": [4]}}
    torch.save(known, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_inert(path)["tensor"], tensor)
