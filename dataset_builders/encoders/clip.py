"""CLIP and its relatives by open_clip: texts and pictures in one space."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dataset_builders.encoders.hub import (
    LOADING_ERRORS,
    ModelFiles,
    cannot_load,
    digest_files,
    find_model,
    transformers,
)
from dataset_builders.encoders.interface import Encoder, Loaded, Rows
from dataset_builders.encoders.neural import stacked
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.torchvision_shim import ensure_torchvision

MODEL, PRETRAINED = "ViT-B-32", "laion2b_s34b_b79k"
HUB = "hf-hub:"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


class _Source(NamedTuple):
    """What open_clip is asked for."""

    name: str  # for people
    model: str
    settings: dict[str, Any]
    digest: str
    given: str  # the option and its value, for messages


def text_encoder(
    model: str = MODEL, pretrained: str | None = None, autocast: bool = False
) -> Encoder:
    """The text tower; rows as the tower gives them, not scaled.

    Args:
        model: a name that open_clip knows, ``hf-hub:NAME``, or a folder with open_clip_config.json
            and weights.
        pretrained: a tag that open_clip knows for the model, or a file of weights; for ViT-B-32
            ``laion2b_s34b_b79k`` if not given.
        autocast: compute in bfloat16.

    Raises:
        UsageError: no such model, tag or file.
    """
    source = _find(model, pretrained, "--text")

    def load(device: torch.device) -> Loaded:
        network, _, tokenizer = _load(source, device)
        rows = stacked(network.encode_text, device, autocast)

        def encode(texts: list[str]) -> Rows:
            return rows(tokenizer(texts))  # [texts, context], all of one length

        return Loaded(encode)

    return Encoder("text", source.name, f"open_clip text {source.digest} {autocast}", load)


def image_encoder(
    model: str = MODEL, pretrained: str | None = None, autocast: bool = False
) -> Encoder:
    """The image tower; arguments and errors as for the text tower."""
    source = _find(model, pretrained, "--image")

    def load(device: torch.device) -> Loaded:
        network, prepare, _ = _load(source, device)
        return Loaded(stacked(network.encode_image, device, autocast), prepare)

    return Encoder("image", source.name, f"open_clip image {source.digest} {autocast}", load)


def _find(model: str, pretrained: str | None, option: str) -> _Source:
    """Find, or fetch, all files of a model, so that open_clip need not ask the hub for them."""
    given = f"{option}-model {model}"
    if model.startswith(HUB) or Path(model).is_dir():
        if pretrained is not None:
            raise UsageError(f"{option}-pretrained {pretrained}: {model} has its own weights")
        return _in_folder(find_model(model.removeprefix(HUB), f"{option}-model", WEIGHTS))
    ensure_torchvision()
    import open_clip

    known = open_clip.list_models()
    if model not in known:
        raise UsageError(f"{given}: no folder, and no model of open_clip; {nearest(model, known)}")
    tag = pretrained or (PRETRAINED if model == MODEL else "")
    tags = open_clip.list_pretrained_tags_by_model(model)
    settings: dict[str, Any] = {}
    if Path(tag).is_file():
        weights = Path(tag)
    elif tag in tags:
        weights, settings = _by_tag(open_clip.get_pretrained_cfg(model, tag), option)
    else:
        raise UsageError(
            f"{option}-pretrained {tag}: no file, and no weights of {model}; "
            + (nearest(tag, tags) if tags else "give a file")
        )
    digest = f"{open_clip.get_model_config(model)} {settings} {digest_files([weights])}"
    settings["pretrained"] = str(weights)
    return _Source(f"clip {model}, {Path(tag).name}", model, settings, digest, given)


def _by_tag(cfg: dict[str, Any], option: str) -> tuple[Path, dict[str, Any]]:
    """Weights that open_clip knows by a tag, and how pictures are prepared for them."""
    repository, _, file = cfg["hf_hub"].rpartition("/")
    weights = find_model(repository, f"{option}-pretrained", [file] if file else WEIGHTS).weights
    return weights[0], {
        "image_mean": cfg["mean"],
        "image_std": cfg["std"],
        "image_interpolation": cfg["interpolation"],
        "image_resize_mode": cfg["resize_mode"],
        # the activation that these weights were trained with; open_clip would only warn
        "force_quick_gelu": cfg.get("quick_gelu", False),
    }


def _in_folder(files: ModelFiles) -> _Source:
    try:
        config = json.loads((files.folder / "open_clip_config.json").read_bytes())["model_cfg"]
        remote = config["text_cfg"].get("tokenizer_kwargs", {}).get("trust_remote_code")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(
            f"{files.given}: its folder has no open_clip_config.json that open_clip can read"
        ) from error
    if remote:
        raise UsageError(f"{files.given}: its tokenizer would run code that comes with the model")
    return _Source(f"clip {files.name}", f"local-dir:{files.folder}", {}, files.digest, files.given)


def _load(source: _Source, device: torch.device) -> tuple[Any, Any, Any]:
    """Network, picture -> pixels, texts -> token ids ``[texts, context]``."""
    transformers()  # open_clip imports it
    import open_clip

    try:
        network, prepare = open_clip.create_model_from_pretrained(source.model, **source.settings)
        tokenizer = open_clip.get_tokenizer(source.model)
    except LOADING_ERRORS as error:
        raise cannot_load(source.given, error) from error
    return network.eval().to(device), prepare, tokenizer
