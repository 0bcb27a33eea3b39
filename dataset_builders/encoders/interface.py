"""What every encoder hands over."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

Rows = Iterator[tuple[np.ndarray | slice, np.ndarray]]


class Loaded(NamedTuple):
    """An encoder whose weights are in memory.

    Attributes:
        encode: inputs -> their rows, batch by batch: positions among the inputs, and float32
            ``[batch, dim]``. Texts come as a list, pictures as an iterator of what ``prepare``
            gives. A zero row means that nothing was found in the input.
        prepare: an RGB picture -> what ``encode`` takes; called in threads.
    """

    encode: Callable[[Any], Rows]
    prepare: Callable[[Any], Any] = lambda picture: picture


@dataclass(frozen=True)
class Encoder:
    """What turns texts, or pictures, into feature rows; nothing is loaded yet.

    Attributes:
        modality: ``text`` or ``image``.
        name: goes into the feature file; where ``whole``, with a digest of the inputs behind it.
        identity: all that the rows depend on beside the inputs: weights and options.
        load: device -> the encoder, ready for work.
        whole: the rows depend on all inputs at once, so that they cannot be made in parts, and
            those of other inputs are of another space.
    """

    modality: str
    name: str
    identity: str
    load: Callable[[torch.device], Loaded]
    whole: bool = False
