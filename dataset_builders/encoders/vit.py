"""Any vision model of Hugging Face transformers."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dataset_builders.encoders.hub import (
    LOADING_ERRORS,
    TRANSFORMERS_WEIGHTS,
    ModelFiles,
    cannot_load,
    find_model,
    transformers,
)
from dataset_builders.encoders.interface import Encoder, Loaded
from dataset_builders.encoders.neural import check_loaded, stacked
from recbole_missrec.errors import UsageError, nearest

POOLING = ("cls", "pooler")


def encoder(
    model: str = "google/vit-base-patch16-224-in21k", pooling: str = "cls", autocast: bool = False
) -> Encoder:
    """A vision model of transformers.

    Args:
        model: a folder, or a name of the Hugging Face hub.
        pooling: ``cls``, the last layer's first token, or ``pooler``, what the model's own pooling
            makes; models without a CLS token have the latter alone.
        autocast: compute in bfloat16.

    Raises:
        UsageError: no such model or pooling.
    """
    if pooling not in POOLING:
        valid = nearest(pooling, POOLING)
        raise UsageError(f"--image-pooling '{pooling}': no such pooling; {valid}")
    files = find_model(model, "--image-model", TRANSFORMERS_WEIGHTS)

    def load(device: torch.device) -> Loaded:
        processor, network = _load(files, pooling)
        network.to(device)

        def prepare(picture: Image.Image) -> Tensor:
            return processor(images=picture, return_tensors="pt")["pixel_values"][0]

        def forward(pixels: Tensor) -> Tensor:
            output = network(pixel_values=pixels)
            if pooling == "cls":
                return output.last_hidden_state[:, 0]
            return output.pooler_output.flatten(1)

        return Loaded(stacked(forward, device, autocast), prepare)

    identity = f"transformers image {files.digest} {pooling} {autocast}"
    return Encoder("image", f"vit {files.name}, {pooling}", identity, load)


def _load(files: ModelFiles, pooling: str) -> tuple[Any, Any]:
    library = transformers()
    try:
        processor = library.AutoImageProcessor.from_pretrained(
            files.folder, trust_remote_code=False
        )
        model, info = library.AutoModel.from_pretrained(
            files.folder, trust_remote_code=False, output_loading_info=True
        )
        check_loaded(info, unused="pooler." if pooling == "cls" else "")
        if model.main_input_name != "pixel_values":
            raise ValueError(f"{type(model).__name__} is no vision model")
    except LOADING_ERRORS as error:
        raise cannot_load(files.given, error) from error
    tokens = ("cls_token", "class_embedding")
    if pooling == "cls" and not any(name.endswith(tokens) for name, _ in model.named_parameters()):
        raise UsageError(
            f"{files.given}: {type(model).__name__} has no CLS token; add --image-pooling pooler"
        )
    return processor, model.float().eval()
