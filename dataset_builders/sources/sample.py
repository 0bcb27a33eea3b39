"""The SYNTHETIC shop pantry-sample: generated products, pictures, texts and shoppers.

Made for trying things out in seconds; its figures say nothing about real shops. Shoppers have
tastes that show in texts and pictures, and tend to buy something like the last thing they bought.
15 % of the products have no picture. The same seed gives the same data set.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dataset_builders.dataset_files import DatasetContent
from dataset_builders.pantry.catalogue import PICTURE_ATTRIBUTES, draw_catalogue
from dataset_builders.pantry.pictures import draw_picture
from dataset_builders.pantry.shoppers import LONGEST, simulate
from recbole_missrec.errors import UsageError

HELP = "a small generated shop with texts and pictures (SYNTHETIC), in seconds"
FEWEST_ITEMS, MOST_ITEMS = 2 * LONGEST, 2_000  # users and items share matrices in memory
MOST_USERS = 50_000
MOST_SEED = 2**32 - 1
WITHOUT_PICTURE = 0.15
LIGHT = True  # encoders that need no hub, unless others are asked for
ABOUT = """\
SYNTHETIC: products, texts, pictures and shoppers are generated. Nothing comes from a real shop, and
results say nothing about real ones."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Size and seed."""
    parser.add_argument("--users", type=int, default=3000, help="number of shoppers (3000)")
    parser.add_argument("--items", type=int, default=600, help="number of products (600)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")


def build(options: argparse.Namespace) -> DatasetContent:
    """The data set ``pantry-sample``.

    Raises:
        UsageError: numbers that no shop can be made of.
    """
    for option, least, most in (
        ("items", FEWEST_ITEMS, MOST_ITEMS),
        ("users", options.items, MOST_USERS),  # each product has a first shopper
        ("seed", 0, MOST_SEED),
    ):
        value = getattr(options, option)
        if not least <= value <= most:
            valid = min(max(value, least), most)
            raise UsageError(f"--{option} {value}: must be {least} to {most}; nearest is {valid}")
    rng = np.random.default_rng(options.seed)
    catalogue = draw_catalogue(options.items, rng)
    interactions = simulate(catalogue, options.users, rng)
    return DatasetContent(
        "pantry-sample",
        interactions,
        texts=catalogue["text"].to_dict(),
        categories=catalogue["category"].to_dict(),
        pictures=_draw_pictures(catalogue, rng),
        label="SYNTHETIC",
        about=ABOUT,
    )


def _draw_pictures(
    catalogue: pd.DataFrame, rng: np.random.Generator
) -> dict[str, Path | str | bytes]:
    number = round(len(catalogue) * (1 - WITHOUT_PICTURE))
    shown = catalogue.iloc[np.sort(rng.choice(len(catalogue), number, replace=False))]
    columns = (shown[attribute] for attribute in PICTURE_ATTRIBUTES)
    return {
        item: _png(draw_picture(shape, colour, pattern, rng))
        for item, shape, colour, pattern in zip(shown.index, *columns, strict=True)
    }


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()
