"""Shoppers of the SYNTHETIC shop: a simulation of what they buy, one after the other.

A shopper chooses among the products not bought yet by popularity (long-tailed), by a fixed taste
for attribute values, and by likeness with the last purchase. Half of the shoppers look mainly at
what is in the text, half at what is in the picture.
"""

import numpy as np
import pandas as pd

from dataset_builders.pantry.catalogue import PICTURE_ATTRIBUTES, TEXT_ATTRIBUTES

SHORTEST, LONGEST = 5, 30  # purchases of a shopper
STOP = 0.22  # chance to stop after a purchase, once there are enough
POPULARITY, TASTE, LIKENESS = 0.6, 0.8, 2.2  # weights in the choice
LOOKS_MAINLY, LOOKS_ASIDE = 1.0, 0.25  # weights of the two groups of attributes


def simulate(catalogue: pd.DataFrame, users: int, rng: np.random.Generator) -> pd.DataFrame:
    """Simulate all shoppers at once, a purchase at a time.

    The first shoppers begin with one product of the catalogue each, so that every product is
    bought. Memory: three matrices ``[users, items]``; time: at most 30 passes over them.

    Args:
        catalogue: products, as drawn.
        users: number of shoppers, at least that of products.
        rng: source of chance.

    Returns:
        Columns user_id, item_id and timestamp (seconds), in the order of each user's purchases.
    """
    items = len(catalogue)
    looks = np.full((2, users, 1), LOOKS_ASIDE, dtype=np.float32)  # by text, by picture
    looks[rng.integers(2, size=users), np.arange(users)] = LOOKS_MAINLY
    rank = rng.permutation(items) + 1
    appeal = np.tile(-POPULARITY * np.log(rank).astype(np.float32), (users, 1))  # [users, items]
    likeness = np.zeros((2, items, items), dtype=np.float32)
    for group, attributes in enumerate((TEXT_ATTRIBUTES, PICTURE_ATTRIBUTES)):
        for attribute in attributes:
            value, names = pd.factorize(catalogue[attribute])
            taste = rng.standard_normal((users, len(names)), dtype=np.float32)
            appeal += TASTE * looks[group] * taste[:, value]
            likeness[group] += LIKENESS * (value[:, None] == value)
    lengths = np.minimum(SHORTEST - 1 + rng.geometric(STOP, size=users), LONGEST)
    bought = np.empty((users, lengths.max()), dtype=int)
    everyone = np.arange(users)
    for step in range(lengths.max()):
        choice = appeal + rng.gumbel(size=appeal.shape).astype(np.float32)  # [users, items]
        if step:
            last = bought[:, step - 1]
            choice += looks[0] * likeness[0, last] + looks[1] * likeness[1, last]
        bought[:, step] = choice.argmax(axis=1)
        if not step:
            bought[:items, 0] = rng.permutation(items)
        appeal[everyone, bought[:, step]] = -np.inf
    seconds = rng.integers(60, 7 * 86_400, size=bought.shape).cumsum(axis=1) + 1_600_000_000
    counted = np.arange(bought.shape[1]) < lengths[:, None]  # [users, steps]
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{user:05d}" for user in everyone + 1], lengths),
            "item_id": catalogue.index.to_numpy()[bought[counted]],
            "timestamp": seconds[counted],
        }
    )
