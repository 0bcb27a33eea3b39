"""What the encoders that are networks share: batches, precision, pooling."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dataset_builders.encoders.interface import Rows

# On a processor small batches waste less on padding and stay in the cache: EfficientNet-Lite0 makes
# twice as many pictures a second by 4 as by 32. A GPU needs large ones.
PADDED_TOKENS = {"cpu": 2048, "cuda": 65536}
INPUTS = {"cpu": 4, "cuda": 256}


def by_length(lengths: Sequence[int], tokens: int) -> Iterator[np.ndarray]:
    """Batches of texts of alike length.

    Args:
        lengths: tokens of each text.
        tokens: most tokens of a batch, padding counted; a text that is longer has its own batch.

    Yields:
        Positions of the texts, the longest first.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        size = max(1, tokens // lengths[order[start]])
        yield order[start : start + size]
        start += size


@contextmanager
def inference(device: torch.device, autocast: bool) -> Iterator[None]:
    """No gradients; matrix products in bfloat16 if asked for."""
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        yield


def to_rows(features: Tensor) -> np.ndarray:
    """Features of a batch, ``[batch, dim]``, as float32 in memory."""
    return features.float().cpu().numpy()


def stacked(
    forward: Callable[[Tensor], Tensor], device: torch.device, autocast: bool
) -> Callable[[Iterable[Tensor]], Rows]:
    """``Loaded.encode`` for inputs of one shape.

    Args:
        forward: ``[batch, *shape]`` -> features ``[batch, dim]``.
        device: of the network.
        autocast: compute in bfloat16.
    """

    def encode(inputs: Iterable[Tensor]) -> Rows:
        coming, start = iter(inputs), 0
        while batch := list(islice(coming, INPUTS[device.type])):
            with inference(device, autocast):
                features = forward(torch.stack(batch).to(device))
            yield slice(start, start + len(batch)), to_rows(features)
            start += len(batch)

    return encode


def check_loaded(info: dict[str, Any], unused: str) -> None:
    """See that a checkpoint has all weights of a model of transformers.

    Args:
        info: what loading reports.
        unused: prefix of weights that are not used and may be missing; empty if there are none.

    Raises:
        ValueError: a part of the model would have random weights.
    """
    missing = sorted(
        name for name in info["missing_keys"] if not (unused and name.startswith(unused))
    )
    if missing:
        raise ValueError(f"{len(missing):,} weights are missing, such as {missing[0]}")
