"""Texts and pictures to encode: those of movies, and generated ones."""

from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

MEDIA = "ml-100k-media"
PICTURES = 100  # different ones that are generated
WORDS = 200_000


def media(items: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Abstracts and posters of movies, by modality."""
    abstracts = pd.read_csv(
        folder / "abstracts.tsv", sep="\t", dtype=str, keep_default_na=False, quoting=3
    )
    posters = sorted((folder / "posters").iterdir())
    return {"text": numbered(abstracts["abstract"], items), "image": numbered(posters, items)}


def generated(items: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Texts of abstracts' lengths, and pictures of posters' size, by modality."""
    texts = draw_texts(items, mean=4.3, deviation=0.9)
    return {"text": numbered(texts, items), "image": draw_pictures(items, (500, 750), folder)}


def numbered(values: Any, items: int) -> dict[str, Any]:
    """Item tokens for the values, repeated to that many items."""
    return {f"i{number}": value for number, value in enumerate(islice(cycle(values), items))}


def draw_texts(items: int, mean: float, deviation: float) -> list[str]:
    """Texts of words by Zipf's law; the logarithm of their number is normal."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{number:x}" for number in range(WORDS)])
    weights = np.cumsum(1 / np.arange(1, WORDS + 1))
    texts = []
    for start in range(0, items, 10_000):
        lengths = rng.lognormal(mean, deviation, min(10_000, items - start)).astype(int) + 1
        drawn = words[np.searchsorted(weights, rng.random(lengths.sum()) * weights[-1])]
        texts += [" ".join(text) for text in np.split(drawn, np.cumsum(lengths)[:-1])]
    return texts


def draw_pictures(items: int, size: tuple[int, int], folder: Path) -> dict[str, Path]:
    """Smooth random pictures as JPEG files, a hundred of them repeated."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{size[0]}-{number}.jpg" for number in range(min(PICTURES, items))]
    for path in paths:
        pixels = rng.integers(0, 256, (9, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)
    return numbered(paths, items)
