"""Picture features without a pre-trained model: colours, coarse layout and edge directions."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from dataset_builders.encoders.interface import Encoder, Loaded, Rows

NAME = "colour, layout and edge histogram"
SIDE = 64  # pixels
LEVELS = 4  # per colour channel
GRID = 6  # layout cells per side
DIRECTIONS = 8


def encoder() -> Encoder:
    """The encoder, 132 dimensions."""
    return Encoder("image", NAME, NAME, lambda device: Loaded(_one_by_one, _encode))


def _one_by_one(rows: Iterable[np.ndarray]) -> Rows:
    for position, row in enumerate(rows):
        yield slice(position, position + 1), row[None]


def encode(images: Iterable[Image.Image]) -> np.ndarray:
    """Encode pictures, each by itself and one at a time.

    Args:
        images: of any size and mode; transparency becomes white.

    Returns:
        float32 ``[images, 132]``, rows of length 1: square roots of 64 colour shares, which weigh
        the centre more, then 36 cells of brightness, then 8 edge directions in 4 quarters.
    """
    return np.stack([_encode(image) for image in images])


def _encode(image: Image.Image) -> np.ndarray:
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image.convert("RGBA"))
    small = opaque.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32) / 256  # [SIDE, SIDE, 3]
    brightness = pixels.mean(axis=2)
    parts = (_colours(pixels), _layout(brightness), _edges(brightness))
    features = np.concatenate([part / max(np.linalg.norm(part), 1e-6) for part in parts])
    return (features / np.linalg.norm(features)).astype(np.float32)


def _colours(pixels: np.ndarray) -> np.ndarray:
    offset = np.linspace(-1, 1, SIDE)
    centrality = np.exp(-2 * (offset[:, None] ** 2 + offset**2))  # [SIDE, SIDE]
    bins = (pixels * LEVELS).astype(int) @ (LEVELS**2, LEVELS, 1)
    return np.sqrt(np.bincount(bins.ravel(), centrality.ravel(), LEVELS**3))


def _layout(brightness: np.ndarray) -> np.ndarray:
    cells = np.linspace(0, SIDE, GRID, endpoint=False).astype(int)
    sums = np.add.reduceat(np.add.reduceat(brightness - brightness.mean(), cells, 0), cells, 1)
    return sums.ravel()


def _edges(brightness: np.ndarray) -> np.ndarray:
    down, right = np.gradient(brightness)
    turn = (np.arctan2(down, right) / np.pi) % 1  # both senses of a direction are one
    quarter = np.arange(SIDE) * 2 // SIDE
    direction = (turn * DIRECTIONS).astype(int) % DIRECTIONS  # turn rounds up to 1 at times
    bins = (quarter[:, None] * 2 + quarter) * DIRECTIONS + direction
    return np.sqrt(np.bincount(bins.ravel(), np.hypot(down, right).ravel(), 4 * DIRECTIONS))
