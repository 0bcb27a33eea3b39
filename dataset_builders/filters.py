"""Which interactions stay: k-core, repeats and order, by array operations.

Users and items are best given as pandas categories: a row then takes 4 bytes for each of them, and
a filter works on these numbers, never on text.
"""

import argparse

import numpy as np
import pandas as pd

from recbole_missrec.errors import UsageError

Steps = list[tuple[str, str]]


def k_core(interactions: pd.DataFrame, k: int) -> pd.DataFrame:
    """The largest part in which each user and each item has at least ``k`` interactions.

    Rounds of counting and dropping, until nothing is dropped. A round takes time as the rows that
    are left, and the first rounds drop most: 3 million ratings of a shop took 25. Beside the
    interactions, memory holds three whole numbers a row.

    Args:
        interactions: columns user_id and item_id, and any others.
        k: number of interactions; 0 and 1 keep everything.

    Returns:
        The rows that stay, in their order and under their index.
    """
    users, items = (pd.factorize(interactions[name])[0] for name in ("user_id", "item_id"))
    rows = np.arange(len(interactions))
    while len(rows):
        stays = (np.bincount(users) >= k)[users] & (np.bincount(items) >= k)[items]
        if stays.all():
            break
        users, items, rows = users[stays], items[stays], rows[stays]
    return interactions.iloc[rows]


def by_user_and_time(interactions: pd.DataFrame) -> pd.DataFrame:
    """Each user's rows together, in order of time; equal times stay in the order of the rows.

    Time grows as sorting the rows, memory as the rows.
    """
    users = pd.factorize(interactions["user_id"])[0]
    order = np.lexsort((interactions["timestamp"].to_numpy(), users))
    return interactions.iloc[order].reset_index(drop=True)


def repeats(interactions: pd.DataFrame) -> np.ndarray:
    """Which rows have the user and the item of the row before: bool ``[rows]``, in linear time."""
    same = np.zeros(len(interactions), dtype=bool)
    if len(interactions):
        users, items = (pd.factorize(interactions[name])[0] for name in ("user_id", "item_id"))
        same[1:] = (np.diff(users) == 0) & (np.diff(items) == 0)
    return same


def add_core_option(parser: argparse.ArgumentParser, default: int) -> None:
    """The option ``--core``."""
    parser.add_argument(
        "--core",
        type=int,
        default=default,
        metavar="K",
        help=f"keep users and items with at least K interactions, until stable ({default})",
    )


def finish(interactions: pd.DataFrame, core: int) -> tuple[pd.DataFrame, Steps]:
    """The last steps of a source: k-core, and the order of time.

    Args:
        interactions: columns user_id, item_id and timestamp, and any others.
        core: the k of k-core.

    Returns:
        The columns user_id, item_id and timestamp of the rows that stay, and what was done.

    Raises:
        UsageError: there are no interactions, or ``core`` is negative or leaves nothing.
    """
    if interactions.empty:
        raise UsageError("no interactions in the files of the source")
    if core < 0:
        raise UsageError(f"--core {core}: must be 0 or more; 0 keeps everything")
    kept = k_core(interactions, core)
    if kept.empty:
        raise UsageError(f"--core {core}: leaves nothing of {sizes(interactions)}; try a lower one")
    steps = [(f"{core}-core", sizes(kept))] if core > 1 else []
    kept = by_user_and_time(kept[["user_id", "item_id", "timestamp"]])
    times = kept["timestamp"].to_numpy()
    if times.dtype.kind == "f" and ((times == np.floor(times)) & (np.abs(times) < 2**53)).all():
        kept["timestamp"] = times.astype(np.int64)
    for name in ("user_id", "item_id"):
        if isinstance(kept[name].dtype, pd.CategoricalDtype):
            kept[name] = kept[name].cat.remove_unused_categories()
    steps.append(("ordered by time", "equal times of a user in the order of the file"))
    return kept, steps


def sizes(interactions: pd.DataFrame) -> str:
    """What a step left: ``"8,442 users, 4,385 items, 59,427 interactions"``."""
    users, items = interactions["user_id"].nunique(), interactions["item_id"].nunique()
    return f"{users:,} users, {items:,} items, {len(interactions):,} interactions"
