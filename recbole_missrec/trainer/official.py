"""Checkpoints of the authors' code (github.com/gimpong/MM23-MISSRec) in this project's format.

Such a file is a pickle that holds, beside the weights, the whole configuration object of RecBole.
It is read by PyTorch's unpickler of weights, which builds tensors and plain values and calls
nothing that the file names; in the place of each unknown class stands one that does nothing.
"""

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from recbole_missrec.errors import UsageError
from recbole_missrec.model.transformer import Decoder, Encoder
from recbole_missrec.options import CHOICES
from recbole_missrec.trainer.checkpoint import is_plain, save_checkpoint, write_card

NAMES = {  # what the authors' names begin with -> what this project's do
    "text_adaptor.": "adapters.text.",
    "img_adaptor.": "adapters.image.",
    "position_embedding.": "position_embedding.",
    "LayerNorm.": "input_norm.",
    "trm_model.encoder.": "encoder.",
    "trm_model.decoder.": "decoder.",
    "fusion_factor": "fusion.alpha",
}
MODALITIES = ("text", "image")
# features, interests and ids of the data set that a model was tuned on
OF_A_CATALOGUE = (
    *("item_embedding.weight", "plm_embedding.weight", "img_embedding.weight"),
    *("plm_embedding_empty_mask", "img_embedding_empty_mask", "interest_embeddings"),
    *("plm_interest_lookup_table", "img_interest_lookup_table"),
)
# what the authors' code computes whatever its options, in options of this project
FIXED = {
    "structure": "encoder_decoder",
    "roles": "item_queries",
    "standardise_features": False,
    "item_ids": False,
    "id_weight": 2.0,
    "history_bias": False,
}
# options that the weights do not tell, of the same names there and here
TOLD = {
    "n_heads": (int,),
    "layer_norm_eps": (float,),
    "temperature": (float, int),
    "seq_mm_fusion": (str,),
    "item_mm_fusion": (str,),
}


