"""Products of the SYNTHETIC shop: latent attributes, and texts made of them.

Category, flavour and brand show in the text; shape, colour and pattern show in the picture only.
A category has a usual shape, a flavour a usual colour and a brand a usual pattern, so that the two
modalities tell partly the same.
"""

import numpy as np
import pandas as pd

TEXT_ATTRIBUTES = ("category", "flavour", "brand")
PICTURE_ATTRIBUTES = ("shape", "colour", "pattern")

CATEGORIES = {  # words: usual shape
    "biscuits cookies": "box",
    "soup broth": "can",
    "sauce dressing": "bottle",
    "jam spread": "jar",
    "crisps snack": "bag",
    "chocolate candy": "bar",
    "tea infusion": "box",
    "lemonade drink": "bottle",
}
FLAVOURS = {  # words: usual colour
    "lemon citrus zesty": "gold",
    "strawberry berry fruity": "crimson",
    "mint herbal fresh": "seagreen",
    "cocoa dark rich": "saddlebrown",
    "orange tangy sunny": "darkorange",
    "blueberry wild sweet": "royalblue",
    "chilli spicy hot": "crimson",
    "lavender floral mild": "mediumpurple",
    "almond nutty roasted": "saddlebrown",
    "sea-salt savoury crunchy": "deepskyblue",
}
BRANDS = {  # name: usual pattern
    "Applefield": "plain",
    "Brightmill": "stripes",
    "Cornerstone": "dots",
    "Dalewood": "band",
    "Everspring": "checks",
    "Foxglove": "plain",
    "Goldleaf": "stripes",
    "Hearthside": "dots",
    "Ivybridge": "band",
    "Juniper": "checks",
    "Kestrel": "stripes",
    "Larkhill": "dots",
}
SHAPES = ("box", "can", "bottle", "jar", "bag", "bar")
COLOURS = tuple(dict.fromkeys(FLAVOURS.values()))
PATTERNS = ("plain", "stripes", "dots", "band", "checks")
EXTRAS = ("family", "small", "organic", "classic", "pack", "imported", "value", "light", "special")
AS_USUAL = 0.6  # share of products whose picture attribute is the usual one


def draw_catalogue(items: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw products.

    Args:
        items: number of products.
        rng: source of chance.

    Returns:
        A row per product, indexed by item token: the attributes by name, and ``text``.
    """
    frame = pd.DataFrame(index=[f"p{number:05d}" for number in range(1, items + 1)])
    for attribute, values, usual, all_shown in (
        ("category", CATEGORIES, "shape", SHAPES),
        ("flavour", FLAVOURS, "colour", COLOURS),
        ("brand", BRANDS, "pattern", PATTERNS),
    ):
        frame[attribute] = rng.choice(list(values), items)
        as_usual = rng.random(items) < AS_USUAL
        frame[usual] = np.where(
            as_usual, frame[attribute].map(values), rng.choice(all_shown, items)
        )
    names = zip(frame["category"], frame["flavour"], frame["brand"], strict=True)
    frame["text"] = [_compose(category, flavour, brand, rng) for category, flavour, brand in names]
    return frame


def _compose(category: str, flavour: str, brand: str, rng: np.random.Generator) -> str:
    flavours = rng.choice(flavour.split(), 2, replace=False)
    extras = rng.choice(EXTRAS, 2, replace=False)
    return " ".join([brand, *flavours, rng.choice(category.split()), *extras])
