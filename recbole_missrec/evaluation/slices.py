"""For whom is a model good? Its metric by popularity, history, modalities or category."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.evaluation.per_user import per_user_metric
from recbole_missrec.evaluation.resampling import percentile_interval, resampled_means
from recbole_missrec.evaluation.significance import RESAMPLES, SEED

POPULARITY = (0, 2, 5, 10, 50)  # last value of each bin but the last
LENGTH = (2, 5, 10, 20, 50)
CATEGORIES = 10  # those of most users
OTHER = "other"


def slices(
    frames: list[pd.DataFrame],
    by: str,
    metric: str,
    k: int,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> pd.DataFrame:
    """A metric for each slice of the users, with an interval.

    A user's metric is averaged over the seeds first; the interval is a percentile bootstrap over
    the users of the slice. The means, weighted by the users, add up to that of all users.

    Args:
        frames: tables of `read_per_user`, one per seed of a model.
        by: column that slices: popularity of the target (occurrences in the training part), length
            of the history, modalities or category of the target.
        metric: name of a metric, in any case.
        k: length of the recommended list.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Returns:
        Columns slice (str), users, mean, low, high; slices without users are left out. Numbers are
        in order; modalities and categories by users, a missing one as "none", the smaller
        categories together as "other".

    Raises:
        UsageError: no such column, metric or k; tables that are not of the same users and targets,
            or give a target other properties.
    """
    if by not in _SLICES:
        raise UsageError(f"no slices by '{by}': {nearest(by, _SLICES)}")
    values = per_user_metric(frames, metric, k).mean(axis=1)  # [users]
    keys = [frame.set_index(["user", "target"])[by].reindex(values.index) for frame in frames]
    if not all(keys[0].equals(other) for other in keys[1:]):
        raise UsageError(
            f"the results differ in the {by} of a target: they are not of one data set"
        )
    labels = _SLICES[by](keys[0])  # [users], categorical
    rng = np.random.default_rng(seed)
    rows = []
    for label, members in values.groupby(labels, observed=True):
        means = resampled_means(members.to_numpy()[:, None], resamples, rng)[:, 0]
        rows.append((label, len(members), members.mean(), *percentile_interval(means)))
    return pd.DataFrame(rows, columns=["slice", "users", "mean", "low", "high"])


def _binned(ends: tuple[int, ...]) -> Callable[[pd.Series], pd.Series]:
    """Label numbers 0, 1, ... by bins that end at ``ends``; the last one is open."""
    starts = (0, *(end + 1 for end in ends))
    labels = [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=False)]
    edges = [-1, *ends, np.inf]
    return lambda numbers: pd.cut(numbers, edges, labels=[*labels, f"{starts[-1]}+"])


def _named(names: pd.Series, most: int | None = None) -> pd.Series:
    """Label by name, that of most users first; beyond ``most`` names the others together, last."""
    names = names.fillna("").replace("", "none")
    counts = names.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    kept = list(counts.index[:most])
    if len(kept) < len(counts):
        names = names.where(names.isin(kept), OTHER)
        kept = [name for name in kept if name != OTHER] + [OTHER]
    return names.astype(pd.CategoricalDtype(kept))


_SLICES: dict[str, Callable[[pd.Series], pd.Series]] = {
    "popularity": _binned(POPULARITY),
    "length": _binned(LENGTH),
    "modalities": _named,
    "category": partial(_named, most=CATEGORIES),
}