class Inert:
    """Stands for an object of an unknown class: keeps its state, does nothing."""

    def __new__(cls, *_: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def convert(official: str | Path, out: str | Path) -> str:
    """Write a checkpoint of this project out of one of the authors', and its card.

    Args:
        official: their file.
        out: the new one.

    Returns:
        What to print: the options that the weights were trained with, and what was left out.

    Raises:
        UsageError: no such checkpoint, its tensors cannot be mapped, which lists them, or the new
            file would have the name of its card.
    """
    if Path(out).suffix == ".json":
        raise UsageError(f"--out={out}: is the name of a card; give one like official.pth")
    content = read_inert(official)
    weights = content.get("state_dict")
    if not isinstance(weights, Mapping) or not weights:
        raise UsageError(f"{official}: no checkpoint of MISSRec: it has no state_dict")
    options = FIXED | _told(official, content.get("config"))
    left_out = [name for name in weights if name in OF_A_CATALOGUE]
    known = {name: renamed for name in weights if (renamed := _renamed(str(name), NAMES))}
    faults = [f"unknown {name}" for name in weights if name not in {*known, *left_out}]
    faults += [f"{name} is no tensor" for name in known if not _is_tensor(weights[name])]
    state = {renamed: weights[name] for name, renamed in known.items()}
    if not faults:
        options |= _sizes(state)
        faults += _faults(state, options)
    if faults:
        raise UsageError(f"{official}: no checkpoint of MISSRec: {'; '.join(faults)}")
    kept = {"model": "MISSRec", "dataset": "official", "config": options, "data": {}}
    save_checkpoint(out, {**kept, "state_dict": state})
    digest = hashlib.sha256(Path(official).read_bytes()).hexdigest()
    origin = {"file": Path(official).name, "sha256": digest, "left out": left_out}
    write_card(out, {**kept, "converted": origin})
    words = (f"--{key}={value}".replace(" ", "").replace("'", "") for key, value in options.items())
    lines = [f"{out}: trained with {' '.join(words)}"]
    lines += [f"left out, of a catalogue: {', '.join(left_out)}"] if left_out else []
    return "\n".join(lines)


def read_inert(path: str | Path) -> dict[str, Any]:
    """What a pickle of PyTorch holds, objects of unknown classes as ``Inert``.

    Raises:
        UsageError: it cannot be read, or not without calling what it names.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = _load(path, file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: no checkpoint of MISSRec: it has no state_dict")
    return content


def _load(path: str | Path, file: BinaryIO) -> Any:
    try:
        try:
            unknown = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        except ValueError:  # of PyTorch before 1.6: known classes alone
            unknown = []
        file.seek(0)
        stand_ins: list[Any] = [(Inert, name) for name in unknown]
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle makes the unpickler raise nearly anything
        raise UsageError(f"{path}: damaged, or not to be read without running its code") from error


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and is_plain(value)


def _renamed(name: str, names: Mapping[str, str]) -> str | None:
    for old, new in names.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None


def _told(path: str | Path, config: Any) -> dict[str, Any]:
    """Options that the configuration object of RecBole tells."""
    attributes = getattr(config, "state", None)
    values = attributes.get("final_config_dict") if isinstance(attributes, dict) else None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: no checkpoint of MISSRec: it has no configuration of RecBole")
    for key, kinds in TOLD.items():
        value = values.get(key)
        if type(value) not in kinds or value not in CHOICES.get(key, (value,)):
            raise UsageError(f"{path}: no checkpoint of MISSRec: its {key} is {value}")
    if values.get("hidden_act") != "gelu":
        raise UsageError(f"{path}: its hidden_act is {values.get('hidden_act')}; MISSRec has gelu")
    return {key: values[key] for key in TOLD}


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options that the shapes tell; 0 where a tensor is missing."""
    layers = [re.match(r"(encoder|decoder)\.layers\.(\d+)\.", name) for name in state]
    found = {(layer[1], layer[2]) for layer in layers if layer}
    return {
        "modalities": [m for m in MODALITIES if f"adapters.{m}.weight" in state],
        "hidden_size": _length(state, "input_norm.weight"),
        "inner_size": _length(state, "encoder.layers.0.linear1.weight"),
        "n_encoder_layers": sum(stack == "encoder" for stack, _ in found),
        "n_decoder_layers": sum(stack == "decoder" for stack, _ in found),
        "MAX_ITEM_LIST_LENGTH": _length(state, "position_embedding.weight"),
    }


def _length(state: Mapping[str, Tensor], name: str) -> int:
    return len(state[name]) if name in state and state[name].dim() else 0


def _faults(state: Mapping[str, Tensor], options: Mapping[str, Any]) -> Iterator[str]:
    """Tensors that a model of these options does not have, or has in another shape."""
    dim, heads = options["hidden_size"], options["n_heads"]
    if not dim:
        yield "no LayerNorm.weight"
    elif not options["modalities"]:
        yield "no text_adaptor.weight or img_adaptor.weight"
    elif heads < 1 or dim % heads:
        yield f"{heads} heads do not divide {dim} dimensions"
    else:
        shapes = _shapes(state, options)
        back = {ours: theirs for theirs, ours in NAMES.items()}
        for name in sorted(shapes.keys() | state.keys()):
            theirs = _renamed(name, back)
            if name not in shapes:
                yield f"unknown {theirs}"
            elif name not in state:
                yield f"no {theirs}"
            elif state[name].shape != shapes[name]:
                yield f"{theirs} is {list(state[name].shape)}, not {list(shapes[name])}"


def _shapes(state: Mapping[str, Tensor], options: Mapping[str, Any]) -> dict[str, torch.Size]:
    dim = options["hidden_size"]
    inner = max(1, options["inner_size"])
    size = (dim, options["n_heads"], inner, 0.0, options["layer_norm_eps"])
    weights = {m: state[f"adapters.{m}.weight"] for m in options["modalities"]}
    widths = {m: weight.shape[-1] if weight.dim() else 1 for m, weight in weights.items()}
    with torch.device("meta"):
        parts = nn.ModuleDict(
            {
                "adapters": nn.ModuleDict({m: nn.Linear(d, dim) for m, d in widths.items()}),
                "position_embedding": nn.Embedding(options["MAX_ITEM_LIST_LENGTH"], dim),
                "input_norm": nn.LayerNorm(dim),
                "encoder": Encoder(options["n_encoder_layers"], *size),
                "decoder": Decoder(options["n_decoder_layers"], *size),
            }
        )
    shapes = {name: value.shape for name, value in parts.state_dict().items()}
    if len(widths) > 1 and options["item_mm_fusion"] != "static":
        shapes["fusion.alpha"] = torch.Size()
    return shapes
